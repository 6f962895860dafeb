/**
 * Merging low-rank maps: of Σ_i c_i B_i A_i with c_i = w_i s_i, either exactly with the ranks added (`cat`), or its best approximation of a
 * given rank (`svd`, Eckart and Young 1936), found without forming the whole map.
 */
import { assert } from '../../core/assert.ts';
import { decomposeThin } from '../../update/linear-algebra.ts';

/** A factor pair: A `[rank, in]` and B `[out, rank]`, row after row. */
export interface Factors {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/** One adapter's pair with its c. */
export interface ScaledFactors extends Factors {
  readonly scale: number;
}

/** A pair whose product is Σ_i c_i B_i A_i, of rank Σ_i r_i. */
export function concatenate(maps: readonly ScaledFactors[]): Factors {
  const rank = maps.reduce((sum, map) => sum + map.rank, 0);
  const outSize = outSizeOf(maps);
  const a = Float32Array.from(maps.flatMap((map) => [...map.a].map((value) => map.scale * value)));
  const b = new Float32Array(outSize * rank);
  let column = 0;
  for (const map of maps) {
    for (const [index, value] of map.b.entries())
      b[Math.floor(index / map.rank) * rank + column + (index % map.rank)] = value;
    column += map.rank;
  }
  return { rank, a, b };
}

/**
 * The pair of rank `rank` closest to Σ_i c_i B_i A_i, as B = U Σ and A = Vᵀ, and the share of the norm that it leaves out.
 * Cost: O((in + out) R²) for R = Σ_i r_i.
 */
export function approximate(maps: readonly ScaledFactors[], rank: number): Factors & { readonly discarded: number } {
  const outSize = outSizeOf(maps);
  const inSize = maps[0]!.a.length / maps[0]!.rank;
  const { values, left, right } = decomposeThin({
    left: maps.flatMap((map) =>
      ranksOf(map, (index) =>
        Float64Array.from({ length: outSize }, (_, row) => map.scale * map.b[row * map.rank + index]!),
      ),
    ),
    right: maps.flatMap((map) =>
      ranksOf(map, (index) => Float64Array.from(map.a.subarray(index * inSize, (index + 1) * inSize))),
    ),
  });
  const a = new Float32Array(rank * inSize);
  const b = new Float32Array(outSize * rank);
  for (let index = 0; index < Math.min(rank, values.length); index++) {
    a.set(right[index]!, index * inSize);
    for (let row = 0; row < outSize; row++) b[row * rank + index] = values[index]! * left[index]![row]!;
  }
  const energyOf = (list: readonly number[]) => list.reduce((sum, value) => sum + value * value, 0);
  const whole = energyOf(values);
  return { rank, a, b, discarded: whole === 0 ? 0 : Math.sqrt(energyOf(values.slice(rank)) / whole) };
}

function ranksOf(map: Factors, columnOf: (index: number) => Float64Array): Float64Array[] {
  return Array.from({ length: map.rank }, (_, index) => columnOf(index));
}

function outSizeOf(maps: readonly Factors[]): number {
  const [first] = maps;
  assert(first !== undefined, 'something is merged');
  return first.b.length / first.rank;
}
