/** A blob store in memory, for tests and simulations. */
import { assert } from '../../shared/core/assert.ts';
import { concatBytes } from '../../shared/core/bytes.ts';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { readRange } from '../../shared/model/byte-source.ts';
import type { CoordinatorBlobs } from './blobs.ts';

/** An empty store. */
export function createMemoryBlobs(): CoordinatorBlobs {
  const blobs = new Map<Digest, Uint8Array>();
  const uploads = new Map<Digest, readonly Uint8Array[]>();
  const find = <Value>(within: ReadonlyMap<Digest, Value>, digest: Digest): Value => {
    const found = within.get(digest);
    if (found === undefined) throw new StoreError('blob-missing', `no blob ${digest} in memory`);
    return found;
  };
  return {
    put: async (bytes, digest = digestOf(bytes)) => {
      // Not `slice`: of a Buffer that is a view, whose bytes its owner takes back.
      if (!blobs.has(digest)) blobs.set(digest, Uint8Array.from(bytes));
      return digest;
    },
    putFrom: async (source, digest) => {
      if (!blobs.has(digest)) blobs.set(digest, readRange(source, 0, source.size));
    },
    get: async (digest) => find(blobs, digest).slice(),
    has: async (digest) => blobs.has(digest) || uploads.has(digest),
    read: async (digest, offset, length) => {
      const whole = blobs.get(digest) ?? concatBytes(...find(uploads, digest));
      return whole.slice(offset, offset + length);
    },
    delete: async (digest) => {
      blobs.delete(digest);
      uploads.delete(digest);
    },
    retain: async (digests) => {
      for (const kept of [blobs, uploads]) {
        for (const digest of new Set(kept.keys())) if (!digests.has(digest)) kept.delete(digest);
      }
    },
    stage: () => {
      const chunks: Uint8Array[] = [];
      return {
        write: async (index, chunk) => {
          chunks[index] = Uint8Array.from(chunk);
        },
        commit: async (root) => {
          assert(Object.keys(chunks).length === chunks.length, 'an upload is complete when it is committed');
          uploads.set(root, chunks);
        },
        discard: async () => undefined,
      };
    },
    scan: async (root, take) => find(uploads, root).forEach(take),
  };
}
