/**
 * Vectors over Z_2^bits, the ring of masked sums: sums and differences wrap, so that a mask that is added and subtracted leaves nothing
 * behind. Two's complement carries the sign. On the wire words are little-endian.
 */
import { assert } from '../core/assert.ts';
import { requireLittleEndian } from '../core/bytes.ts';

/** Width of a ring: 32 bits, or 16 for half the upload at lower precision. */
export type RingBits = 16 | 32;

/** Elements of a ring: a word each, of the ring's width. */
export type RingVector = Uint16Array | Uint32Array;

/** `length` zeros. */
export function zeroVector(bits: RingBits, length: number): RingVector {
  return bits === 32 ? new Uint32Array(length) : new Uint16Array(length);
}

/** The vector of little-endian `bytes` `[length * bits / 8]`; a view where they are aligned, else a copy. @throws FederationError `big-endian-machine`. */
export function vectorOf(bits: RingBits, bytes: Uint8Array): RingVector {
  const width = bits / 8;
  requireLittleEndian();
  assert(bytes.length % width === 0, `a vector has a multiple of ${width} bytes, found ${bytes.length}`);
  const { buffer, byteOffset } = bytes.byteOffset % width === 0 ? bytes : Uint8Array.from(bytes);
  const length = bytes.length / width;
  return bits === 32 ? new Uint32Array(buffer, byteOffset, length) : new Uint16Array(buffer, byteOffset, length);
}

/** Adds `values` to `sum` in place; both of one ring and length. */
export function addTo(sum: RingVector, values: RingVector): void {
  requireAlike(sum, values);
  addWords(signedOf(sum), signedOf(values), sum.length);
}

/** Subtracts `values` from `sum` in place; both of one ring and length. */
export function subtractFrom(sum: RingVector, values: RingVector): void {
  requireAlike(sum, values);
  subtractWords(signedOf(sum), signedOf(values), sum.length);
}

// As signed integers, whose sums wrap to the same bits, words are added as they are; as unsigned ones, which may be too large for a small integer,
// an engine adds them as floats. The length is read once: before such a loop is compiled at its best, reading it costs more than adding.
function addWords(sum: Int16Array | Int32Array, values: Int16Array | Int32Array, length: number): void {
  for (let index = 0; index < length; index++) sum[index] = (sum[index]! + values[index]!) | 0;
}

function subtractWords(sum: Int16Array | Int32Array, values: Int16Array | Int32Array, length: number): void {
  for (let index = 0; index < length; index++) sum[index] = (sum[index]! - values[index]!) | 0;
}

function requireAlike(sum: RingVector, values: RingVector): void {
  assert(
    sum.length === values.length && sum.BYTES_PER_ELEMENT === values.BYTES_PER_ELEMENT,
    `vectors of one ring and length, found ${sum.length} and ${values.length} words`,
  );
}

/** The elements as signed integers: a view of the same memory. */
export function signedOf(vector: RingVector): Int16Array | Int32Array {
  const { buffer, byteOffset, length } = vector;
  return vector.BYTES_PER_ELEMENT === 4
    ? new Int32Array(buffer, byteOffset, length)
    : new Int16Array(buffer, byteOffset, length);
}
