/** Reads tar archives (POSIX ustar with pax and GNU long names), as GitHub makes them of a repository: regular files only, in memory. */
import { FormatError } from '../../core/errors.ts';

const blockBytes = 512;
const decoder = new TextDecoder();

/** A regular file of an archive. */
export interface TarFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** The regular files of an archive, in its order; `bytes` are views of it. @throws FormatError `bad-archive` when a header is broken or data is missing. */
export function* tarFiles(archive: Uint8Array): Generator<TarFile> {
  let longPath: string | null = null;
  for (let at = 0; at + blockBytes <= archive.length; ) {
    const header = archive.subarray(at, at + blockBytes);
    if (header.every((byte) => byte === 0)) return;
    requireChecksum(header, at);
    const size = octal(header, 124, 12);
    const start = at + blockBytes;
    const bytes = archive.subarray(start, start + size);
    if (bytes.length < size) throw broken(`the file at byte ${at} is cut`);
    const type = text(header, 156, 1);
    if (type === 'x') longPath = paxPath(bytes) ?? longPath;
    else if (type === 'L') longPath = text(bytes, 0, bytes.length);
    else if (type !== 'g') {
      const prefix = text(header, 345, 155);
      const name = text(header, 0, 100);
      const path: string = longPath ?? (prefix === '' ? name : `${prefix}/${name}`);
      if (type === '0' || type === '') yield { path, bytes };
      longPath = null;
    }
    at = start + Math.ceil(size / blockBytes) * blockBytes;
  }
  throw broken('it ends without its closing block');
}

/** The sum of the header's bytes, with its own field taken for blanks, stands in that field. */
function requireChecksum(header: Uint8Array, at: number): void {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (sum !== octal(header, 148, 8)) throw broken(`the header at byte ${at} is damaged`);
}

function octal(header: Uint8Array, start: number, length: number): number {
  const value = Number.parseInt(text(header, start, length).trim() || '0', 8);
  if (!Number.isSafeInteger(value)) throw broken('a number in a header is broken');
  return value;
}

function text(bytes: Uint8Array, start: number, length: number): string {
  const field = bytes.subarray(start, start + length);
  const end = field.indexOf(0);
  return decoder.decode(end < 0 ? field : field.subarray(0, end));
}

/** The path of a pax header, whose records are `LENGTH KEY=VALUE` and a newline. */
function paxPath(bytes: Uint8Array): string | null {
  for (let at = 0; at < bytes.length; ) {
    const blank = bytes.indexOf(0x20, at);
    const length = Number(decoder.decode(bytes.subarray(at, blank)));
    if (blank < 0 || !Number.isInteger(length) || length <= 0) throw broken('a pax header is broken');
    const record = decoder.decode(bytes.subarray(blank + 1, at + length - 1));
    if (record.startsWith('path=')) return record.slice('path='.length);
    at += length;
  }
  return null;
}

function broken(reason: string): FormatError {
  return new FormatError('bad-archive', `the archive cannot be read: ${reason}`);
}
