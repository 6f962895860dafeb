/**
 * Rules that only look at the distances between vectors, which are computed once: Krum and Multi-Krum (Blanchard 2017), Bulyan (El Mhamdi 2018), the
 * geometric median by smoothed Weiszfeld steps (Pillutla 2022, algorithm 2) and centred clipping (Karimireddy 2021). What they answer is a
 * combination of the vectors, so that one further pass forms it.
 */
import { meanAroundMedian } from './coordinate-rules.ts';
import { hostileLeft, type RobustRule, requireCount } from './rule.ts';
import { combination, squaredDistances, type Vectors, withVector } from './vectors.ts';

/** Krum: the vector with the least sum of squared distances to its n − f − 2 nearest. Equal scores: the first in client-id order. */
export function krum(hostileMax: number): RobustRule {
  return selection('krum', hostileMax, () => 1);
}

/** The mean of the n − f − 2 vectors with the least scores of Krum. */
export function multiKrum(hostileMax: number): RobustRule {
  return selection('multi-krum', hostileMax, (count, hostile) => count - hostile - 2);
}

function selection(
  name: 'krum' | 'multi-krum',
  hostileMax: number,
  keptOf: (count: number, hostile: number) => number,
): RobustRule {
  return {
    name: `${name}(${hostileMax})`,
    init: () => [],
    update: async (_state, vectors, context) => {
      const { count } = vectors;
      const hostile = hostileLeft(hostileMax, context);
      requireCount(name, hostile, count);
      const all = Array.from({ length: count }, (_, index) => index);
      const scores = scoresOf(await squaredDistances(vectors), count, all, hostile);
      const kept = new Set(byScore(all, scores).slice(0, keptOf(count, hostile)));
      return combination(
        vectors,
        all.map((index) => (kept.has(index) ? 1 / kept.size : 0)),
      );
    },
  };
}

/** θ = n − 2f vectors by repeated Krum, then of every coordinate the mean of the θ − 2f nearest to the median. */
export function bulyan(hostileMax: number): RobustRule {
  return {
    name: `bulyan(${hostileMax})`,
    init: () => [],
    update: async (_state, vectors, context) => {
      const { count, dim } = vectors;
      const hostile = hostileLeft(hostileMax, context);
      requireCount('bulyan', hostile, count);
      const distances = await squaredDistances(vectors);
      let left = Array.from({ length: count }, (_, index) => index);
      const chosen: number[] = [];
      while (chosen.length < count - 2 * hostile) {
        const [best] = byScore(left, scoresOf(distances, count, left, hostile));
        chosen.push(best!);
        left = left.filter((index) => index !== best);
      }
      chosen.sort((first, second) => first - second);
      const block: Vectors['block'] = async (from, to) => {
        const parts = await vectors.block(from, to);
        return chosen.map((index) => parts[index]!);
      };
      return meanAroundMedian({ count: chosen.length, dim, block }, chosen.length - 2 * hostile);
    },
  };
}

/** Scores of Krum among the vectors `among`, by index: the sum of the smallest squared distances to others of them. */
function scoresOf(
  distances: Float64Array,
  count: number,
  among: readonly number[],
  hostileMax: number,
): Map<number, number> {
  const neighbours = Math.max(1, among.length - hostileMax - 2);
  const scoreOf = (own: number): number => {
    const others = among.filter((other) => other !== own).map((other) => distances[own * count + other]!);
    const nearest = Float64Array.from(others).sort().subarray(0, neighbours);
    return nearest.reduce((sum, distance) => sum + distance, 0);
  };
  return new Map(among.map((own) => [own, scoreOf(own)]));
}

function byScore(among: readonly number[], scores: ReadonlyMap<number, number>): number[] {
  return [...among].sort((left, right) => scores.get(left)! - scores.get(right)! || left - right);
}

/** Steps of Weiszfeld, and the distance below which vectors count as one with the median (Pillutla 2022, section 4). */
const [weiszfeldSteps, smoothing] = [8, 1e-6];

/** The geometric median, by weights β_i ∝ 1 / max(ν, ‖v − x_i‖). */
export function geometricMedian(hostileMax: number): RobustRule {
  return {
    name: 'geometric-median',
    init: () => [],
    update: async (_state, vectors, context) => {
      const { count } = vectors;
      requireCount('geometric-median', hostileLeft(hostileMax, context), count);
      const distances = await squaredDistances(vectors);
      let weights = new Float64Array(count).fill(1 / count);
      for (let step = 0; step < weiszfeldSteps; step++) {
        const reach = distancesFrom(weights, distances);
        const next = reach.map((distance) => 1 / Math.max(smoothing, distance));
        const total = next.reduce((sum, weight) => sum + weight, 0);
        weights = next.map((weight) => weight / total);
      }
      return combination(vectors, weights);
    },
  };
}

/** Steps of centred clipping in one round. */
const centringSteps = 3;

/**
 * Centred clipping: v ← v + mean((x_i − v) min(1, τ / ‖x_i − v‖)), three times, from the step of the round before. Its state is that step.
 */
export function centredClip(hostileMax: number, radius: number): RobustRule {
  return {
    name: `centred-clip(${radius})`,
    init: (dim) => [new Float64Array(dim)],
    update: async ([centre], vectors, context) => {
      requireCount('centred-clip', hostileLeft(hostileMax, context), vectors.count);
      const all = withVector(vectors, centre!);
      const distances = await squaredDistances(all);
      // v as weights of the vectors and of the centre, which stands behind them.
      let weights = new Float64Array(all.count);
      weights[vectors.count] = 1;
      for (let step = 0; step < centringSteps; step++) {
        const reach = distancesFrom(weights, distances);
        const next = weights.slice();
        for (let index = 0; index < vectors.count; index++) {
          const share = Math.min(1, radius / Math.max(reach[index]!, Number.MIN_VALUE)) / vectors.count;
          next[index]! += share;
          for (let other = 0; other < all.count; other++) next[other]! -= share * weights[other]!;
        }
        weights = next;
      }
      const step = await combination(all, weights);
      centre!.set(step);
      return step;
    },
  };
}

/** Distances of Σ w_j x_j, Σ w = 1, to every x_i from squared distances D alone: ‖Σ w_j x_j − x_i‖² = Σ_j w_j D_ij − ½ Σ_jk w_j w_k D_jk. */
function distancesFrom(weights: Float64Array, distances: Float64Array): Float64Array {
  const count = weights.length;
  const rows = new Float64Array(count);
  for (let row = 0; row < count; row++)
    for (let column = 0; column < count; column++) rows[row]! += weights[column]! * distances[row * count + column]!;
  const spread = rows.reduce((sum, row, index) => sum + weights[index]! * row, 0) / 2;
  return rows.map((row) => Math.sqrt(Math.max(0, row - spread)));
}
