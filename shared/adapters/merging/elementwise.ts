/**
 * Merging the same tensor of several adapters value by value: sums, and what keeps adapters from cancelling each other out. The functions of
 * PEFT's `merge_utils`, in float64. Zero must mean "no change" in such a tensor.
 */
import { assert } from '../../core/assert.ts';
import type { SeededRandom } from '../../core/random.ts';

/** One tensor of every adapter, all of one length, with weights in the same order. */
export interface Contributions {
  readonly tensors: readonly Float32Array[];
  readonly weights: readonly number[];
}

/** Σ_i w_i θ_i: task arithmetic (Ilharco 2023, section 2). */
export function weightedSum({ tensors, weights }: Contributions): Float32Array {
  const sum = new Float64Array(tensors[0]?.length ?? 0);
  for (const [index, tensor] of tensors.entries()) {
    assert(tensor.length === sum.length, `tensors of ${sum.length} and ${tensor.length} values do not add up`);
    for (const [place, value] of tensor.entries()) sum[place]! += weights[index]! * value;
  }
  return Float32Array.from(sum);
}

/** The ⌊density · length⌋ values of largest magnitude, the others zero; of equal ones the first stay. */
export function keepLargest(tensor: Float32Array, density: number): Float32Array {
  const kept = new Float32Array(tensor.length);
  const order = Uint32Array.from(tensor, (_, index) => index).sort(
    (left, right) => Math.abs(tensor[right]!) - Math.abs(tensor[left]!) || left - right,
  );
  for (const place of order.subarray(0, Math.floor(density * tensor.length))) kept[place] = tensor[place]!;
  return kept;
}

/** Each value with probability `density`, divided by it; the others zero (Yu 2024, DARE, section 3.1). */
export function dropAndRescale(tensor: Float32Array, density: number, random: SeededRandom): Float32Array {
  return tensor.map((value) => (random.uniform() < density ? value / density : 0));
}

/**
 * TIES after its trimming (Yadav 2023, section 4, steps 2 and 3): at every place the sign that has more weight in total is elected, and the
 * weighted values that agree with it are averaged by their number. Zeros count for neither, a total of zero elects plus.
 * @param tensors trimmed by {@link keepLargest} or {@link dropAndRescale}.
 */
export function electAndMerge({ tensors, weights }: Contributions): Float32Array {
  return Float32Array.from(tensors[0] ?? [], (_, place) => {
    const total = tensors.reduce((sum, tensor) => sum + tensor[place]!, 0);
    const elected = total >= 0 ? 1 : -1;
    let sum = 0;
    let count = 0;
    for (const [index, tensor] of tensors.entries()) {
      if (Math.sign(tensor[place]!) !== elected) continue;
      sum += weights[index]! * tensor[place]!;
      count += 1;
    }
    return sum / Math.max(1, count);
  });
}
