/** What one round of one low-rank pair is made of, and what is measured of it. */
import type { Digest } from '../../shared/core/ids.ts';
import type { Exchange } from '../../shared/update/exchange.ts';

/** One client's update as far as rules look at it. `share` is its weight over the sum of weights. */
export interface SingleUpdate {
  readonly share: number;
  /** `[uploaded dim]`. */
  readonly values: Float32Array;
}

/** What pairs are made of. */
export interface PairRound {
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
  readonly bias?: { readonly missed: number; readonly whole: number; readonly isExact: boolean };
  /** What a cut to the published rank left out, of the whole. */
  readonly cut?: { readonly missed: number; readonly whole: number };
  /** What a sketch cannot explain, of the sketch. */
  readonly sketch?: { readonly missed: number; readonly whole: number };
  /** Ranks in use. */
  readonly rank?: number;
}
