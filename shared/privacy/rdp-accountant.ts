/**
 * Rényi differential privacy (Mironov 2017) of the Gaussian mechanism, without and with Poisson sampling (Mironov, Talwar, Zhang 2019,
 * section 3.3), and the conversion to (ε, δ) of Canonne, Kamath, Steinke 2020, proposition 12. Every answer is an upper bound of the exact value.
 *
 * Notation: σ noiseMultiplier, q samplingRate, T stepCount, α order.
 */
import { assert } from '../core/assert.ts';

/** A mechanism that is applied again and again. */
export interface SampledGaussian {
  /** σ > 0, in multiples of the sensitivity. */
  readonly noiseMultiplier: number;
  /** q in (0, 1]: every record takes part by a coin of its own (Poisson), never by a shuffle. 1: everybody, always. */
  readonly samplingRate: number;
  /** T >= 1. */
  readonly stepCount: number;
}

/** The orders over which a conversion looks for the best: 1.1 to 10.9 in tenths, 12 to 63, and three large ones. */
const defaultOrders: readonly number[] = [
  ...Array.from({ length: 99 }, (_, index) => 1 + (index + 1) / 10),
  ...Array.from({ length: 52 }, (_, index) => 12 + index),
  128,
  256,
  512,
];

/** ln(e^left + e^right). */
export function logAdd(left: number, right: number): number {
  const [high, low] = left > right ? [left, right] : [right, left];
  return high === Number.NEGATIVE_INFINITY ? high : high + Math.log1p(Math.exp(low - high));
}

/** Rényi divergence of one step at `order` > 1. */
export function stepRdp({ noiseMultiplier, samplingRate }: Omit<SampledGaussian, 'stepCount'>, order: number): number {
  assert(noiseMultiplier > 0 && order > 1, 'noise is above zero, an order above one');
  assert(samplingRate > 0 && samplingRate <= 1, 'a sampling rate is above zero and at most one');
  if (samplingRate === 1) return order / (2 * noiseMultiplier ** 2);
  const logMoment = Number.isInteger(order)
    ? integerLogMoment(noiseMultiplier, samplingRate, order)
    : fractionalLogMoment(noiseMultiplier, samplingRate, order);
  return logMoment / (order - 1);
}

/** ln Σ_k binom(α, k) (1 − q)^(α − k) q^k e^((k² − k) / (2σ²)). */
function integerLogMoment(noiseMultiplier: number, samplingRate: number, order: number): number {
  let logBinomial = 0;
  let sum = Number.NEGATIVE_INFINITY;
  for (let index = 0; index <= order; index++) {
    const logTerm =
      logBinomial +
      (order - index) * Math.log1p(-samplingRate) +
      index * Math.log(samplingRate) +
      (index * index - index) / (2 * noiseMultiplier ** 2);
    sum = logAdd(sum, logTerm);
    logBinomial += Math.log((order - index) / (index + 1));
  }
  return sum;
}

/** Points of the quadrature in every deviation, or in the smaller width of the ratio's bend; its reach beyond the modes. Its error is below 1e-10. */
const [pointsPerWidth, deviations] = [12, 12];

/**
 * ln E_{z ~ N(0, σ²)}[((1 − q) + q e^((2z − 1) / (2σ²)))^α] by the trapezoidal rule, which converges faster than any power for a smooth
 * integrand that vanishes at both ends. The integrand has its weight between the modes 0 and α of its two extreme parts.
 */
function fractionalLogMoment(noiseMultiplier: number, samplingRate: number, order: number): number {
  const variance = noiseMultiplier ** 2;
  const [from, to] = [-deviations * noiseMultiplier, order + deviations * noiseMultiplier];
  const intervals = Math.ceil(((to - from) / Math.min(noiseMultiplier, variance)) * pointsPerWidth);
  const width = (to - from) / intervals;
  let sum = Number.NEGATIVE_INFINITY;
  for (let index = 0; index <= intervals; index++) {
    const z = from + index * width;
    const logRatio = logAdd(Math.log1p(-samplingRate), Math.log(samplingRate) + (2 * z - 1) / (2 * variance));
    sum = logAdd(sum, order * logRatio - (z * z) / (2 * variance));
  }
  return sum + Math.log(width) - 0.5 * Math.log(2 * Math.PI * variance);
}

/** An ε and the order that gave it. */
export interface RdpEpsilon {
  readonly epsilon: number;
  readonly order: number;
}

/** The smallest ε over `orders` that `dpDelta` in (0, 1) buys from Rényi divergences: ε = ρ + ln((α − 1)/α) − (ln δ + ln α)/(α − 1). */
export function epsilonOfRdp(
  rdpOf: (order: number) => number,
  dpDelta: number,
  orders: readonly number[] = defaultOrders,
): RdpEpsilon {
  assert(dpDelta > 0 && dpDelta < 1, 'delta is between zero and one');
  let best: RdpEpsilon = { epsilon: Number.POSITIVE_INFINITY, order: orders[0]! };
  for (const order of orders) {
    if (order <= 1) continue;
    const epsilon = rdpOf(order) + Math.log1p(-1 / order) - (Math.log(dpDelta) + Math.log(order)) / (order - 1);
    if (epsilon < best.epsilon) best = { epsilon, order };
  }
  return { ...best, epsilon: Math.max(0, best.epsilon) };
}

/** ε of all steps with `dpDelta`. */
export function rdpEpsilon(
  mechanism: SampledGaussian,
  dpDelta: number,
  orders: readonly number[] = defaultOrders,
): RdpEpsilon {
  return epsilonOfRdp((order) => mechanism.stepCount * stepRdp(mechanism, order), dpDelta, orders);
}

/** The least noise, to four decimals and rounded up, with which all steps stay within `epsilon` and `dpDelta`. */
export function noiseMultiplierFor(
  { samplingRate, stepCount }: Omit<SampledGaussian, 'noiseMultiplier'>,
  { epsilon, dpDelta }: { readonly epsilon: number; readonly dpDelta: number },
): number {
  assert(epsilon > 0, 'epsilon is above zero');
  const holds = (noiseMultiplier: number): boolean =>
    rdpEpsilon({ noiseMultiplier, samplingRate, stepCount }, dpDelta).epsilon <= epsilon;
  let [low, high] = [0, 1];
  while (!holds(high)) [low, high] = [high, 2 * high];
  while (high - low > 1e-6) {
    const middle = (low + high) / 2;
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return Math.ceil(high * 1e4) / 1e4;
}
