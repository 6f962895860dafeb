/**
 * Noise that clients add to what they put into a masked sum, so that nobody, the coordinator included, sees the sum without it (security
 * specification, section 3.4; Agarwal, Kairouz, Liu 2021): clip, rotate, scale, round at random until the norm is within its bound, add Skellam
 * noise. The sum of Skellam noise is Skellam noise: what vanished clients do not bring only lessens the variance, which is sized for the fewest
 * honest clients among whom a sum can open, n_h = t − m.
 *
 * Every client counts the same. It does not protect against clients that add no noise beyond the m that n_h allows for.
 */
import { assert } from '../core/assert.ts';
import type { Digest } from '../core/ids.ts';
import type { KeyStream } from '../crypto/key-stream.ts';
import { type Encoded, weightBits } from '../secure-aggregation/quantise.ts';
import { type RingBits, type RingVector, signedOf, zeroVector } from '../secure-aggregation/ring.ts';
import { type Profile, thresholdsOf } from '../secure-aggregation/threshold.ts';
import { indicatorNoise } from './adaptive-clip.ts';
import { skellam } from './poisson.ts';
import { type RandomIntegers, randomIntegers } from './random-integers.ts';
import { rotate, rotateBack, rotatedSize } from './rotation.ts';
import { roundedSensitivity, type Sensitivity } from './skellam-accountant.ts';

/** What a plan says of distributed noise. */
export interface DistributedSettings {
  readonly ringBits: RingBits;
  readonly dim: number;
  /** C > 0. */
  readonly clipNorm: number;
  /** Noise of the whole sum at worst, in multiples of C; > 0. */
  readonly noiseMultiplier: number;
  /** Fewest and most clients on a roster. */
  readonly clientCountMin: number;
  readonly clientCountMax: number;
  readonly profile: Profile;
}

/** What follows from the settings, the same on both sides. */
export interface DistributedTerms {
  readonly ringBits: RingBits;
  readonly clipNorm: number;
  /** f. */
  readonly fracBits: number;
  /** Mean of each of the two Poisson numbers that one client subtracts from each other. */
  readonly halfVariance: number;
  readonly sensitivity: Sensitivity;
  /** Variance that the sum has at least, in units of the grid: what is accounted for. */
  readonly varianceMin: number;
}

/** Fewest honest clients whose noise is in a sum that opens: t − m, over all sizes of the roster. */
export function honestCountMin({
  clientCountMin,
  clientCountMax,
  profile,
}: Pick<DistributedSettings, 'clientCountMin' | 'clientCountMax' | 'profile'>): number {
  let least = Number.POSITIVE_INFINITY;
  for (let count = clientCountMin; count <= clientCountMax; count++) {
    const { shares, colludersMax } = thresholdsOf(count, profile);
    least = Math.min(least, Math.max(shares, clientCountMin) - Math.min(colludersMax, shares - 1));
  }
  return Math.max(1, least);
}

/** Units of the count of updates within an adaptive clip norm: b − ½ in 1/2048, so that small noise has a grid, too. */
export const indicatorUnit = 1024;

/** Noise of the count of updates that are not longer than an adaptive clip norm. */
export interface IndicatorTerms {
  /** Mean of each of the two Poisson numbers that one client subtracts from each other. */
  readonly halfVariance: number;
  /** Variance that the count has at least, in squared units. */
  readonly varianceMin: number;
}

/** The terms of the indicators beside an update: one client changes their count by half a unit's {@link indicatorUnit}. */
export function indicatorTermsOf(
  settings: Pick<DistributedSettings, 'clientCountMin' | 'clientCountMax' | 'profile' | 'noiseMultiplier'>,
): IndicatorTerms {
  const honest = honestCountMin(settings);
  const deviation = indicatorUnit * indicatorNoise(settings.clientCountMin, settings.noiseMultiplier);
  const halfVariance = Math.ceil(deviation ** 2 / (2 * honest));
  return { halfVariance, varianceMin: 2 * halfVariance * honest };
}

/** Deviations for which the ring has room, of noise and, in a narrow ring, of rotated values (k of the modulus choice). */
const roomDeviations = { wide: 8, narrow: 4 } as const;
/** Largest half variance: samplers are exact far beyond it, and a finer grid changes nothing. */
const halfVarianceMax = 2 ** 44;
/** Finest grid: beyond it a float32 delta has no digits left. */
const fracBitsMost = 26;

