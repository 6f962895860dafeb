/**
 * Blobs as files `sha256/ab/cdef…` below a folder. A blob is written to a temporary file, flushed, renamed, and its folder flushed: after
 * a power failure it is there whole or not at all. Whatever is read whole is checked against its digest. Uploads lie in the same folders,
 * named by the root of their chunks (`uploads-on-disk.ts`).
 */
import { randomUUID } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { access, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { InvariantError } from '../../shared/core/assert.ts';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { type ByteSource, bytesInMemory } from '../../shared/model/byte-source.ts';
import type { CoordinatorBlobs } from './blobs.ts';
import { createUploadFiles, residentBytesMax, writeAll } from './uploads-on-disk.ts';

/** Bytes of one write: the system takes no more than 2 GiB at once, and files are read in pieces no longer than this. */
const writtenBytes = 1024 * 1024;

/**
 * Opens (and makes) the blob folder; other processes may use it at the same time. `residentBytesMax` bounds what stays in memory of uploads.
 * @throws StoreError when it cannot be used.
 */
export async function openFileBlobs(
  folder: string,
  limits: { readonly residentBytesMax: number } = { residentBytesMax },
): Promise<CoordinatorBlobs> {
  const temporary = join(folder, 'tmp');
  const stored = join(folder, 'sha256');
  await attempt('open', folder, async () => {
    for (const part of [temporary, stored]) await mkdir(part, { recursive: true, mode: 0o700 });
    await syncFolder(folder);
  });
  const pathOf = (digest: Digest): string => join(stored, digest.slice(0, 2), digest.slice(2));

  /** Folders that were made durable by this process: once each, also when many blobs want one at the same time. */
  const made = new Map<string, Promise<void>>();
  const makeFolder = (path: string): Promise<void> => {
    const known = made.get(path);
    if (known !== undefined) return known;
    const making = mkdir(path, { recursive: true, mode: 0o700 }).then(() => syncFolder(stored));
    made.set(path, making);
    making.catch(() => made.delete(path));
    return making;
  };
  /** Flushes the file at `path` and moves it to its place. */
  const settle = async (handle: FileHandle, path: string, digest: Digest): Promise<void> => {
    const target = pathOf(digest);
    try {
      // Both wait for the disk, which does both at once.
      await Promise.all([handle.datasync(), makeFolder(dirname(target))]);
    } finally {
      await handle.close();
    }
    await rename(path, target);
    await syncFolder(dirname(target));
  };
  const uploads = createUploadFiles({ temporary, pathOf, settle }, limits.residentBytesMax);

  const has = (digest: Digest): Promise<boolean> =>
    access(pathOf(digest)).then(
      () => true,
      () => false,
    );
  const putFrom = async (source: ByteSource, digest: Digest): Promise<void> => {
    if (await has(digest)) return;
    await attempt('write', pathOf(digest), async () => {
      const path = join(temporary, randomUUID());
      const handle = await open(path, 'wx', 0o600);
      try {
        for (let offset = 0; offset < source.size; offset += writtenBytes)
          await writeAll(handle, [source.piece(offset, Math.min(writtenBytes, source.size - offset))], offset);
      } catch (thrown) {
        await handle.close();
        await rm(path, { force: true });
        throw thrown;
      }
      await settle(handle, path, digest);
    });
  };
  return {
    stage: () => {
      const staged = uploads.stage();
      return {
        write: (index, chunk) => attempt('write', temporary, () => staged.write(index, chunk)),
        commit: (root) => attempt('commit', pathOf(root), () => staged.commit(root)),
        discard: () => attempt('delete', temporary, () => staged.discard()),
      };
    },
    scan: (root, take) => attempt('read', pathOf(root), () => uploads.scan(root, take)),
    has,
    put: async (bytes, digest = digestOf(bytes)) => {
      await putFrom(bytesInMemory(bytes), digest);
      return digest;
    },
    putFrom,
    get: async (digest) => {
      const bytes = await attempt('read', pathOf(digest), async () => new Uint8Array(await readFile(pathOf(digest))));
      const found = digestOf(bytes);
      if (found === digest) return bytes;
      throw new StoreError('blob-corrupt', `${pathOf(digest)} holds other bytes (${found}); restore it from a backup`);
    },
    read: (digest, offset, length) =>
      attempt('read', pathOf(digest), async () => {
        const handle = await open(pathOf(digest), 'r');
        try {
          const part = new Uint8Array(length);
          const { bytesRead } = await handle.read(part, 0, length, offset);
          return part.subarray(0, bytesRead);
        } finally {
          await handle.close();
        }
      }),
    delete: (digest) => {
      uploads.forget(digest);
      return attempt('delete', pathOf(digest), () => rm(pathOf(digest), { force: true }));
    },
    retain: (digests) =>
      attempt('clean', folder, async () => {
        for (const name of await readdir(temporary)) await rm(join(temporary, name), { force: true });
        for (const start of await readdir(stored)) {
          for (const rest of await readdir(join(stored, start))) {
            const digest = `${start}${rest}` as Digest;
            if (digests.has(digest)) continue;
            uploads.forget(digest);
            await rm(pathOf(digest), { force: true });
          }
        }
      }),
  };
}

/** Makes a rename durable: on POSIX systems a folder is flushed like a file; Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  await handle.sync();
  await handle.close();
}

async function attempt<Value>(what: string, path: string, action: () => Promise<Value>): Promise<Value> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof StoreError || cause instanceof InvariantError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && what === 'read') throw new StoreError('blob-missing', `no blob at ${path}`, { cause });
    throw new StoreError(
      'blob-failed',
      `cannot ${what} ${path}: ${code ?? String(cause)}; check the disk and its permissions`,
      { cause },
    );
  }
}
