/** References to content: how one is made, and how a manifest and a chunk are judged against it. */
import type { Digest } from '../core/ids.ts';
import { chunkBytesMax } from '../core/limits.ts';
import { digestOf } from '../crypto/hash.ts';
import type { BlobReference } from './bodies.ts';
import { chunkCountOf, chunkDigests, chunkLengthOf, vectorRoot } from './vector.ts';
import { type Violation, violation } from './violations.ts';

/** Digests of the chunks of some content, with its size in bytes. */
export interface Manifest {
  readonly size: number;
  readonly chunkDigests: readonly Digest[];
}

/** The reference to `bytes` and the manifest that belongs to it. Two passes of SHA-256 over the bytes, no copy. */
export function referenceTo(bytes: Uint8Array): { readonly reference: BlobReference; readonly manifest: Manifest } {
  const digests = chunkDigests(bytes);
  const reference = { digest: digestOf(bytes), size: bytes.length, root: vectorRoot(chunkBytesMax, digests) };
  return { reference, manifest: { size: bytes.length, chunkDigests: digests } };
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
