/** Chunks of a vector or blob: their digests and the root that binds them, their number and their order. */
import { assert } from '../core/assert.ts';
import { fromHex, toHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { chunkBytesMax } from '../core/limits.ts';
import { createHash, digestOf } from '../crypto/hash.ts';

const prefix = utf8('TRIB-VEC');

/** Number of chunks of `size` bytes. */
export function chunkCountOf(size: number, chunkSize: number = chunkBytesMax): number {
  return Math.ceil(size / chunkSize);
}

/** Bytes of chunk `index` of `size` bytes: `chunkSize`, less for the last one. */
export function chunkLengthOf(size: number, index: number, chunkSize: number = chunkBytesMax): number {
  assert(index >= 0 && index < chunkCountOf(size, chunkSize), `there is no chunk ${index} in ${size} bytes`);
  return Math.min(chunkSize, size - index * chunkSize);
}

/** SHA-256 of every chunk, in order. Reads views, copies nothing. */
export function chunkDigests(bytes: Uint8Array, chunkSize: number = chunkBytesMax): Digest[] {
  return Array.from({ length: chunkCountOf(bytes.length, chunkSize) }, (_, index) =>
    digestOf(bytes.subarray(index * chunkSize, (index + 1) * chunkSize)),
  );
}

/** `H("TRIB-VEC" ‖ u32 chunkSize ‖ u32 count ‖ H(chunk 0) ‖ …)`. */
export function vectorRoot(chunkSize: number, digests: readonly Digest[]): Digest {
  const header = new DataView(new ArrayBuffer(8));
  header.setUint32(0, chunkSize, true);
  header.setUint32(4, digests.length, true);
  const hash = createHash().update(prefix).update(new Uint8Array(header.buffer));
  for (const digest of digests) hash.update(fromHex(digest));
  return toHex(hash.digest()) as Digest;
}
