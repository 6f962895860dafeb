/** A blob store in memory, for tests and simulations. */
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { CoordinatorBlobs } from './blobs.ts';

/** An empty store. */
export function createMemoryBlobs(): CoordinatorBlobs {
  const blobs = new Map<Digest, Uint8Array>();
  const find = (digest: Digest): Uint8Array => {
    const bytes = blobs.get(digest);
    if (bytes === undefined) throw new StoreError('blob-missing', `no blob ${digest} in memory`);
    return bytes;
  };
  const put = async (bytes: Uint8Array): Promise<Digest> => {
    const digest = digestOf(bytes);
    if (!blobs.has(digest)) blobs.set(digest, bytes.slice());
    return digest;
  };
  return {
    put,
    get: async (digest) => find(digest).slice(),
    has: async (digest) => blobs.has(digest),
    read: async (digest, offset, length) => find(digest).slice(offset, offset + length),
    delete: async (digest) => void blobs.delete(digest),
    retain: async (digests) => {
      for (const digest of new Set(blobs.keys())) if (!digests.has(digest)) blobs.delete(digest);
    },
    stage: async (size) => {
      const bytes = new Uint8Array(size);
      return {
        write: async (offset, part) => bytes.set(part, offset),
        bytes: async () => bytes,
        commit: async (whole) => put(whole),
        discard: async () => undefined,
      };
    },
  };
}
