/**
 * Uploads as files. Chunks wait in memory, up to a bound for all uploads together, and are written in one go at the commit; beyond the bound
 * they are written as they arrive. What was committed stays in memory as long as nothing else needs the room, so that a round of the usual
 * size is aggregated without being read back; it goes past the system's cache (`direct-write.ts`). No file stays open between calls: thousands of uploads may be under way, and a process has
 * about a thousand descriptors.
 */
import { randomUUID } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { constants, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../shared/core/assert.ts';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { vectorRoot } from '../../shared/protocol/vector.ts';
import type { ChunkReader, StagedBlob } from './blobs.ts';
import { alignedMemory, writeDirectly } from './direct-write.ts';

/** Bytes of uploads in memory, all together: ten updates of 1.6 million values. More clients or larger adapters take no more. */
export const residentBytesMax = 64 * 2 ** 20;

/** Where uploads go. */
export interface UploadFolder {
  readonly temporary: string;
  readonly pathOf: (root: Digest) => string;
  /** Flushes the file and moves it from `path` to its place; closes `handle`. */
  readonly settle: (handle: FileHandle, path: string, root: Digest) => Promise<void>;
}

/** The uploads of a blob folder. */
export interface UploadFiles {
  stage(): StagedBlob;
  scan(root: Digest, take: ChunkReader): Promise<void>;
  /** Drops a committed upload from memory. */
  forget(root: Digest): void;
}

/** Uploads below a folder; `bytesMax` is the bound of what stays in memory, `write` makes a file past the system's cache where the disk does that. */
export function createUploadFiles(folder: UploadFolder, bytesMax: number, write = writeDirectly): UploadFiles {
  /** Committed uploads that are whole in memory, the oldest first. */
  const committed = new Map<Digest, readonly Uint8Array[]>();
  /**
   * Memory for one chunk each. It is used again and again: what a network hands over is freed at once, and an engine that sees tens of
   * megabytes come and go with every round would walk its whole heap several times a round.
   */
  const spare: Uint8Array[] = [];
  const slotMax = Math.floor(bytesMax / chunkBytesMax);
  /** All of it, from which the first chunks take theirs; null where memory of this kind is not to be had. */
  let memory: ArrayBuffer | null | undefined;
  let slotCount = 0;

  const drop = (chunks: Iterable<Uint8Array>): void => {
    for (const { buffer, byteOffset } of chunks) spare.push(new Uint8Array(buffer, byteOffset, chunkBytesMax));
  };
  const makeSlot = (): Uint8Array => {
    if (memory === undefined) memory = alignedMemory(slotMax * chunkBytesMax);
    const at = chunkBytesMax * slotCount++;
    return memory === null ? new Uint8Array(chunkBytesMax) : new Uint8Array(memory, at, chunkBytesMax);
  };
  const forget = (root: Digest): void => {
    drop(committed.get(root) ?? []);
    committed.delete(root);
  };
  /** A copy of `chunk` in memory, or null without room; committed uploads, which are on the disk, give way. */
  const keep = (chunk: Uint8Array): Uint8Array | null => {
    if (spare.length === 0 && slotCount < slotMax) spare.push(makeSlot());
    const [oldest] = committed.keys();
    if (spare.length === 0 && oldest !== undefined) forget(oldest);
    const slot = spare.pop();
    if (slot === undefined) return null;
    slot.set(chunk);
    return slot.subarray(0, chunk.length);
  };

  const stage = (): StagedBlob => {
    const path = join(folder.temporary, randomUUID());
    /** Chunks in memory by index; what is not here is in the file. */
    let chunks = new Map<number, Uint8Array>();
    let isOpen = true;
    let isSpilled = false;
    const openFile = (extra = 0): Promise<FileHandle> =>
      open(path, constants.O_WRONLY | constants.O_CREAT | extra, 0o600);
    const release = (): void => {
      drop(chunks.values());
      chunks = new Map();
    };
    /** The open file with these chunks and those that it had. */
    const fileOf = async (inOrder: readonly (readonly [number, Uint8Array])[]): Promise<FileHandle> => {
      // Without a gap: a file that is written past the cache has none.
      const isWhole = !isSpilled && memory != null && inOrder.at(-1)?.[0] === inOrder.length - 1;
      const parts = inOrder.map(([, chunk]) => chunk);
      const written = isWhole ? await write(path, parts) : null;
      if (written !== null) return written;
      // Chunks that lie in the file are kept; what a refused direct write left is not.
      const handle = await openFile(isSpilled ? 0 : constants.O_TRUNC);
      try {
        await writeChunks(handle, inOrder);
        return handle;
      } catch (thrown) {
        await handle.close();
        throw thrown;
      }
    };
    return {
      write: async (index, chunk) => {
        assert(isOpen, 'nothing is written into a closed upload');
        if (chunks.has(index)) return;
        const kept = keep(chunk);
        if (kept !== null) {
          chunks.set(index, kept);
          return;
        }
        isSpilled = true;
        const handle = await openFile();
        try {
          await writeAll(handle, [chunk], index * chunkBytesMax);
        } finally {
          await handle.close();
          // The chunk arrived while its upload was given up, and made the file again.
          if (!isOpen) await rm(path, { force: true });
        }
      },
      commit: async (root) => {
        isOpen = false;
        try {
          const inOrder = [...chunks].sort(([left], [right]) => left - right);
          await folder.settle(await fileOf(inOrder), path, root);
          if (isSpilled || committed.has(root)) return;
          committed.set(
            root,
            inOrder.map(([, chunk]) => chunk),
          );
          chunks = new Map();
        } catch (thrown) {
          await rm(path, { force: true });
          throw thrown;
        } finally {
          release();
        }
      },
      discard: async () => {
        if (!isOpen) return;
        isOpen = false;
        release();
        await rm(path, { force: true });
      },
    };
  };

  return {
    stage,
    forget,
    scan: async (root, take) => {
      const resident = committed.get(root);
      if (resident === undefined) await scanFile(folder.pathOf(root), root, take);
      else resident.forEach(take);
    },
  };
}

/** Writes `parts` one after the other from `offset` on, in one call to the system. @throws StoreError when the disk does not take all. */
export async function writeAll(handle: FileHandle, parts: readonly Uint8Array[], offset: number): Promise<void> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const { bytesWritten } = await handle.writev(parts, offset);
  if (bytesWritten === length) return;
  throw new StoreError('blob-failed', `only ${bytesWritten} of ${length} bytes were written; check the disk's space`);
}

