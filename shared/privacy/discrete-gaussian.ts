/**
 * The discrete Gaussian N_Z(0, σ²), P[x] ∝ e^(−x²/(2σ²)) over the integers, sampled exactly (Canonne, Kamath, Steinke 2020, algorithms 1 to 3).
 * Added to integers with L2 sensitivity Δ it costs at most what the Gaussian costs: Rényi divergence α Δ²/(2σ²) (their theorem 4).
 */
import { assert } from '../core/assert.ts';
import { exponentialCoin, type RandomIntegers, unitCoin } from './random-integers.ts';

/** Largest deviation: its square is exact in double precision. */
const deviationMax = 2 ** 26;

/** Discrete Laplace, P[x] ∝ e^(−|x|/scale), for a whole scale from 1 on (algorithm 2). */
export function discreteLaplace(random: RandomIntegers, scale: number): number {
  assert(Number.isSafeInteger(scale) && scale >= 1, 'the scale is a whole number above 0');
  for (;;) {
    const rest = random.below(scale);
    if (!exponentialCoin(random, rest / scale, () => [BigInt(rest), BigInt(scale)])) continue;
    let times = 0;
    while (unitCoin(random)) times++;
    const size = rest + scale * times;
    const isNegative = (random.word() & 1) === 1;
    // Zero has one sign, else it would come twice as often.
    if (size === 0 && isNegative) continue;
    return isNegative ? -size : size;
  }
}

/** A deviation that {@link discreteGaussian} samples: whole from 64 on, in 1/1024 below; never smaller than `deviation`. */
export function sampledDeviation(deviation: number): number {
  assert(deviation > 0 && deviation <= deviationMax, `a deviation is above 0 and at most 2^26, found ${deviation}`);
  return deviation >= 64 ? Math.ceil(deviation) : Math.ceil(deviation * 1024) / 1024;
}

/** A sampler of N_Z(0, σ²) for a σ of {@link sampledDeviation}. Cost of a draw: a few dozen random words. */
export function discreteGaussian(random: RandomIntegers, deviation: number): () => number {
  assert(sampledDeviation(deviation) === deviation, 'a deviation is one that can be sampled');
  const scale = Math.floor(deviation) + 1;
  // σ² = numerator / 2^20.
  const numerator = BigInt(deviation * 1024) ** 2n;
  const unit = 2n ** 20n;
  const variance = deviation * deviation;
  return () => {
    for (;;) {
      const drawn = discreteLaplace(random, scale);
      const size = Math.abs(drawn);
      // (|y| − σ²/t)² / (2σ²)
      const exact = (): readonly [bigint, bigint] => {
        const whole = BigInt(size) * unit * BigInt(scale) - numerator;
        return [whole * whole, 2n * numerator * unit * BigInt(scale) ** 2n];
      };
      const near = (size - variance / scale) ** 2 / (2 * variance);
      if (exponentialCoin(random, near, exact)) return drawn;
    }
  };
}