/** The terms of the finest grid that fits the ring; null where not even whole numbers do. */
export function distributedTerms(settings: DistributedSettings): DistributedTerms | null {
  for (let fracBits = fracBitsMost; fracBits >= 0; fracBits--) {
    const terms = distributedTermsAt(settings, fracBits);
    if (terms.halfVariance <= halfVarianceMax && fits(settings, terms)) return terms;
  }
  return null;
}

/** The terms of a given grid. */
export function distributedTermsAt(settings: DistributedSettings, fracBits: number): DistributedTerms {
  const { ringBits, dim, clipNorm, noiseMultiplier } = settings;
  assert(clipNorm > 0 && noiseMultiplier > 0, 'clipping and noise are above 0');
  const scaledNorm = clipNorm * 2 ** fracBits;
  const honest = honestCountMin(settings);
  // Rounded up: a little more noise than asked for.
  const halfVariance = Math.ceil((noiseMultiplier * scaledNorm) ** 2 / (2 * honest));
  const sensitivity = roundedSensitivity(scaledNorm, dim);
  return { ringBits, clipNorm, fracBits, halfVariance, sensitivity, varianceMin: 2 * halfVariance * honest };
}

function fits({ dim, clientCountMax }: DistributedSettings, terms: DistributedTerms): boolean {
  const { ringBits, sensitivity, halfVariance } = terms;
  const reach = 2 ** (ringBits - 1) - 1;
  const variance = 2 * halfVariance * clientCountMax;
  // No coordinate is larger than the norm; that much room needs no assumption about the rotation.
  if (ringBits === 32) return clientCountMax * sensitivity.l2 + roomDeviations.wide * Math.sqrt(variance) <= reach;
  const spread = (sensitivity.l2 * clientCountMax) ** 2 / rotatedSize(dim) + clientCountMax / 4 + variance;
  return roomDeviations.narrow * Math.sqrt(spread) <= reach;
}

/**
 * A delta `[dim]` float32, finite, as it goes into the masked sum. `rotation` is public and the same for all; `secret` delivers rounding and noise,
 * the same for a repeated attempt of a round, so that it says nothing new (amendment 3).
 */
export function encodePrivately(
  delta: Float32Array,
  terms: DistributedTerms,
  { rotation, secret }: { readonly rotation: Digest; readonly secret: KeyStream },
): Encoded {
  const { ringBits, clipNorm, fracBits, halfVariance, sensitivity } = terms;
  const values = Float64Array.from(delta);
  const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  assert(Number.isFinite(norm), 'only a finite delta is encoded');
  rotate(values, rotation);
  // A hair shorter, for what the rotation rounds.
  const shrink = Math.min(1, clipNorm / norm) * (1 - 2 ** -40) * 2 ** fracBits;
  for (let index = 0; index < values.length; index++) values[index]! *= shrink;
  const random = randomIntegers(secret);
  const rounded = roundWithin(values, sensitivity.l2, random);
  const draw = skellam(random, halfVariance);
  const vector = zeroVector(ringBits, delta.length);
  const signed = signedOf(vector);
  for (let index = 0; index < rounded.length; index++) signed[index] = rounded[index]! + draw();
  values.fill(0);
  rounded.fill(0);
  return { vector, weightWord: 2 ** weightBits, norm, clampedCount: 0 };
}

/** Stochastic rounding, drawn again until the norm is at most `normMax`, as it is at a draw with probability 1 − e^−½ or more. */
function roundWithin(values: Float64Array, normMax: number, random: RandomIntegers): Float64Array {
  const rounded = new Float64Array(values.length);
  for (;;) {
    let squares = 0;
    for (let index = 0; index < values.length; index++) {
      const floor = Math.floor(values[index]!);
      rounded[index] = floor + (random.word() < (values[index]! - floor) * 2 ** 32 ? 1 : 0);
      squares += rounded[index]! ** 2;
    }
    if (squares <= normMax ** 2) return rounded;
  }
}

/** The mean delta `[dim]` of an opened sum of `clientCount` clients. */
export function decodePrivately(
  sum: RingVector,
  { fracBits }: Pick<DistributedTerms, 'fracBits'>,
  { rotation, clientCount }: { readonly rotation: Digest; readonly clientCount: number },
): Float64Array {
  assert(clientCount >= 1, 'a sum has a client');
  const mean = Float64Array.from(signedOf(sum), (value) => (value * 2 ** -fracBits) / clientCount);
  rotateBack(mean, rotation);
  return mean;
}