/** Writes chunks at their places: runs of neighbours in one call each. */
async function writeChunks(handle: FileHandle, inOrder: readonly (readonly [number, Uint8Array])[]): Promise<void> {
  for (let from = 0; from < inOrder.length; ) {
    const [first] = inOrder[from]!;
    let to = from + 1;
    while (to < inOrder.length && inOrder[to]![0] === first + to - from) to++;
    const run = inOrder.slice(from, to).map(([, chunk]) => chunk);
    await writeAll(handle, run, first * chunkBytesMax);
    from = to;
  }
}

async function scanFile(path: string, root: Digest, take: ChunkReader): Promise<void> {
  const handle = await open(path, 'r');
  try {
    const buffer = new Uint8Array(chunkBytesMax);
    const digests: Digest[] = [];
    for (let index = 0; ; index++) {
      let length = 0;
      for (let count = -1; count !== 0 && length < chunkBytesMax; length += count) {
        count = (await handle.read(buffer, length, chunkBytesMax - length, index * chunkBytesMax + length)).bytesRead;
      }
      if (length === 0) break;
      const chunk = buffer.subarray(0, length);
      digests.push(digestOf(chunk));
      take(chunk, index);
    }
    const found = vectorRoot(chunkBytesMax, digests);
    if (found === root) return;
    throw new StoreError('blob-corrupt', `${path} holds other bytes (root ${found}); its round cannot be finished`);
  } finally {
    await handle.close();
  }
}
