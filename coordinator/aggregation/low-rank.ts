/**
 * What the coordinator makes of low-rank pairs: per map, the clients' changes of B A become one published pair, by thin factors alone
 * (`shared/update/linear-algebra.ts`). Notation: r trained rank, P published rank, p the clients' shares, eta the server's learning rate.
 *
 * Exact rules publish M + eta (Σ p M_k - M) for the published M and the clients' M_k. Where that has more than P ranks the smallest singular
 * values are cut; `discarded` reports their share. What a cut leaves out of the trained ranks stays in the further ones, if P > r: that is the
 * error feedback of `svd`, public and signed like everything else.
 */
import type { ExchangedPair } from '../../shared/update/exchange.ts';
import { decomposeThin, type ThinFactors } from '../../shared/update/linear-algebra.ts';
import { biasOf } from './factor-bias.ts';
import type { PairMeasure, PairRound } from './pair-round.ts';
import { denseFactors, sketchedFactors } from './summed-changes.ts';
import {
  difference,
  factorsOf,
  joined,
  movedFactors,
  scaled,
  sliceOf,
  uploadedFactors,
  writeFactors,
} from './thin-pairs.ts';

/** Makes the next values of one pair, or measures it where its factors are averaged as they are. */
export function combinePair(pair: ExchangedPair, options: PairRound): PairMeasure {
  const { exchange, start, learningRate } = options;
  const { published, trained } = pair;
  const before = factorsOf(start, published, 0, published.rank);
  switch (exchange.settings.lowRank) {
    case 'factor-avg':
      return options.singles.length === 0 ? {} : { bias: biasOf(pair, options) };
    case 'svd': {
      const parts = options.singles.map((single) => {
        const after = movedFactors(pair, before, single.values);
        return scaled(after, learningRate * single.share);
      });
      const own = sliceOf(before, 0, trained.rank);
      const rest = sliceOf(before, trained.rank, published.rank);
      const kept = learningRate === 1 ? [] : [scaled(own, 1 - learningRate)];
      return publish(joined(...parts, ...kept, rest), pair, options);
    }
    case 'stack': {
      const fresh = options.singles.map(({ share, values }) =>
        scaled(uploadedFactors(pair, values), learningRate * share),
      );
      return append(joined(...fresh), { pair, from: 0 }, options);
    }
    case 'residual': {
      const mean = movedFactors(pair, before, options.mean);
      const misses = options.singles.map(({ share, values }) =>
        scaled(difference(movedFactors(pair, before, values), mean), learningRate * share),
      );
      return append(joined(...misses), { pair, from: trained.rank }, options);
    }
    case 'dense':
      return publish(joined(scaled(denseFactors(pair, options), learningRate), before), pair, options);
    case 'sketch': {
      const { change, ...measure } = sketchedFactors(pair, options);
      return { ...measure, ...publish(joined(scaled(change, learningRate), before), pair, options) };
    }
    default:
      // A is frozen or B stays with the clients: what is averaged is linear, and nothing is left to do.
      return {};
  }
}

/** Cuts M to the published rank and makes it the next pair: B = U Σ, A = Vᵀ. */
function publish(whole: ThinFactors, pair: ExchangedPair, { start, next }: PairRound): PairMeasure {
  const { published, trained } = pair;
  const { factors, measure } = cutTo(whole, published.rank);
  // A trained rank without a singular value keeps its row of A: with both factors 0 it could never be trained again.
  const idle = factorsOf(start, published, 0, trained.rank).right;
  writeFactors(next, published, { factors, from: 0, idle });
  return measure;
}

/** Puts new ranks behind those in use from `from` on; where they do not fit, all of them are cut to what fits. */
function append(
  added: ThinFactors,
  { pair, from }: { readonly pair: ExchangedPair; readonly from: number },
  { start, next }: PairRound,
): PairMeasure {
  const { published } = pair;
  const whole = joined(factorsOf(start, published, from, published.rank), added);
  const room = published.rank - from;
  const { factors, measure } = whole.left.length <= room ? { factors: whole, measure: {} } : cutTo(whole, room);
  writeFactors(next, published, { factors, from, idle: [] });
  return { ...measure, rank: from + factors.left.length };
}

function cutTo(whole: ThinFactors, rank: number): { readonly factors: ThinFactors; readonly measure: PairMeasure } {
  const { values, left, right } = decomposeThin(whole);
  const squares = (some: readonly number[]): number => some.reduce((sum, value) => sum + value * value, 0);
  return {
    factors: {
      left: left.slice(0, rank).map((unit, index) => unit.map((value) => value * values[index]!)),
      right: right.slice(0, rank),
    },
    measure: {
      cut: { missed: squares(values.slice(rank)), whole: squares(values) },
      rank: Math.min(rank, values.length),
    },
  };
}
