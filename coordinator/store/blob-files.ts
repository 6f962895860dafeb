/**
 * Blobs as files `sha256/ab/cdef…` below a folder. A blob is written to a temporary file, flushed, renamed, and its folder flushed: after
 * a power failure it is there whole or not at all. Whatever is read whole is checked against its digest.
 */
import { randomUUID } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { access, constants, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { CoordinatorBlobs, StagedBlob } from './blobs.ts';

/** Opens (and makes) the blob folder; other processes may use it at the same time. @throws StoreError when it cannot be used. */
export async function openFileBlobs(folder: string): Promise<CoordinatorBlobs> {
  const temporary = join(folder, 'tmp');
  await attempt('open', folder, () => mkdir(temporary, { recursive: true, mode: 0o700 }));
  const pathOf = (digest: Digest): string => join(folder, 'sha256', digest.slice(0, 2), digest.slice(2));

  /** Flushes the file at `path` and moves it to its place. */
  const settle = async (handle: FileHandle, path: string, digest: Digest): Promise<void> => {
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    const target = pathOf(digest);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await rename(path, target);
    await syncFolder(dirname(target));
  };

  /** No file stays open between calls: thousands of uploads may be under way, and a process has about a thousand descriptors. */
  const stage = async (size: number): Promise<StagedBlob> => {
    const path = join(temporary, randomUUID());
    const openStaged = (): Promise<FileHandle> => open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    let isSettled = false;
    let isDiscarded = false;
    return {
      write: (offset, part) =>
        attempt('write', path, async () => {
          const handle = await openStaged();
          try {
            for (let done = 0; done < part.length; )
              done += (await handle.write(part, done, part.length - done, offset + done)).bytesWritten;
          } finally {
            await handle.close();
            // The part arrived while its upload was given up, and made the file again.
            if (isDiscarded) await rm(path, { force: true });
          }
        }),
      bytes: () =>
        attempt('read', path, async () => {
          const handle = await openStaged();
          try {
            const whole = new Uint8Array(size);
            for (let offset = 0; offset < size; ) {
              const { bytesRead } = await handle.read(whole, offset, size - offset, offset);
              if (bytesRead === 0) throw new Error(`the file ends after ${offset} of ${size} bytes`);
              offset += bytesRead;
            }
            return whole;
          } finally {
            await handle.close();
          }
        }),
      commit: (whole) =>
        attempt('commit', path, async () => {
          const digest = digestOf(whole);
          await settle(await openStaged(), path, digest);
          isSettled = true;
          return digest;
        }),
      discard: async () => {
        isDiscarded = !isSettled;
        if (isDiscarded) await rm(path, { force: true });
      },
    };
  };

  const has = (digest: Digest): Promise<boolean> =>
    access(pathOf(digest)).then(
      () => true,
      () => false,
    );
  return {
    stage,
    has,
    put: async (bytes) => {
      const digest = digestOf(bytes);
      if (await has(digest)) return digest;
      return attempt('write', pathOf(digest), async () => {
        const path = join(temporary, randomUUID());
        const handle = await open(path, 'wx', 0o600);
        await handle.writeFile(bytes);
        await settle(handle, path, digest);
        return digest;
      });
    },
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
    delete: (digest) => attempt('delete', pathOf(digest), () => rm(pathOf(digest), { force: true })),
    retain: (digests) =>
      attempt('clean', folder, async () => {
        for (const name of await readdir(temporary)) await rm(join(temporary, name), { force: true });
        const stored = join(folder, 'sha256');
        await mkdir(stored, { recursive: true, mode: 0o700 });
        for (const start of await readdir(stored)) {
          for (const rest of await readdir(join(stored, start))) {
            if (!digests.has(`${start}${rest}` as Digest)) await rm(join(stored, start, rest), { force: true });
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
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && what === 'read') throw new StoreError('blob-missing', `no blob at ${path}`, { cause });
    throw new StoreError(
      'blob-failed',
      `cannot ${what} ${path}: ${code ?? String(cause)}; check the disk and its permissions`,
      { cause },
    );
  }
}
