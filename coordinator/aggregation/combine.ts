/**
 * From the mean of a round's uploads to the next adapter, tensor by tensor: counts weigh what they weigh, the server's optimiser moves what is
 * linear, and the plan's rule makes the low-rank pairs (`low-rank.ts`).
 */
import type { Digest } from '../../shared/core/ids.ts';
import { combinedPairs, type Exchange } from '../../shared/update/exchange.ts';
import { siteWeightName } from '../../shared/update/federated-layout.ts';
import { declarationOf } from '../../shared/update/low-rank-rules.ts';
import { combineWithCounts } from './count-weighted.ts';
import { combinePair } from './low-rank.ts';
import type { PairMeasure, SingleUpdate } from './pair-round.ts';
import type { AggregationRule, RuleState } from './server-optimisers.ts';

/**
 * A number that says how well a round's aggregate did, by name: `factor-bias` (`factor-bias-estimate` where it was estimated), `discarded`,
 * `sketch-error`, `rank`.
 */
export interface Measure {
  readonly name: string;
  readonly value: number;
}

/** Values of all updates together that are kept in memory for a mere measure: a quarter of a gigabyte. */
const measuredValuesMax = 2 ** 26;

/** Whether a rule, or its measure, looks at single updates; `clientCount` of them. */
export function readsSingles(exchange: Exchange, clientCount: number): boolean {
  const { settings } = exchange;
  const pairs = combinedPairs(exchange);
  if (pairs.length === 0) return false;
  if (declarationOf(settings.lowRank).needs === 'single-updates') return true;
  return settings.lowRank === 'factor-avg' && clientCount * exchange.uploaded.dim <= measuredValuesMax;
}

/** What {@link combine} needs. */
export interface CombineInput {
  readonly exchange: Exchange;
  readonly rule: AggregationRule;
  /** Mutated. */
  readonly state: RuleState;
  /** `[published dim]`. */
  readonly start: Float32Array;
  /** Weighted mean of the uploads `[uploaded dim]`; its first part becomes the step of the server's optimiser. */
  readonly mean: Float64Array;
  readonly singles: readonly SingleUpdate[];
  /** Clients with a weight. */
  readonly clientCount: number;
  readonly roundHash: Digest;
  /** Step of low-rank maps, for which the optimiser's moments have no meaning. */
  readonly learningRate: number;
  /** Lets others have a turn between two maps. */
  readonly giveTurn: () => Promise<void>;
}

/** The next adapter `[published dim]`, rounded to float32 once, and what was measured on the way. */
export async function combine(
  input: CombineInput,
): Promise<{ readonly next: Float32Array; readonly measures: readonly Measure[] }> {
  const { exchange, rule, state, start, mean, singles, clientCount, roundHash, learningRate, giveTurn } = input;
  const { published, uploaded, stepDim } = exchange;
  // Sums of deltas times counts become means over what was used; what nobody used has no delta.
  combineWithCounts(exchange, mean, (value, count) => (count > 0 ? value / count : 0));
  const ownWeight = uploaded.tensors.find(({ name }) => name === siteWeightName);
  /** What counts are times: the mean of the weights that clients multiplied in. */
  const counted = ownWeight === undefined ? Math.min(clientCount, 1) : mean[ownWeight.offset]!;
  const optimised = mean.slice(0, stepDim);
  rule.update(state, optimised);
  const next = start.slice();
  const targets = new Map(published.tensors.map((tensor) => [tensor.name, tensor]));
  for (const { name, offset, size, shape, aggregationClass, pair } of uploaded.tensors) {
    const target = targets.get(name);
    if (target === undefined) continue;
    if (aggregationClass === 'count') {
      if (counted > 0)
        for (let index = 0; index < size; index++) next[target.offset + index] = mean[offset + index]! / counted;
    } else if (offset < stepDim) {
      // A published factor may have further ranks behind the trained ones: rows of A, ends of the rows of B.
      const isB = pair?.factor === 'b';
      const [width, wholeWidth] = isB ? [shape[1]!, target.shape[1]!] : [size, size];
      for (let index = 0; index < size; index++) {
        const place = target.offset + Math.floor(index / width) * wholeWidth + (index % width);
        next[place] = start[place]! + optimised[offset + index]!;
      }
    }
  }
  const found: PairMeasure[] = [];
  if (clientCount > 0) {
    for (const pair of combinedPairs(exchange)) {
      found.push(combinePair(pair, { exchange, start, mean, singles, clientCount, roundHash, learningRate, next }));
      await giveTurn();
    }
  }
  return { next, measures: measuresOf(found) };
}

/** Measures of a round from those of its maps: shares of all maps together as ratios of norms, the largest rank in use. */
function measuresOf(pairs: readonly PairMeasure[]): Measure[] {
  const shares = [
    ['factor-bias', pairs.flatMap(({ bias }) => (bias?.isExact ? bias : []))],
    ['factor-bias-estimate', pairs.flatMap(({ bias }) => (bias === undefined || bias.isExact ? [] : bias))],
    ['discarded', pairs.flatMap(({ cut }) => cut ?? [])],
    ['sketch-error', pairs.flatMap(({ sketch }) => sketch ?? [])],
  ] as const;
  const ratios = shares.flatMap(([name, parts]) => {
    if (parts.length === 0) return [];
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    const [missed, whole] = [sum(parts.map((part) => part.missed)), sum(parts.map((part) => part.whole))];
    return [{ name, value: whole === 0 ? 0 : Math.sqrt(missed / whole) }];
  });
  const ranks = pairs.flatMap(({ rank }) => rank ?? []);
  const all = ranks.length === 0 ? ratios : [...ratios, { name: 'rank', value: Math.max(...ranks) }];
  return all.sort((left, right) => (left.name < right.name ? -1 : 1));
}
