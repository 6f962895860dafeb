/**
 * Privacy loss distributions (Koskela 2020; Meiser 2018): the numerically exact accounting of the Poisson-sampled Gaussian mechanism. The loss
 * ln(P/Q) of one step is put on a grid from above, composed by convolution, and δ(ε) = Σ_{l > ε} (1 − e^(ε − l)) p(l) + p(∞). Whatever is
 * cut off counts as loss: mass above the grid as infinite, mass below as the grid's lowest; so answers are never below the exact value,
 * but for rounding in the convolution, which `roundingGuard` covers.
 */
import { assert } from '../core/assert.ts';
import { convolve } from './fourier.ts';
import { smallest } from './gaussian-accountant.ts';
import { normalCdf } from './normal.ts';
import { logAdd, type SampledGaussian } from './rdp-accountant.ts';

/** How two neighbouring sets differ: by one record more or less, or by one record replaced. */
export type Adjacency = 'add-remove' | 'replace';

/** A distribution of the loss on the grid `interval * (offset + index)`. */
interface LossDistribution {
  readonly offset: number;
  readonly mass: Float64Array;
  /** Mass at infinite loss. */
  readonly infinite: number;
}

/** Distance of the grid's points for T steps: T h² stays at 1e-3, of which less than a tenth is the error of ε. */
function intervalFor(stepCount: number): number {
  return Math.min(1e-3, Math.sqrt(1e-3 / stepCount));
}
/** Deviations beyond the means to which the grid of one step reaches; the mass beyond is below 1e-18. */
const reachDeviations = 9;
/** Mass that may be cut off at either end of one composition: far below any δ that is asked for. */
const cutMass = 1e-15;
/** Added to every δ: convolutions of unit mass in double precision are wrong by less. */
const roundingGuard = 1e-13;

/** A mixture of normal distributions with one deviation. */
type Mixture = readonly { readonly share: number; readonly mean: number }[];

/** Two neighbouring outputs P and Q of one step; the loss ln(P(x)/Q(x)) is monotone in x. */
interface Pair {
  readonly upper: Mixture;
  readonly lower: Mixture;
  readonly lossAt: (x: number) => number;
  /** The inverse of the loss; infinite where no place has this loss. */
  readonly placeOf: (loss: number) => number;
  readonly rises: boolean;
}

/** The dominating pairs of Poisson sampling with rate q (Koskela 2020, section 4; Zhu 2022, section 4). */
function pairsOf({ noiseMultiplier, samplingRate: q }: SampledGaussian, adjacency: Adjacency): readonly Pair[] {
  const variance = noiseMultiplier ** 2;
  const none: Mixture = [{ share: 1, mean: 0 }];
  const sampled = (mean: number): Mixture => [
    { share: 1 - q, mean: 0 },
    { share: q, mean },
  ];
  // ln((1 − q) + q e^((2x − 1) / (2σ²))), and where it has a value.
  const logRatio = (x: number): number => logAdd(Math.log1p(-q), Math.log(q) + (2 * x - 1) / (2 * variance));
  const placeOfRatio = (value: number): number => {
    const rest = Math.expm1(value) + q;
    return rest <= 0 ? Number.NEGATIVE_INFINITY : variance * Math.log(rest / q) + 0.5;
  };
  if (adjacency === 'add-remove') {
    return [
      { upper: sampled(1), lower: none, lossAt: logRatio, placeOf: placeOfRatio, rises: true },
      {
        upper: none,
        lower: sampled(1),
        lossAt: (x) => -logRatio(x),
        placeOf: (loss) => placeOfRatio(-loss),
        rises: false,
      },
    ];
  }
  // With t = e^(x/σ²) and c = e^(−1/(2σ²)) the ratio is L where q c t² + (1 − q)(1 − L) t − L q c = 0.
  const placeOf = (loss: number): number => {
    const [scale, ratio] = [q * Math.exp(-1 / (2 * variance)), Math.exp(loss)];
    const half = ((1 - q) * (1 - ratio)) / (2 * scale);
    const root = Math.sqrt(half * half + ratio);
    return variance * Math.log(half > 0 ? ratio / (half + root) : root - half);
  };
  return [{ upper: sampled(1), lower: sampled(-1), lossAt: (x) => logRatio(x) - logRatio(-x), placeOf, rises: true }];
}

/** Mass of a mixture between two places; in the upper tail by its complement, which keeps the digits. */
function massBetween(mixture: Mixture, from: number, to: number, deviation: number): number {
  let sum = 0;
  for (const { share, mean } of mixture) {
    const [low, high] = [(from - mean) / deviation, (to - mean) / deviation];
    sum += share * (low > 0 ? normalCdf(-low) - normalCdf(-high) : normalCdf(high) - normalCdf(low));
  }
  return sum;
}

/**
 * One step's distribution of ln(P(x)/Q(x)) for x ~ P, on the grid. The mass of a cell is divided between its two ends so that both P and Q keep
 * theirs: then δ is exact at every point of the grid and too large between them ("connect the dots", Doroshenko 2022, section 3), and the
 * error of many steps grows with their number times the square of the interval.
 */
