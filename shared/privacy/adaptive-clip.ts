/**
 * A clip norm that follows a quantile of the norms of updates (Andrew 2021, algorithm 1): C ← C e^(−η (b̃ − γ)), where b̃ is the noisy share of
 * clients whose update was not longer than C. The share costs privacy too, of which a little is taken from the noise of the update:
 * z_Δ = (z^−2 − (2 σ_b)^−2)^(−1/2), so that both together cost what one Gaussian of multiplier z costs.
 */
import { assert } from '../core/assert.ts';
import { discreteGaussian, sampledDeviation } from './discrete-gaussian.ts';
import type { RandomIntegers } from './random-integers.ts';

/** How the norm follows. */
export interface AdaptiveClip {
  /** γ in (0, 1): share of clients whose updates are to stay as they are. */
  readonly quantile: number;
  /** η > 0. */
  readonly learningRate: number;
}

/** Clip norms stay between these. */
const [normMin, normMax] = [1e-4, 1e3];

/** Units of the indicator's grid: b − ½ in 1/2048, so that small noise has a grid, too. */
const indicatorUnit = 1024;

/** σ_b of a cohort: a twentieth of it, but never so little that nothing is left for the update. */
export function indicatorNoise(clientCount: number, noiseMultiplier: number): number {
  return Math.max(clientCount / 20, noiseMultiplier);
}

/** z_Δ for a whole noise z and the deviation σ_b of the count of indicators. */
export function updateNoise(noiseMultiplier: number, indicatorDeviation: number): number {
  const left = noiseMultiplier ** -2 - (2 * indicatorDeviation) ** -2;
  assert(left > 0, 'the noise of the indicators is above half of the noise multiplier');
  return left ** -0.5;
}

/** C of the next round from the noisy count Σ (b − ½) of `clientCount` indicators. */
export function clipNormFrom(
  {
    clipNorm,
    noisyCount,
    clientCount,
  }: { readonly clipNorm: number; readonly noisyCount: number; readonly clientCount: number },
  { quantile, learningRate }: AdaptiveClip,
): number {
  assert(clientCount >= 1, 'a share of some clients');
  const share = noisyCount / clientCount + 0.5;
  return Math.min(normMax, Math.max(normMin, clipNorm * Math.exp(-learningRate * (share - quantile))));
}

/** Whether a clip norm is one that {@link clipNormFrom} gives. */
export function isClipNorm(clipNorm: number): boolean {
  return clipNorm >= normMin && clipNorm <= normMax;
}

/** C of the next round. `withinCount` of `clientCount` updates were not longer than `clipNorm`. */
export function nextClipNorm(
  {
    clipNorm,
    withinCount,
    clientCount,
  }: { readonly clipNorm: number; readonly withinCount: number; readonly clientCount: number },
  settings: AdaptiveClip,
  { deviation, random }: { readonly deviation: number; readonly random: RandomIntegers },
): number {
  assert(withinCount >= 0 && withinCount <= clientCount && clientCount >= 1, 'a share of some clients');
  // Σ (b − ½): one client changes it by ½, which is `indicatorUnit` / 2 on the grid.
  const count = (withinCount - clientCount / 2) * indicatorUnit;
  const noise = discreteGaussian(random, sampledDeviation(deviation * indicatorUnit))();
  return clipNormFrom({ clipNorm, noisyCount: (count + noise) / indicatorUnit, clientCount }, settings);
}
