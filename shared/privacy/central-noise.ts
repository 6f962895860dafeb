/**
 * Noise that the coordinator adds to the sum of clipped updates before anything of it is published: discrete Gaussian on the grid 2^−f, from
 * integers alone (security specification, amendment 9). It protects against everybody who sees versions, and trusts the coordinator, which
 * sees the sum without it.
 *
 * Neighbours: the same clients take part, one of them with nothing. Who takes part is public.
 */
import { assert } from '../core/assert.ts';
import { discreteGaussian, sampledDeviation } from './discrete-gaussian.ts';
import type { RandomIntegers } from './random-integers.ts';

/** Largest deviation in units of the grid: sums of integers stay far below 2^53, and sampling is exact. */
const deviationMax = 2 ** 26;

/** The grid of a clip norm and a noise. */
export interface CentralTerms {
  readonly clipNorm: number;
  /** f; the grid is 2^−f. */
  readonly fracBits: number;
  /** Deviation of the noise in units of the grid: at least `noiseMultiplier` times what one client can change, rounding included. */
  readonly deviation: number;
}

/** The finest grid for updates `[dim]`. One client changes the sum of rounded updates by at most C 2^f + √d/2. */
export function centralTerms({
  clipNorm,
  noiseMultiplier,
  dim,
}: {
  readonly clipNorm: number;
  readonly noiseMultiplier: number;
  readonly dim: number;
}): CentralTerms {
  assert(clipNorm > 0 && noiseMultiplier > 0 && dim >= 1, 'clipping and noise are above 0');
  const rounding = Math.sqrt(dim) / 2;
  const room = deviationMax / 2 / noiseMultiplier - rounding;
  assert(room > 0, 'a noise multiplier leaves room for updates');
  const fracBits = Math.floor(Math.log2(room / clipNorm));
  const deviation = sampledDeviation(noiseMultiplier * (clipNorm * 2 ** fracBits + rounding));
  return { clipNorm, fracBits, deviation };
}

/** Factor that brings an update of this norm to the clip norm, a hair below for what multiplication rounds. */
export function clipFactor(norm: number, clipNorm: number): number {
  return norm > clipNorm ? (clipNorm / norm) * (1 - 2 ** -40) : 1;
}

/** Adds a clipped part of an update to `sum` in place, in units of the grid. Both of one length; sums are whole numbers. */
export function addOnGrid(
  sum: Float64Array,
  part: ArrayLike<number>,
  factor: number,
  { fracBits }: Pick<CentralTerms, 'fracBits'>,
): void {
  const scale = factor * 2 ** fracBits;
  for (let index = 0; index < sum.length; index++) sum[index]! += Math.round(part[index]! * scale);
}

/** Adds the noise to a sum of `clientCount` updates and makes it their mean, in place. */
export function noisyMean(
  sum: Float64Array,
  { fracBits, deviation }: CentralTerms,
  { clientCount, random }: { readonly clientCount: number; readonly random: RandomIntegers },
): void {
  assert(clientCount >= 1, 'a sum has a client');
  const draw = discreteGaussian(random, deviation);
  for (let index = 0; index < sum.length; index++) sum[index] = ((sum[index]! + draw()) * 2 ** -fracBits) / clientCount;
}
