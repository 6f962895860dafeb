/**
 * A random rotation that spreads every vector over all its coordinates, so that sums fit a narrow ring: random signs, then the Walsh-Hadamard
 * transform of the first P coordinates, then the same of the last P, where P is the largest power of two in d. The two overlap, so every
 * coordinate is mixed and, unlike with padding, d stays what it is; both are orthonormal, so no norm and no sensitivity changes.
 */
import { assert } from '../core/assert.ts';
import { fromHex } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { createKeyStream } from '../crypto/key-stream.ts';
import { randomIntegers } from './random-integers.ts';

/** P for a vector of `dim` coordinates. */
export function rotatedSize(dim: number): number {
  assert(dim >= 1, 'a vector has a coordinate');
  return 2 ** Math.floor(Math.log2(dim));
}

/** Rotates `values` in place by the signs of the public `seed`. Cost: O(d log d). */
export function rotate(values: Float64Array, seed: Digest): void {
  const signs = signsOf(seed, 2 * values.length);
  const size = rotatedSize(values.length);
  flip(values, signs.subarray(0, values.length));
  hadamard(values.subarray(0, size));
  flip(values, signs.subarray(values.length));
  hadamard(values.subarray(values.length - size));
}

/** Undoes {@link rotate}. */
export function rotateBack(values: Float64Array, seed: Digest): void {
  const signs = signsOf(seed, 2 * values.length);
  const size = rotatedSize(values.length);
  hadamard(values.subarray(values.length - size));
  flip(values, signs.subarray(values.length));
  hadamard(values.subarray(0, size));
  flip(values, signs.subarray(0, values.length));
}

/** Signs as bytes, 1 for minus. They are public: whoever knows the round knows them. */
function signsOf(seed: Digest, count: number): Uint8Array {
  const random = randomIntegers(createKeyStream(1, fromHex(seed)));
  const signs = new Uint8Array(count);
  for (let start = 0; start < count; start += 32) {
    const word = random.word();
    for (let bit = 0; bit < 32 && start + bit < count; bit++) signs[start + bit] = (word >>> bit) & 1;
  }
  return signs;
}

function flip(values: Float64Array, signs: Uint8Array): void {
  for (let index = 0; index < values.length; index++) if (signs[index] === 1) values[index] = -values[index]!;
}

/** The orthonormal Walsh-Hadamard transform in place, its own inverse; a power of two of values. */
function hadamard(values: Float64Array): void {
  const { length } = values;
  for (let half = 1; half < length; half <<= 1) {
    for (let start = 0; start < length; start += 2 * half) {
      for (let index = start; index < start + half; index++) {
        const [left, right] = [values[index]!, values[index + half]!];
        values[index] = left + right;
        values[index + half] = left - right;
      }
    }
  }
  const scale = 1 / Math.sqrt(length);
  for (let index = 0; index < length; index++) values[index]! *= scale;
}
