/** Low-rank pairs between vectors in layout order and thin factors: left columns are those of B, right ones the rows of A. */
import { assert } from '../../shared/core/assert.ts';
import type { ExchangedPair } from '../../shared/update/exchange.ts';
import type { LowRankPair } from '../../shared/update/federated-layout.ts';
import { type Columns, dot, type ThinFactors } from '../../shared/update/linear-algebra.ts';

/** Columns of B and rows of A of the ranks `from` to `to`. */
export function factorsOf(
  values: ArrayLike<number>,
  { a, b, rank, inSize, outSize }: LowRankPair,
  from: number,
  to: number,
): ThinFactors {
  const ranks = Array.from({ length: to - from }, (_, index) => from + index);
  return {
    left: ranks.map((index) => column(outSize, (row) => values[b.offset + row * rank + index]!)),
    right: ranks.map((index) => column(inSize, (place) => values[a.offset + index * inSize + place]!)),
  };
}

/** A column from its values. */
export function column(length: number, valueAt: (index: number) => number): Float64Array {
  const values = new Float64Array(length);
  for (let index = 0; index < length; index++) values[index] = valueAt(index);
  return values;
}

/** The trained factors in an upload, wherever they lie in it. */
export function uploadedFactors({ trained, uploaded }: ExchangedPair, values: ArrayLike<number>): ThinFactors {
  const [a, b] = uploaded;
  assert(a !== undefined && b !== undefined, 'both factors were uploaded');
  return factorsOf(values, { ...trained, a, b }, 0, trained.rank);
}

/** The trained factors after the deltas of an upload. */
export function movedFactors(pair: ExchangedPair, before: ThinFactors, values: ArrayLike<number>): ThinFactors {
  const delta = uploadedFactors(pair, values);
  const moved = (side: Columns, by: Columns): Columns =>
    by.map((change, index) => change.map((value, place) => side[index]![place]! + value));
  return { left: moved(before.left, delta.left), right: moved(before.right, delta.right) };
}

/** M times `factor`. */
export function scaled({ left, right }: ThinFactors, factor: number): ThinFactors {
  return { left: factor === 1 ? left : left.map((values) => values.map((value) => factor * value)), right };
}

/** Both factors of `one` minus those of `other`: not the difference of the products. */
export function difference(one: ThinFactors, other: ThinFactors): ThinFactors {
  const minus = (left: Columns, right: Columns): Columns =>
    left.map((values, index) => values.map((value, place) => value - right[index]![place]!));
  return { left: minus(one.left, other.left), right: minus(one.right, other.right) };
}

/** The ranks `from` to `to`. */
export function sliceOf({ left, right }: ThinFactors, from: number, to: number): ThinFactors {
  return { left: left.slice(from, to), right: right.slice(from, to) };
}

/** Sum of several thin matrices; columns of 0 are left out. */
export function joined(...parts: readonly ThinFactors[]): ThinFactors {
  const kept = parts.flatMap(({ left, right }) =>
    left.map((values, index) => ({ left: values, right: right[index]! })),
  );
  const nonZero = kept.filter(({ left, right }) => dot(left, left) > 0 && dot(right, right) > 0);
  return { left: nonZero.map(({ left }) => left), right: nonZero.map(({ right }) => right) };
}

/** Writes factors as ranks `from` and following, and clears those behind them. */
export function writeFactors(
  next: Float32Array,
  { a, b, rank, inSize, outSize }: LowRankPair,
  { factors, from, idle }: { readonly factors: ThinFactors; readonly from: number; readonly idle: Columns },
): void {
  for (let index = from; index < rank; index++) {
    const [left, right] = [factors.left[index - from], factors.right[index - from] ?? idle[index]];
    for (let row = 0; row < outSize; row++) next[b.offset + row * rank + index] = left?.[row] ?? 0;
    for (let place = 0; place < inSize; place++) next[a.offset + index * inSize + place] = right?.[place] ?? 0;
  }
}
