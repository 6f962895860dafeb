/**
 * What hostile clients send (security specification, section 4.2). They know the updates of all honest clients, which is the strongest case; every
 * one of them sends the same vector, unless noise is the attack.
 *
 * Baruch 2019 (ALIE), Xie 2019 (IPM), Shejwalkar 2021 (Min-Max, Min-Sum), Bagdasaryan 2020 (model replacement).
 */
import type { SeededRandom } from '../../shared/core/random.ts';

/** What hostile clients know. */
export interface AttackInput {
  /** Updates of the honest clients, `[dim]` each. */
  readonly honest: readonly Float64Array[];
  /** What a client whose labels are flipped would send. */
  readonly flipped: Float64Array;
  readonly hostileCount: number;
  readonly random: SeededRandom;
}

/** What the hostile clients send, one vector each. */
export type Attack = (input: AttackInput) => Float64Array[];

/** The same vector from all. */
const together =
  (make: (input: AttackInput) => Float64Array): Attack =>
  (input) => {
    const vector = make(input);
    return Array.from({ length: input.hostileCount }, () => vector);
  };

function momentsOf(honest: readonly Float64Array[]): { readonly mean: Float64Array; readonly deviation: Float64Array } {
  const mean = honest[0]!.map((_, index) => honest.reduce((sum, one) => sum + one[index]!, 0) / honest.length);
  const deviation = mean.map((centre, index) =>
    Math.sqrt(honest.reduce((sum, one) => sum + (one[index]! - centre) ** 2, 0) / honest.length),
  );
  return { mean, deviation };
}

const distance2 = (left: Float64Array, right: Float64Array): number =>
  left.reduce((sum, value, index) => sum + (value - right[index]!) ** 2, 0);

type Direction = (moments: ReturnType<typeof momentsOf>) => Float64Array;

/** The directions p of Min-Max and Min-Sum. */
const directions = {
  deviation: ({ deviation }) => deviation.map((value) => -value),
  unit: ({ mean }) => {
    const norm = Math.hypot(...mean);
    return mean.map((value) => -value / norm);
  },
  sign: ({ mean }) => mean.map((value) => -Math.sign(value)),
} as const satisfies Record<string, Direction>;

/** μ + γ p with the largest γ that `holds` allows, by bisection. */
function farthest(
  honest: readonly Float64Array[],
  direction: Direction,
  holds: (candidate: Float64Array) => boolean,
): Float64Array {
  const moments = momentsOf(honest);
  const p = direction(moments);
  const at = (gamma: number): Float64Array => moments.mean.map((centre, index) => centre + gamma * p[index]!);
  let [low, high] = [0, 1];
  while (holds(at(high)) && high < 2 ** 20) high *= 2;
  for (let step = 0; step < 30; step++) {
    const middle = (low + high) / 2;
    if (holds(at(middle))) low = middle;
    else high = middle;
  }
  return at(low);
}

/** z for which Φ(z) = p, by bisection of the logistic approximation's bracket. */
function normalQuantile(p: number): number {
  const cdf = (x: number): number => {
    // Series of Φ around 0: enough for the |z| < 3 of any real cohort.
    let [term, sum] = [x, x];
    for (let index = 1; index < 60; index++) {
      term *= (x * x) / (2 * index + 1);
      sum += term;
    }
    return 0.5 + (sum * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
  };
  let [low, high] = [-5, 5];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (cdf(middle) < p) low = middle;
    else high = middle;
  }
  return low;
}

/** No farther from any honest update than these are from each other. */
const minMax = (direction: Direction): Attack =>
  together(({ honest }) => {
    const most = Math.max(...honest.flatMap((left) => honest.map((right) => distance2(left, right))));
    return farthest(honest, direction, (candidate) => honest.every((one) => distance2(candidate, one) <= most));
  });

/** No farther from all honest updates together than one of them is from the others. */
const minSum = (direction: Direction): Attack =>
  together(({ honest }) => {
    const sumFrom = (vector: Float64Array): number => honest.reduce((sum, one) => sum + distance2(vector, one), 0);
    const most = Math.max(...honest.map(sumFrom));
    return farthest(honest, direction, (candidate) => sumFrom(candidate) <= most);
  });

/** A little is enough: the mean moved by as many deviations as still have honest supporters. */
const alie = (side: 1 | -1): Attack =>
  together(({ honest, hostileCount }) => {
    const count = honest.length + hostileCount;
    const supporters = Math.floor(count / 2 + 1) - hostileCount;
    const z = normalQuantile((count - hostileCount - supporters) / (count - hostileCount));
    const { mean, deviation } = momentsOf(honest);
    return mean.map((centre, index) => centre + side * z * deviation[index]!);
  });

const gaussian =
  (scale: number): Attack =>
  ({ honest, hostileCount, random }) =>
    Array.from({ length: hostileCount }, () => honest[0]!.map(() => scale * random.normal()));

/** Of the mean of the honest, a multiple. */
const ofMean = (factor: number): Attack =>
  together(({ honest }) => momentsOf(honest).mean.map((value) => factor * value));

const everywhere = (value: number): Attack => together(({ honest }) => honest[0]!.map(() => value));

/** The attacks by name. Those of `gatedAttacks` have an acceptance number; the others are reported. */
export const attacks = {
  'sign-flip-1': ofMean(-1),
  'sign-flip-4': ofMean(-4),
  'sign-flip-10': ofMean(-10),
  'gaussian-10': gaussian(10),
  'gaussian-100': gaussian(100),
  'gaussian-200': gaussian(200),
  zero: everywhere(0),
  'same-value': everywhere(1),
  'not-a-number': everywhere(Number.NaN),
  infinite: everywhere(Number.POSITIVE_INFINITY),
  'label-flip': together(({ flipped }) => flipped),
  'scaling-100': together(({ flipped }) => flipped.map((value) => 100 * value)),
  'ipm-0.5': ofMean(-0.5),
  'ipm-0.1': ofMean(-0.1),
  'ipm-10': ofMean(-10),
  alie: alie(-1),
  'alie-plus': alie(1),
  'min-max': minMax(directions.deviation),
  'min-max-unit': minMax(directions.unit),
  'min-max-sign': minMax(directions.sign),
  'min-sum': minSum(directions.deviation),
  'min-sum-unit': minSum(directions.unit),
  'min-sum-sign': minSum(directions.sign),
} as const satisfies Record<string, Attack>;

/** The name of an attack. */
export type AttackName = keyof typeof attacks;

/** Attacks under which accuracy may fall by at most five points. */
export const gatedAttacks: readonly AttackName[] = ['sign-flip-10', 'gaussian-100', 'scaling-100', 'ipm-0.5'];

/**
 * Model replacement (Bagdasaryan 2020, equation 3): a trained change so much longer that the mean over all clients is the change itself, whatever the
 * honest send beside it.
 */
export function replacement(
  poisoned: ArrayLike<number>,
  { clientCount, hostileCount }: { readonly clientCount: number; readonly hostileCount: number },
): Float64Array {
  return Float64Array.from(poisoned, (value) => (value * clientCount) / hostileCount);
}
