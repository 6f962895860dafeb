/**
 * Poisson numbers with a whole mean, exactly, and their difference, the Skellam distribution (Agarwal, Kairouz, Liu 2021).
 *
 * Small means: sums of Poisson(1), each from uniform integers alone (Duchon, Duvignau 2016, figure 1). Large means: m + y with y from a discrete
 * Laplace of scale ⌈√m⌉ is kept with probability r(y) e^(|y|/scale) / e^(7/10), where r(y) = P[m + y] / P[m]. With u = y/√m the logarithm of the
 * kept share is at most u − u²/(2 + 2u/(3√m)) − 7/10 above the mean and u − u²/2 + u/(2√m) − 7/10 below, negative for m >= 16. The comparison
 * with a uniform number is made in double precision with a proven margin, and within the margin in integers of any precision.
 */
import { assert } from '../core/assert.ts';
import { discreteLaplace } from './discrete-gaussian.ts';
import type { RandomIntegers } from './random-integers.ts';

/** Means below are sums of Poisson(1). */
const smallMean = 16;
/** Largest mean: |y| and m + y stay far below 2^53. */
const meanMax = 2 ** 46;
/** Deviations up to which, and totals below which, the ratio is a plain product. */
const plainFactors = 64;

/** Poisson with mean 1 from uniform integers. */
function poissonOfOne(random: RandomIntegers): number {
  let [size, guard, value] = [1, 0, 1];
  for (;;) {
    const drawn = random.below(size + 1) + 1;
    if (drawn === size + 1) value++;
    else if (drawn > guard) {
      value--;
      guard = size + 1;
    } else return value;
    size++;
  }
}

/** A sampler of Poisson with a whole `mean` from 0 to 2^46. */
export function poisson(random: RandomIntegers, mean: number): () => number {
  assert(Number.isSafeInteger(mean) && mean >= 0 && mean <= meanMax, `a mean is whole and at most 2^46, found ${mean}`);
  if (mean < smallMean) {
    return () => {
      let sum = 0;
      for (let index = 0; index < mean; index++) sum += poissonOfOne(random);
      return sum;
    };
  }
  const scale = Math.ceil(Math.sqrt(mean));
  return () => {
    for (;;) {
      const y = discreteLaplace(random, scale);
      if (y >= -mean && keeps(random, { mean, scale, y })) return mean + y;
    }
  };
}

/** A sampler of the difference of two Poisson numbers of mean `halfVariance`: mean 0, variance twice that. */
export function skellam(random: RandomIntegers, halfVariance: number): () => number {
  const draw = poisson(random, halfVariance);
  return () => draw() - draw();
}

interface Proposal {
  readonly mean: number;
  readonly scale: number;
  readonly y: number;
}

/** Whether a proposed deviation is kept: with probability r(y) e^(|y|/scale − 7/10), exactly. */
function keeps(random: RandomIntegers, proposal: Proposal): boolean {
  const { mean, scale, y } = proposal;
  const near = Math.exp(logRatio(mean, y) + Math.abs(y) / scale - 0.7);
  // Errors of the logarithm: a few units in the last place of terms up to |y|.
  const margin = (Math.abs(y) + 1024) * 2 ** -48;
  const high = random.below(2 ** 53);
  const uniform = high * 2 ** -53;
  if (uniform + 2 ** -52 < near - margin) return true;
  if (uniform > near + margin) return false;
  return keepsExactly(random, proposal, BigInt(high));
}

/** ln(P[m + y] / P[m]). */
function logRatio(mean: number, y: number): number {
  const total = mean + y;
  if (Math.abs(y) > plainFactors && total >= plainFactors)
    return y - (total + 0.5) * Math.log1p(y / mean) - stirling(total) + stirling(mean);
  let sum = 0;
  for (let index = 1; index <= y; index++) sum -= Math.log1p(index / mean);
  for (let index = 0; index < -y; index++) sum += Math.log1p(-index / mean);
  return sum;
}

/** ln n! − ln(√(2πn) (n/e)^n) for n >= 64, to 1e-17. */
function stirling(n: number): number {
  return 1 / (12 * n) - 1 / (360 * n ** 3) + 1 / (1260 * n ** 5);
}

/** The same decision in fixed point of as many bits as it takes; about once in 10^7 draws. `high` are the 53 first bits of the uniform number. */
function keepsExactly(random: RandomIntegers, { mean, scale, y }: Proposal, high: bigint): boolean {
  const size = Math.abs(y);
  let [drawn, drawnBits] = [high, 53n];
  for (let bits = 128n; ; bits *= 2n) {
    const one = 1n << bits;
    let ratio = one;
    for (let index = 1; index <= y; index++) ratio = (ratio * BigInt(mean)) / BigInt(mean + index);
    for (let index = 0; index < -y; index++) ratio = (ratio * BigInt(mean - index)) / BigInt(mean);
    // e^(|y|/scale) / e^(7/10) from the two series, all of whose terms are positive.
    const grown = exponential(BigInt(size), BigInt(scale), one);
    const value = (ratio * grown) / exponential(7n, 10n, one);
    // Every division loses less than a unit, every unit counts as often as the exponential is large.
    const error = BigInt(size + 4096) * (grown / one + 2n) + 4096n;
    for (; drawnBits < bits; drawnBits += 32n) drawn = (drawn << 32n) | BigInt(random.word());
    const shifted = (drawn << bits) >> drawnBits;
    if (shifted + 1n < value - error) return true;
    if (shifted > value + error) return false;
  }
}

/** e^(numerator/denominator) in units of 1/`one`, from below. */
function exponential(numerator: bigint, denominator: bigint, one: bigint): bigint {
  let [term, sum] = [one, one];
  for (let index = 1n; term > 0n; index++) {
    term = (term * numerator) / (denominator * index);
    sum += term;
  }
  return sum;
}
