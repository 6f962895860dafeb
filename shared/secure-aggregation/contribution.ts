/**
 * What one client puts into a masked sum beside its delta, and what the opened sum says (security specification, section 2.5). The tail has a
 * word for the weight, two for the weighed training loss and one for the number of examples: only their sums become visible.
 */

import type { Digest } from '../core/ids.ts';
import type { KeyStream } from '../crypto/key-stream.ts';
import {
  type DistributedTerms,
  decodePrivately,
  encodePrivately,
  type IndicatorTerms,
  indicatorUnit,
} from '../privacy/distributed-noise.ts';
import { skellam } from '../privacy/poisson.ts';
import { randomIntegers } from '../privacy/random-integers.ts';
import type { MaskedVector } from './mask.ts';
import { decodeMean, type Encoding, encodeDelta, isReachable, weightBits } from './quantise.ts';

/** Words of the tail: weight, loss in two halves of 24 bits, examples. */
export const tailWords = 4;
/** Fractional bits of a loss, and the largest that counts. */
const loss = { bits: 36, max: 64 } as const;
const half = 2 ** 24;
/** Examples that one client can count: 128 of them stay below the width of a word. */
const exampleCountMax = 2 ** 24;

/** What a client contributes in clear; it never leaves it like this. */
export interface Contribution {
  /** `[dim]`, finite. */
  readonly values: Float32Array;
  /** >= 0. */
  readonly weight: number;
  readonly exampleCount: number;
  /** Mean training loss; what is not finite counts as the largest. */
  readonly meanLoss: number;
}

/** How contributions become integers: with noise of clients where a plan wants it, in which case nothing but the delta is said. */
export interface ContributionEncoding extends Encoding {
  readonly noise?: {
    readonly terms: DistributedTerms;
    readonly rotation: Digest;
    /** Where the clip norm follows the updates: that of this round, in multiples of the grid's, and noise for who is within it. */
    readonly adaptive?: { readonly scale: number; readonly indicator: IndicatorTerms };
  };
}

/** The vector that is masked. `rounding` as in {@link encodeDelta}; the noise comes from it, too. */
export function encodeContribution(
  { values, weight, exampleCount, meanLoss }: Contribution,
  encoding: ContributionEncoding,
  rounding: KeyStream,
): MaskedVector {
  if (encoding.noise !== undefined) {
    const { terms, rotation, adaptive } = encoding.noise;
    const scaled = adaptive === undefined ? values : values.map((value) => value / adaptive.scale);
    const { vector, weightWord, norm } = encodePrivately(scaled, terms, { rotation, secret: rounding });
    const within = adaptive === undefined ? 0 : noisyIndicator(norm <= terms.clipNorm, adaptive.indicator, rounding);
    if (scaled !== values) scaled.fill(0);
    return { coordinates: vector, tail: Uint32Array.of(weightWord, 0, 0, within) };
  }
  const { vector, weightWord } = encodeDelta(values, weight, encoding, rounding);
  const counted = Number.isFinite(meanLoss) ? Math.min(Math.max(meanLoss, 0), loss.max) : loss.max;
  const fixed = Math.round((weightWord / 2 ** weightBits) * counted * 2 ** loss.bits);
  const lossWords = [fixed % half, Math.floor(fixed / half)];
  const tail = Uint32Array.of(weightWord, ...lossWords, Math.min(exampleCount, exampleCountMax));
  return { coordinates: vector, tail };
}

/** b − ½ of one client with its noise, as a word in two's complement. */
function noisyIndicator(isWithin: boolean, { halfVariance }: IndicatorTerms, secret: KeyStream): number {
  const draw = skellam(randomIntegers(secret), halfVariance);
  return ((isWithin ? 1 : -1) * (indicatorUnit / 2) + draw()) >>> 0;
}

/** What an opened sum says. */
export interface OpenedContribution {
  /** Weighted mean delta `[dim]`. */
  readonly mean: Float64Array;
  /** In the unit of clients' weights. */
  readonly totalWeight: number;
  readonly exampleCount: number;
  /** Mean training loss, weighted as the deltas. */
  readonly meanLoss: number;
  /** Σ (b − ½) with noise, b = 1 where an update was not longer than an adaptive clip norm. */
  readonly noisyCount?: number;
}

/** Decodes the sum of `clientCount` contributions; null when it holds what no honest clients can reach, or no weight at all. */
export function decodeContributions(
  { coordinates, tail }: MaskedVector,
  encoding: ContributionEncoding,
  clientCount: number,
): OpenedContribution | null {
  if (encoding.noise !== undefined) {
    const { terms, rotation, adaptive } = encoding.noise;
    const says = [clientCount * 2 ** weightBits, 0, 0, ...(adaptive === undefined ? [0] : [])];
    if (!says.every((word, index) => tail[index] === word)) return null;
    const mean = decodePrivately(coordinates, terms, { rotation, clientCount });
    const opened = { mean, totalWeight: clientCount, exampleCount: 0, meanLoss: 0 };
    if (adaptive === undefined) return opened;
    for (let index = 0; index < mean.length; index++) mean[index]! *= adaptive.scale;
    // Two's complement: the count is below zero where most updates are longer.
    return { ...opened, noisyCount: (tail[3]! | 0) / indicatorUnit };
  }
  const [weightSum = 0, lossLow = 0, lossHigh = 0, exampleCount = 0] = tail;
  const lossSum = lossLow + half * lossHigh;
  const isSound =
    weightSum <= clientCount * 2 ** weightBits &&
    lossSum <= weightSum * loss.max * 2 ** (loss.bits - weightBits) + clientCount &&
    exampleCount <= clientCount * exampleCountMax &&
    isReachable(coordinates, encoding, clientCount);
  const mean = isSound ? decodeMean(coordinates, weightSum, encoding) : null;
  if (mean === null) return null;
  const share = weightSum / 2 ** weightBits;
  return { mean, totalWeight: share * encoding.weightMax, exampleCount, meanLoss: lossSum / 2 ** loss.bits / share };
}
