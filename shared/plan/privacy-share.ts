/**
 * What a round number costs in a plan of phases. Phases differ in the length of their vectors, in their clip norms, in how sites draw records; which
 * of them had a number, a rollback may change. So every number costs the same, whatever phase has it: as much as one Gaussian mechanism of
 * noise multiplier z (Mironov 2017: ρ(α) = α / (2z²)), where z is the least with which all numbers stay within the budget. Every phase takes the
 * least noise of its own whose Rényi curve lies nowhere above that, and the sum over any numbers of any phases is bounded by the numbers alone.
 */
import { epsilonOfRdp } from '../privacy/rdp-accountant.ts';
import { leastNoise } from '../privacy/sizing.ts';
import { wholeOrders } from '../privacy/skellam-accountant.ts';
import { roundNumbersOf } from './phases.ts';
import type { SpendingPlan } from './privacy.ts';

/** The cost of one round number, and orders over which it is converted. */
export interface NumberShare {
  /** z. */
  readonly gaussian: number;
  /** The order that decides after all numbers of the plan: sampled mechanisms, whose curves bend upwards, are held to the share up to it. */
  readonly lastOrder: number;
  /** ε after so many numbers, of curves that are under the share at all whole orders. */
  epsilonAfter(numberCount: number): number;
  /** The same for curves that are under it up to `lastOrder`. */
  epsilonAfterSampled(numberCount: number): number;
}

/** What a number of `plan` costs; null where no noise is enough for its budget. */
export function numberShareOf(plan: Pick<SpendingPlan, 'privacy' | 'rounds' | 'phases'>): NumberShare | null {
  const { epsilon, dpDelta, noiseMultiplier: given } = plan.privacy;
  const numbers = roundNumbersOf(plan);
  const after = (gaussian: number, count: number, orders: readonly number[] = wholeOrders) =>
    epsilonOfRdp((order) => (count * order) / (2 * gaussian ** 2), dpDelta, orders);
  const gaussian = given ?? leastNoise((noise) => after(noise, numbers).epsilon, epsilon);
  if (gaussian === null) return null;
  const { order: lastOrder } = after(gaussian, numbers);
  const sampledOrders = wholeOrders.filter((order) => order <= lastOrder);
  return {
    gaussian,
    lastOrder,
    epsilonAfter: (count) => (count === 0 ? 0 : after(gaussian, count).epsilon),
    epsilonAfterSampled: (count) => (count === 0 ? 0 : after(gaussian, count, sampledOrders).epsilon),
  };
}

/**
 * The least noise whose curve is nowhere above the share of a number; null when none is. A curve is null where the noise cannot be made.
 * @param orderMax orders up to which it is held to the share; all by default.
 */
export function noiseWithinShare(
  { gaussian }: Pick<NumberShare, 'gaussian'>,
  curveOf: (noiseMultiplier: number) => ((order: number) => number) | null,
  orderMax = Number.POSITIVE_INFINITY,
): number | null {
  const orders = wholeOrders.filter((order) => order <= orderMax);
  return leastNoise((noise) => {
    const curve = curveOf(noise);
    if (curve === null) return Number.POSITIVE_INFINITY;
    return Math.max(...orders.map((order) => (curve(order) * 2 * gaussian ** 2) / order));
  }, 1);
}
