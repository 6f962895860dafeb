/**
 * What the coordinator makes of low-rank pairs: per map, the clients' changes of B A become one published pair, by thin factors alone
 * (`shared/update/linear-algebra.ts`). Notation: r trained rank, P published rank, p the clients' shares, eta the server's learning rate.
 *
 * Exact rules publish M + eta (Σ p M_k - M) for the published M and the clients' M_k. Where that has more than P ranks the smallest singular
 * values are cut; `discarded` reports their share. What a cut leaves out of the trained ranks stays in the further ones, if P > r: that is the
 * error feedback of `svd`, public and signed like everything else.
 */
import { assert } from '../../shared/core/assert.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Exchange, ExchangedPair } from '../../shared/update/exchange.ts';
import type { LowRankPair } from '../../shared/update/federated-layout.ts';
import {
  addColumn,
  type Columns,
  decomposeThin,
  dot,
  frobeniusNorm,
  leastSquares,
  type ThinFactors,
  thinQr,
} from '../../shared/update/linear-algebra.ts';
import { sketchSigns } from '../../shared/update/sketch.ts';

/** One client's update as far as rules look at it. `share` is its weight over the sum of weights. */
export interface SingleUpdate {
  readonly share: number;
  /** `[uploaded dim]`. */
  readonly values: Float32Array;
}

/** What pairs are made of. */
export interface CombineOptions {
  readonly exchange: Exchange;
  /** `[published dim]` of the latest version. */
  readonly start: Float32Array;
  /** The weighted mean of the uploads, `[uploaded dim]`. */
  readonly mean: Float64Array;
  /** In client-id order; empty for rules that need the sum alone. */
  readonly singles: readonly SingleUpdate[];
  readonly clientCount: number;
  readonly roundHash: Digest;
  readonly learningRate: number;
  /** `[published dim]`; the pairs in it are overwritten. */
  readonly next: Float32Array;
}

/** Squared Frobenius norms of one map, from which measures of the round are made. */
export interface PairMeasure {
  /** What factor averaging misses, of what it should have been: rule `factor-avg`. */
  readonly bias?: { readonly missed: number; readonly whole: number };
  /** What a cut to the published rank left out, of the whole. */
  readonly cut?: { readonly missed: number; readonly whole: number };
  /** What a sketch cannot explain, of the sketch. */
  readonly sketch?: { readonly missed: number; readonly whole: number };
  /** Ranks in use. */
  readonly rank?: number;
}

/** Makes the next values of one pair, or measures it where its factors are averaged as they are. */
export function combinePair(pair: ExchangedPair, options: CombineOptions): PairMeasure {
  const { exchange, start, learningRate } = options;
  const { published, trained } = pair;
  const before = factorsOf(start, published, 0, published.rank);
  switch (exchange.settings.lowRank) {
    case 'factor-avg':
      return { bias: biasOf(pair, options) };
    case 'svd': {
      const parts = options.singles.map((single) => {
        const after = movedFactors(pair, before, single.values);
        return scaled(after, learningRate * single.share);
      });
      const own = sliceOf(before, 0, trained.rank);
      const rest = sliceOf(before, trained.rank, published.rank);
      const kept = learningRate === 1 ? [] : [scaled(own, 1 - learningRate)];
      return publish(joined(...parts, ...kept, rest), pair, options);
    }
    case 'stack': {
      const fresh = options.singles.map(({ share, values }) =>
        scaled(uploadedFactors(pair, values), learningRate * share),
      );
      return append(joined(...fresh), { pair, from: 0 }, options);
    }
    case 'residual': {
      const mean = movedFactors(pair, before, options.mean);
      const misses = options.singles.map(({ share, values }) =>
        scaled(difference(movedFactors(pair, before, values), mean), learningRate * share),
      );
      return append(joined(...misses), { pair, from: trained.rank }, options);
    }
    case 'dense':
      return publish(joined(scaled(denseFactors(pair, options), learningRate), before), pair, options);
    case 'sketch': {
      const { change, ...measure } = recovered(pair, options);
      return { ...measure, ...publish(joined(scaled(change, learningRate), before), pair, options) };
    }
    default:
      // A is frozen or B stays with the clients: what is averaged is linear, and nothing is left to do.
      return {};
  }
}

