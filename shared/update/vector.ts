/**
 * Arithmetic on flat float32 vectors in layout order. Nothing here depends on tfjs, so that a coordinator and a browser do the same.
 */
import { assert } from '../core/assert.ts';
import type { AdapterLayout } from './layout.ts';

/** One new vector `[dim]` from the values of every tensor by name. The map holds exactly the tensors of the layout. */
export function flatten(layout: AdapterLayout, tensors: ReadonlyMap<string, Float32Array>): Float32Array {
  assert(
    tensors.size === layout.tensors.length,
    `the layout has ${layout.tensors.length} tensors, found ${tensors.size}`,
  );
  const vector = new Float32Array(layout.dim);
  for (const { name, offset, size } of layout.tensors) {
    const values = tensors.get(name);
    assert(
      values !== undefined && values.length === size,
      `tensor ${name} must have ${size} values, found ${values?.length ?? 'none'}`,
    );
    vector.set(values, offset);
  }
  return vector;
}

/** The values of every tensor by name, as views of `vector` `[dim]`: writing one writes the other. */
export function unflatten(layout: AdapterLayout, vector: Float32Array): Map<string, Float32Array> {
  assert(vector.length === layout.dim, `the layout has ${layout.dim} values, found ${vector.length}`);
  return new Map(layout.tensors.map(({ name, offset, size }) => [name, vector.subarray(offset, offset + size)]));
}

/** `left - right` as a new vector; both `[dim]`. */
export function subtract(left: Float32Array, right: Float32Array): Float32Array {
  assert(left.length === right.length, `vectors of ${left.length} and ${right.length} values have no difference`);
  const difference = new Float32Array(left.length);
  for (let index = 0; index < left.length; index++) difference[index] = left[index]! - right[index]!;
  return difference;
}

/** Adds `scale * addend` to `sum`, which is changed; both `[dim]`. A float64 sum keeps what float32 rounds away. */
export function addScaled(sum: Float32Array | Float64Array, addend: Float32Array, scale: number): void {
  assert(sum.length === addend.length, `a vector of ${addend.length} values cannot be added to one of ${sum.length}`);
  for (let index = 0; index < sum.length; index++) sum[index]! += scale * addend[index]!;
}

/** Sum of squares, accumulated in float64. */
export function squaredNorm(vector: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < vector.length; index++) sum += vector[index]! * vector[index]!;
  return sum;
}

/** Index of the first value that is NaN or infinite, or null. About 0.6 ms per million values. */
export function firstNonFinite(vector: Float32Array): number | null {
  // An exponent of ones, which NaN and the infinities have alone, carries into the sign when one is added to it: no branch per value, no float.
  const words = new Int32Array(vector.buffer, vector.byteOffset, vector.length);
  const blockSize = 4096;
  for (let start = 0; start < words.length; start += blockSize) {
    const end = Math.min(start + blockSize, words.length);
    let found = 0;
    for (let index = start; index < end; index++) found |= (words[index]! & 0x7fffffff) + 0x00800000;
    if (found >= 0) continue;
    for (let index = start; index < end; index++) if (!Number.isFinite(vector[index]!)) return index;
  }
  return null;
}
