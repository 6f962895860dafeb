/** Rules that look at every coordinate for itself: the median and the trimmed mean (Yin 2018), and the second half of Bulyan (El Mhamdi 2018). */
import { hostileLeft, type RobustRule, requireCount } from './rule.ts';
import { eachBlock, type Vectors } from './vectors.ts';

/** The median of every coordinate; of an even number the mean of the middle two. Holds against fewer than half. */
export function coordinateMedian(hostileMax: number): RobustRule {
  return {
    name: 'median',
    init: () => [],
    update: async (_state, vectors, context) => {
      requireCount('median', hostileLeft(hostileMax, context), vectors.count);
      return perCoordinate(vectors, medianOf);
    },
  };
}

/** The mean of every coordinate without its `hostileMax` lowest and highest values. */
export function trimmedMean(hostileMax: number): RobustRule {
  return {
    name: `trimmed-mean(${hostileMax})`,
    init: () => [],
    update: async (_state, vectors, context) => {
      const hostile = hostileLeft(hostileMax, context);
      requireCount('trimmed-mean', hostile, vectors.count);
      return perCoordinate(vectors, (sorted) => meanOf(sorted, hostile, sorted.length - hostile));
    },
  };
}

/** Of every coordinate the mean of the `kept` values nearest to the median. */
export function meanAroundMedian(vectors: Vectors, kept: number): Promise<Float64Array> {
  return perCoordinate(vectors, (sorted) => {
    const median = medianOf(sorted);
    // The nearest values stand next to each other: of all such stretches the one whose farther end is nearest.
    let best = 0;
    const reach = (from: number): number => Math.max(median - sorted[from]!, sorted[from + kept - 1]! - median);
    for (let from = 1; from + kept <= sorted.length; from++) if (reach(from) < reach(best)) best = from;
    return meanOf(sorted, best, best + kept);
  });
}

function medianOf(sorted: Float64Array): number {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

function meanOf(sorted: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let index = from; index < to; index++) sum += sorted[index]!;
  return sum / (to - from);
}

/** `combine` of the sorted values of every coordinate. */
async function perCoordinate(vectors: Vectors, combine: (sorted: Float64Array) => number): Promise<Float64Array> {
  const result = new Float64Array(vectors.dim);
  const column = new Float64Array(vectors.count);
  await eachBlock(vectors, (parts, from) => {
    for (let index = 0; index < parts[0]!.length; index++) {
      for (let row = 0; row < column.length; row++) column[row] = parts[row]![index]!;
      result[from + index] = combine(column.sort());
    }
  });
  return result;
}
