/** References to content: how one is made, and how a manifest and a chunk are judged against it. */
import { toHex } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { chunkBytesMax } from '../core/limits.ts';
import { createHash, digestOf } from '../crypto/hash.ts';
import { type ByteSource, sourceOf } from '../model/byte-source.ts';
import type { BlobReference } from './bodies.ts';
import { chunkCountOf, chunkLengthOf, vectorRoot } from './vector.ts';
import { type Violation, violation } from './violations.ts';

/** Digests of the chunks of some content, with its size in bytes. */
export interface Manifest {
  readonly size: number;
  readonly chunkDigests: readonly Digest[];
}

/** The reference to `content` and the manifest that belongs to it. Reads it once and hashes it twice, without a copy of what is in memory. */
export function referenceTo(content: Uint8Array | ByteSource): {
  readonly reference: BlobReference;
  readonly manifest: Manifest;
} {
  const source = sourceOf(content);
  const { size } = source;
  const whole = createHash();
  const digests = Array.from({ length: chunkCountOf(size) }, (_, index) => {
    const chunk = source.piece(index * chunkBytesMax, chunkLengthOf(size, index));
    whole.update(chunk);
    return digestOf(chunk);
  });
  const reference = { digest: toHex(whole.digest()) as Digest, size, root: vectorRoot(chunkBytesMax, digests) };
  return { reference, manifest: { size, chunkDigests: digests } };
}

/** Why a manifest is not that of a reference: `wrong-length` or `root-mismatch`; null when it is. */
export function checkManifest({ size, root }: BlobReference, manifest: Manifest): Violation | null {
  const chunkCount = chunkCountOf(size);
  if (manifest.size !== size || manifest.chunkDigests.length !== chunkCount) {
    const found = `${manifest.size} bytes in ${manifest.chunkDigests.length}`;
    return violation('wrong-length', `expected ${size} bytes in ${chunkCount} chunks, found ${found}`);
  }
  if (vectorRoot(chunkBytesMax, manifest.chunkDigests) === root) return null;
  return violation('root-mismatch', 'the chunk digests do not have the announced root');
}

/** Why a chunk is not chunk `index` of `manifest`: `wrong-length` or `chunk-mismatch`; null when it is. One SHA-256 of the chunk. */
export function checkChunk(
  { size, chunkDigests: digests }: Manifest,
  index: number,
  chunk: Uint8Array,
): Violation | null {
  if (!Number.isInteger(index) || index < 0 || index >= digests.length) {
    return violation('wrong-length', `expected an index below ${digests.length}, found ${index}`);
  }
  const length = chunkLengthOf(size, index);
  if (chunk.length !== length)
    return violation('wrong-length', `expected ${length} bytes in chunk ${index}, found ${chunk.length}`);
  if (digestOf(chunk) === digests[index]) return null;
  return violation('chunk-mismatch', `chunk ${index} of ${digests.length} does not have its announced digest`);
}
