/**
 * Random signs for two-sided sketches of a change D `[out, in]`: Y = D Ω and Z = Ψᵀ D, with Ω `[in, q]` and Ψ `[out, q']` of independent signs
 * (Tropp 2017, algorithm 1). They are drawn from the hash of the round, so they are signed with it, the same for everybody, and fresh each
 * round. Signs and not normal numbers: these are the same on every engine, bit for bit. On a side where a sketch would be as long as the map is
 * wide, it is the map itself.
 */
import type { Digest } from '../core/ids.ts';
import { seededRandom } from '../core/random.ts';

/** What signs are drawn for. */
export interface SignsOf {
  readonly roundHash: Digest;
  readonly pairName: string;
  readonly side: 'outer' | 'inner';
}

/** Independent signs `[rows, columns]`, row by row, of one map of one round. */
export function randomSigns({ roundHash, pairName, side }: SignsOf, rows: number, columns: number): Float64Array {
  const random = seededRandom(Number.parseInt(roundHash.slice(0, 8), 16), 'sketch', roundHash, pairName, side);
  const signs = new Float64Array(rows * columns);
  let [bits, left] = [0, 0];
  for (let index = 0; index < signs.length; index++) {
    if (left === 0) [bits, left] = [random.integer(2 ** 32), 32];
    signs[index] = bits & 1 ? 1 : -1;
    bits >>>= 1;
    left--;
  }
  return signs;
}

/** Ω `[in, q]` or Ψ `[out, q']`, row by row: {@link randomSigns}, and with as many columns as rows the identity. */
export function sketchMatrix(of: SignsOf, rows: number, columns: number): Float64Array {
  if (rows !== columns) return randomSigns(of, rows, columns);
  const identity = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) identity[row * columns + row] = 1;
  return identity;
}

/** `left` `[rows, inner]` times `right` `[inner, columns]`, both row by row, added to `into` `[rows, columns]`. Cost: O(rows x inner x columns). */
export function addProduct(
  into: Float64Array,
  left: ArrayLike<number>,
  right: ArrayLike<number>,
  { rows, inner, columns }: { readonly rows: number; readonly inner: number; readonly columns: number },
): Float64Array {
  for (let row = 0; row < rows; row++) {
    for (let middle = 0; middle < inner; middle++) {
      const factor = left[row * inner + middle]!;
      if (factor === 0) continue;
      const [to, from] = [row * columns, middle * columns];
      for (let column = 0; column < columns; column++) into[to + column]! += factor * right[from + column]!;
    }
  }
  return into;
}

/** The transpose of `values` `[rows, columns]`. */
export function transposed(values: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const turned = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column]!;
  }
  return turned;
}