function stepLoss(
  { upper, lower, lossAt, placeOf, rises }: Pair,
  noiseMultiplier: number,
  interval: number,
): LossDistribution {
  const reach = reachDeviations * noiseMultiplier;
  const [from, to] = [-1 - reach, 1 + reach];
  const [lowest, highest] = rises ? [lossAt(from), lossAt(to)] : [lossAt(to), lossAt(from)];
  const offset = Math.floor(lowest / interval);
  const count = Math.ceil(highest / interval) - offset + 1;
  const mass = new Float64Array(count);
  let before = rises ? from : to;
  for (let index = 1; index < count; index++) {
    const place = Math.min(to, Math.max(from, placeOf((offset + index) * interval)));
    const [low, high] = rises ? [before, place] : [place, before];
    before = place;
    const ownMass = massBetween(upper, low, high, noiseMultiplier);
    if (ownMass <= 0) continue;
    const otherMass = massBetween(lower, low, high, noiseMultiplier);
    const lowerEnd = (offset + index - 1) * interval;
    const share = (1 - Math.exp(lowerEnd) * (otherMass / ownMass)) / -Math.expm1(-interval);
    const up = ownMass * Math.min(1, Math.max(0, share));
    mass[index]! += up;
    mass[index - 1]! += ownMass - up;
  }
  const [below, above] = rises
    ? [
        [from, 1],
        [to, -1],
      ]
    : [
        [to, -1],
        [from, 1],
      ];
  const beyond = ([x, side]: readonly number[]): number =>
    upper.reduce((sum, { share, mean }) => sum + share * normalCdf((side! * (x! - mean)) / noiseMultiplier), 0);
  mass[0]! += beyond(below!);
  return { offset, mass, infinite: beyond(above!) };
}

function compose(left: LossDistribution, right: LossDistribution): LossDistribution {
  const mass = convolve(left.mass, right.mass);
  const infinite = left.infinite + right.infinite - left.infinite * right.infinite;
  return cut({ offset: left.offset + right.offset, mass, infinite });
}

/** Drops the tails: the upper one becomes infinite loss, the lower one moves up to the lowest point that is kept. */
function cut({ offset, mass, infinite }: LossDistribution): LossDistribution {
  let [from, belowMass] = [0, 0];
  while (from < mass.length - 1 && belowMass + mass[from]! <= cutMass) belowMass += mass[from++]!;
  let [to, aboveMass] = [mass.length, 0];
  while (to > from + 1 && aboveMass + mass[to - 1]! <= cutMass) aboveMass += mass[--to]!;
  const kept = mass.slice(from, to);
  kept[0]! += belowMass;
  return { offset: offset + from, mass: kept, infinite: infinite + aboveMass };
}

function repeat(step: LossDistribution, count: number): LossDistribution {
  let [result, power]: [LossDistribution | null, LossDistribution] = [null, step];
  for (let left = count; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = result === null ? power : compose(result, power);
    if (left > 1) power = compose(power, power);
  }
  return result!;
}

/** What {@link composeLosses} needs beside the mechanism. */
export interface PldOptions {
  readonly adjacency?: Adjacency;
  /** Distance of the grid's points: smaller is tighter and slower. */
  readonly interval?: number;
}

/** The losses of all steps: asks for δ and ε. */
export interface ComposedLosses {
  /** Smallest δ that holds at `epsilon`, from above. */
  dpDeltaAt(epsilon: number): number;
  /** Smallest ε that holds with `dpDelta`, from above. */
  epsilonAt(dpDelta: number): number;
}

/** Composes all steps. Cost: about log2(T) convolutions of some 10^5 points, a second in all for usual mechanisms. */
export function composeLosses(
  mechanism: SampledGaussian,
  { adjacency = 'add-remove', interval = intervalFor(mechanism.stepCount) }: PldOptions = {},
): ComposedLosses {
  const { noiseMultiplier, samplingRate, stepCount } = mechanism;
  assert(noiseMultiplier > 0 && stepCount >= 1, 'noise is above zero, steps are at least one');
  assert(samplingRate > 0 && samplingRate <= 1, 'a sampling rate is above zero and at most one');
  const losses = pairsOf(mechanism, adjacency).map((pair) =>
    repeat(cut(stepLoss(pair, noiseMultiplier, interval)), stepCount),
  );
  const dpDeltaAt = (epsilon: number): number =>
    roundingGuard + Math.max(...losses.map((distribution) => divergence(distribution, epsilon, interval)));
  return {
    dpDeltaAt,
    epsilonAt: (dpDelta) => {
      assert(dpDelta > 0 && dpDelta < 1, 'delta is between zero and one');
      return dpDeltaAt(0) <= dpDelta ? 0 : smallest((epsilon) => dpDeltaAt(epsilon) <= dpDelta);
    },
  };
}

/** Σ_{l > ε} (1 − e^(ε − l)) p(l) + p(∞). */
function divergence({ offset, mass, infinite }: LossDistribution, epsilon: number, interval: number): number {
  let sum = infinite;
  for (let index = Math.max(0, Math.floor(epsilon / interval) - offset); index < mass.length; index++) {
    const loss = (offset + index) * interval;
    if (loss > epsilon) sum += -Math.expm1(epsilon - loss) * mass[index]!;
  }
  return sum;
}
