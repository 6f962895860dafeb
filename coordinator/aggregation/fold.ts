/**
 * The weighted mean of the deltas of a round (McMahan 2017, algorithm 1), folded one durable blob after the other in client-id order with
 * float64 accumulation: the result does not depend on the order of arrival, and memory is one accumulator and one part of a delta however
 * many clients there are.
 */
import { assert } from '../../shared/core/assert.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';

/** One client's share: `weight` >= 0; `scan` hands over its delta when its turn comes. */
export interface Contribution {
  readonly clientId: ClientId;
  readonly weight: number;
  /** Gives the delta as float32 little-endian bytes, in parts of whole values, one after the other; parts are lent. */
  readonly scan: (take: (part: Uint8Array) => void) => Promise<void>;
}

/**
 * Mean delta `[dim]` in float64, in `mean` where the caller has such memory. Clients of weight 0 are not even read. All weights 0 give the
 * zero vector. Cost: O(clients x dim) time, O(dim) memory.
 */
export async function foldMean(
  contributions: readonly Contribution[],
  dim: number,
  mean: Float64Array = new Float64Array(dim),
): Promise<Float64Array> {
  assert(mean.length === dim, 'the mean has the length of the layout');
  mean.fill(0);
  const ordered = [...contributions].sort((left, right) => (left.clientId < right.clientId ? -1 : 1));
  let total = 0;
  for (const { weight, scan } of ordered) {
    assert(weight >= 0 && Number.isFinite(weight), 'weights are finite and not negative');
    if (weight === 0) continue;
    let offset = 0;
    await scan((part) => {
      const values = float32Of(part);
      addWeighted(mean.subarray(offset, offset + values.length), values, weight);
      offset += values.length;
    });
    assert(offset === dim, 'every delta of a round has the length of its layout');
    total += weight;
  }
  if (total > 0) for (let index = 0; index < dim; index++) mean[index]! /= total;
  return mean;
}

/** Adds `weight * delta` to `sum` in place. A function of its own, so that the engine compiles the loop once and well. */
function addWeighted(sum: Float64Array, delta: Float32Array, weight: number): void {
  assert(delta.length === sum.length, 'a delta is no longer than its layout');
  const { length } = sum;
  for (let index = 0; index < length; index++) sum[index]! += weight * delta[index]!;
}
