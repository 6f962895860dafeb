/**
 * Bytes that are read in ranges: a file on disk (`byte-file.node.ts`) or memory. Whoever reads a checkpoint does it through this interface, so
 * that no weight has to be in memory twice. Reading is synchronous, as of files in Node and of the origin-private file system in browsers.
 */

import { toHex } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { createHash } from '../crypto/hash.ts';

/** Immutable bytes. */
export interface ByteSource {
  readonly size: number;
  /**
   * Bytes `offset` to `offset + length`, lent: not to be changed, and gone with the next call. Files copy into a buffer of the longest length
   * asked for, so callers ask for about {@link pieceBytes} at a time.
   * @throws FederationError when they cannot be read.
   */
  piece(offset: number, length: number): Uint8Array;
}

/** Length of a piece: large enough that calls cost nothing, small enough to stay in the processor's cache. */
export const pieceBytes = 512 * 1024;

/** Bytes that are in memory, without a copy. */
export function bytesInMemory(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, piece: (offset, length) => bytes.subarray(offset, offset + length) };
}

/** Hands a range to `take`, in order and in pieces of whole `unit`s (a value, a row), which are lent. */
export function forEachPiece(
  { source, offset, length }: { readonly source: ByteSource; readonly offset: number; readonly length: number },
  unit: number,
  take: (piece: Uint8Array, start: number) => void,
): void {
  const step = Math.max(1, Math.floor(pieceBytes / unit)) * unit;
  for (let start = 0; start < length; start += step)
    take(source.piece(offset + start, Math.min(step, length - start)), start);
}

/** Content as a source, whichever of both it is. */
export function sourceOf(content: Uint8Array | ByteSource): ByteSource {
  return content instanceof Uint8Array ? bytesInMemory(content) : content;
}

/** SHA-256 of all bytes. */
export function digestOfSource(source: ByteSource): Digest {
  const hash = createHash();
  forEachPiece({ source, offset: 0, length: source.size }, 1, (piece) => void hash.update(piece));
  return toHex(hash.digest()) as Digest;
}

/** A range as bytes of its own. */
export function readRange(source: ByteSource, offset: number, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  forEachPiece({ source, offset, length }, 1, (piece, start) => whole.set(piece, start));
  return whole;
}
