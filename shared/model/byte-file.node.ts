/** Files on disk as sources of bytes: one buffer for all pieces, whatever the size of the file. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { errorMessage, FormatError, UsageError } from '../core/errors.ts';
import { type ByteSource, pieceBytes } from './byte-source.ts';

/** An open file. */
export interface ByteFile extends ByteSource {
  /** The descriptor, which other threads of this process may read from. */
  readonly descriptor: number;
  /** Says whether the file is still what was opened. @throws FormatError `file-changed`. */
  checkUnchanged(): void;
  close(): void;
}

/** Opens the file at `path`. @throws UsageError `no-base` when it cannot be read. */
export function openByteFile(path: string): ByteFile {
  const unreadable = (cause: unknown): UsageError =>
    new UsageError('no-base', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    throw unreadable(cause);
  }
  const opened = fstatSync(descriptor, { bigint: true });
  const size = Number(opened.size);
  return {
    ...readerOf(descriptor, size, unreadable),
    descriptor,
    checkUnchanged: () => {
      const { size, mtimeNs } = fstatSync(descriptor, { bigint: true });
      if (size === opened.size && mtimeNs === opened.mtimeNs) return;
      throw new FormatError('file-changed', `${path} was changed while it was read; load it again`);
    },
    close: () => closeSync(descriptor),
  };
}

/** A file that another thread of this process has opened and keeps open. @throws, in reading, UsageError `no-base`. */
export function openDescriptor(descriptor: number, size: number): ByteSource {
  const unreadable = (cause: unknown): UsageError =>
    new UsageError('no-base', `cannot read a file of the base: ${errorMessage(cause)}`, { cause });
  return readerOf(descriptor, size, unreadable);
}

function readerOf(descriptor: number, size: number, unreadable: (cause: unknown) => UsageError): ByteSource {
  let buffer = new Uint8Array(0);
  return {
    size,
    piece: (offset, length) => {
      if (buffer.length < length) buffer = new Uint8Array(Math.max(length, Math.min(pieceBytes, size)));
      const piece = buffer.subarray(0, length);
      let done = 0;
      try {
        while (done < length) {
          const count = readSync(descriptor, piece, done, length - done, offset + done);
          if (count === 0) throw new Error(`expected ${size} bytes, found ${offset + done}`);
          done += count;
        }
      } catch (cause) {
        throw unreadable(cause);
      }
      return piece;
    },
  };
}
