/**
 * The exact privacy of Gaussian noise without sampling (Balle 2018, theorem 8): T releases of a sum with sensitivity 1 under noise of standard
 * deviation σ are as private as one with μ = √T / σ, and δ(ε) = Φ(−ε/μ + μ/2) − e^ε Φ(−ε/μ − μ/2).
 */
import { assert } from '../core/assert.ts';
import { logNormalCdf } from './normal.ts';

/** Noise of every release in multiples of the sensitivity, and the number of releases. */
export interface GaussianReleases {
  /** σ > 0. */
  readonly noiseMultiplier: number;
  /** T >= 1. */
  readonly releaseCount: number;
}

/** Smallest δ that holds at `epsilon` >= 0. */
export function gaussianDpDelta({ noiseMultiplier, releaseCount }: GaussianReleases, epsilon: number): number {
  assert(noiseMultiplier > 0 && releaseCount >= 1, 'noise is above zero, releases are at least one');
  const mu = Math.sqrt(releaseCount) / noiseMultiplier;
  const first = logNormalCdf(-epsilon / mu + mu / 2);
  const second = epsilon + logNormalCdf(-epsilon / mu - mu / 2);
  return second >= first ? 0 : Math.exp(first) * -Math.expm1(second - first);
}

/** Smallest ε that holds with `dpDelta` in (0, 1), from above: the answer is never below the exact value by more than a rounding. */
export function gaussianEpsilon(releases: GaussianReleases, dpDelta: number): number {
  assert(dpDelta > 0 && dpDelta < 1, 'delta is between zero and one');
  if (gaussianDpDelta(releases, 0) <= dpDelta) return 0;
  return smallest((epsilon) => gaussianDpDelta(releases, epsilon) <= dpDelta);
}

/** The smallest positive number for which `holds`, which holds from there on; the answer itself holds. */
export function smallest(holds: (value: number) => boolean): number {
  let high = 1;
  while (!holds(high)) {
    high *= 2;
    assert(high < 2 ** 60, 'something holds in the end');
  }
  let low = 0;
  for (let step = 0; step < 200 && high - low > 1e-15 * high; step++) {
    const middle = (low + high) / 2;
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}