/** Columns of B and rows of A of the ranks `from` to `to`. */
function factorsOf(
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

function column(length: number, valueAt: (index: number) => number): Float64Array {
  const values = new Float64Array(length);
  for (let index = 0; index < length; index++) values[index] = valueAt(index);
  return values;
}

/** The trained factors in an upload, wherever they lie in it. */
function uploadedFactors({ trained, uploaded }: ExchangedPair, values: ArrayLike<number>): ThinFactors {
  const [a, b] = uploaded;
  assert(a !== undefined && b !== undefined, 'both factors were uploaded');
  return factorsOf(values, { ...trained, a, b }, 0, trained.rank);
}

/** The trained factors after the deltas of an upload. */
function movedFactors(pair: ExchangedPair, before: ThinFactors, values: ArrayLike<number>): ThinFactors {
  const delta = uploadedFactors(pair, values);
  const moved = (side: Columns, by: Columns): Columns =>
    by.map((change, index) => change.map((value, place) => side[index]![place]! + value));
  return { left: moved(before.left, delta.left), right: moved(before.right, delta.right) };
}

function scaled({ left, right }: ThinFactors, factor: number): ThinFactors {
  return { left: factor === 1 ? left : left.map((values) => values.map((value) => factor * value)), right };
}

function difference(one: ThinFactors, other: ThinFactors): ThinFactors {
  const minus = (left: Columns, right: Columns): Columns =>
    left.map((values, index) => values.map((value, place) => value - right[index]![place]!));
  return { left: minus(one.left, other.left), right: minus(one.right, other.right) };
}

function sliceOf({ left, right }: ThinFactors, from: number, to: number): ThinFactors {
  return { left: left.slice(from, to), right: right.slice(from, to) };
}

/** Sum of several thin matrices; columns of 0 are left out. */
function joined(...parts: readonly ThinFactors[]): ThinFactors {
  const kept = parts.flatMap(({ left, right }) =>
    left.map((values, index) => ({ left: values, right: right[index]! })),
  );
  const nonZero = kept.filter(({ left, right }) => dot(left, left) > 0 && dot(right, right) > 0);
  return { left: nonZero.map(({ left }) => left), right: nonZero.map(({ right }) => right) };
}

/** Cuts M to the published rank and makes it the next pair: B = U Σ, A = Vᵀ. */
function publish(whole: ThinFactors, pair: ExchangedPair, { start, next }: CombineOptions): PairMeasure {
  const { published, trained } = pair;
  const { factors, measure } = cutTo(whole, published.rank);
  // A trained rank without a singular value keeps its row of A: with both factors 0 it could never be trained again.
  const idle = factorsOf(start, published, 0, trained.rank).right;
  writeFactors(next, published, { factors, from: 0, idle });
  return measure;
}

/** Puts new ranks behind those in use from `from` on; where they do not fit, all of them are cut to what fits. */
function append(
  added: ThinFactors,
  { pair, from }: { readonly pair: ExchangedPair; readonly from: number },
  { start, next }: CombineOptions,
): PairMeasure {
  const { published } = pair;
  const whole = joined(factorsOf(start, published, from, published.rank), added);
  const room = published.rank - from;
  const { factors, measure } = whole.left.length <= room ? { factors: whole, measure: {} } : cutTo(whole, room);
  writeFactors(next, published, { factors, from, idle: [] });
  return { ...measure, rank: from + factors.left.length };
}

function cutTo(whole: ThinFactors, rank: number): { readonly factors: ThinFactors; readonly measure: PairMeasure } {
  const { values, left, right } = decomposeThin(whole);
  const squares = (some: readonly number[]): number => some.reduce((sum, value) => sum + value * value, 0);
  return {
    factors: {
      left: left.slice(0, rank).map((unit, index) => unit.map((value) => value * values[index]!)),
      right: right.slice(0, rank),
    },
    measure: {
      cut: { missed: squares(values.slice(rank)), whole: squares(values) },
      rank: Math.min(rank, values.length),
    },
  };
}

/** Writes factors as ranks `from` and following, and clears those behind them. */
function writeFactors(
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

/**
 * What factor averaging misses: Σ p B A − B̄ Ā = Σ p (B − B̄)(A − Ā), whose norm comes from inner products of the thin factors, beside the norm
 * of Σ p B A.
 */
function biasOf(
  pair: ExchangedPair,
  { singles, start, mean }: CombineOptions,
): { readonly missed: number; readonly whole: number } {
  const before = factorsOf(start, pair.published, 0, pair.published.rank);
  const average = movedFactors(pair, before, mean);
  const clients = singles.map(({ share, values }) => ({ share, factors: movedFactors(pair, before, values) }));
  const missed = joined(...clients.map(({ share, factors }) => scaled(difference(factors, average), share)));
  const whole = joined(...clients.map(({ share, factors }) => scaled(factors, share)));
  return { missed: frobeniusNorm(missed) ** 2, whole: frobeniusNorm(whole) ** 2 };
}

/** A mean of dense changes as thin factors: its columns span at most (clients + 1) r ranks, which random combinations of them find. */
function denseFactors(
  { name, trained, uploaded }: ExchangedPair,
  { mean, clientCount, roundHash }: CombineOptions,
): ThinFactors {
  const { inSize, outSize, rank } = trained;
  const { offset } = uploaded[0]!;
  const row = (index: number): Float64Array => mean.subarray(offset + index * inSize, offset + (index + 1) * inSize);
  const rows = Array.from({ length: outSize }, (_, index) => row(index));
  const width = (clientCount + 1) * rank;
  if (width >= outSize || width >= inSize) {
    const units = rows.map((_, index) => column(outSize, (place) => (place === index ? 1 : 0)));
    return { left: units, right: rows };
  }
  const signs = sketchSigns({ roundHash, pairName: name, side: 'outer' }, width, inSize);
  const range = Array.from({ length: width }, (_, index) => {
    const combination = signs.subarray(index * inSize, (index + 1) * inSize);
    return Float64Array.from(rows, (values) => dot(values, combination));
  });
  const { q } = thinQr(range);
  const right = q.map((unit) => {
    const sum = new Float64Array(inSize);
    for (const [index, values] of rows.entries()) addColumn(sum, values, unit[index]!);
    return sum;
  });
  return { left: q, right };
}

/** The change D from its mean sketches Y = D Ω and Z = Ψᵀ D: with Y = Q R, D = Q X for the X that makes Ψᵀ Q X = Z (Tropp 2017, algorithm 4). */
function recovered(
  { name, trained, uploaded }: ExchangedPair,
  { mean, roundHash }: CombineOptions,
): PairMeasure & { readonly change: ThinFactors } {
  const { inSize, outSize } = trained;
  const [left, right] = uploaded;
  assert(left !== undefined && right !== undefined, 'both sketches were uploaded');
  const [outer, inner] = [left.shape[1]!, right.shape[0]!];
  const y = Array.from({ length: outer }, (_, index) =>
    column(outSize, (row) => mean[left.offset + row * outer + index]!),
  );
  const { q } = thinQr(y);
  const psi = sketchSigns({ roundHash, pairName: name, side: 'inner' }, outSize, inner);
  const psiQ = q.map((unit) => {
    const sum = new Float64Array(inner);
    for (let row = 0; row < outSize; row++) addColumn(sum, psi.subarray(row * inner, (row + 1) * inner), unit[row]!);
    return sum;
  });
  const z = Array.from({ length: inSize }, (_, place) =>
    column(inner, (index) => mean[right.offset + index * inSize + place]!),
  );
  const x = q.length === 0 ? z.map(() => new Float64Array(0)) : leastSquares(psiQ, z);
  let [missed, whole] = [0, 0];
  for (const [place, found] of z.entries()) {
    const rest = found.slice();
    for (const [index, weight] of x[place]!.entries()) addColumn(rest, psiQ[index]!, -weight);
    missed += dot(rest, rest);
    whole += dot(found, found);
  }
  return {
    change: { left: q, right: q.map((_, index) => Float64Array.from(x, (weights) => weights[index]!)) },
    sketch: { missed, whole },
  };
}
