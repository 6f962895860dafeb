/** The bias of averaged factors (`shared/update/low-rank-rules.ts`, rule `factor-avg`): how far the product of means is from the mean of products. */
import type { ExchangedPair } from '../../shared/update/exchange.ts';
import { combine, dot, frobeniusNorm, type ThinFactors } from '../../shared/update/linear-algebra.ts';
import { randomSigns } from '../../shared/update/sketch.ts';
import type { PairRound } from './pair-round.ts';
import { difference, factorsOf, joined, movedFactors, scaled } from './thin-pairs.ts';

/** Sum of ranks up to which the bias is measured exactly, which costs its square, and directions from which it is estimated beyond. */
const [exactRanksMax, directionCount] = [256, 16];

/**
 * What factor averaging misses: Σ p B A − B̄ Ā = Σ p (B − B̄)(A − Ā), whose norm comes from inner products of the thin factors, beside the norm
 * of Σ p B A. Of many ranks it is estimated: the mean of ‖E ω‖² over random signs ω is ‖E‖² (Hutchinson 1990).
 */
export function biasOf(
  pair: ExchangedPair,
  { singles, start, mean, roundHash }: PairRound,
): { readonly missed: number; readonly whole: number; readonly isExact: boolean } {
  const before = factorsOf(start, pair.published, 0, pair.published.rank);
  const average = movedFactors(pair, before, mean);
  const clients = singles.map(({ share, values }) => ({ share, factors: movedFactors(pair, before, values) }));
  const missed = joined(...clients.map(({ share, factors }) => scaled(difference(factors, average), share)));
  const whole = joined(...clients.map(({ share, factors }) => scaled(factors, share)));
  const isExact = whole.left.length <= exactRanksMax;
  if (isExact) return { missed: frobeniusNorm(missed) ** 2, whole: frobeniusNorm(whole) ** 2, isExact };
  const { inSize } = pair.trained;
  const signs = randomSigns({ roundHash, pairName: pair.name, side: 'outer' }, directionCount, inSize);
  const squareOf = ({ left, right }: ThinFactors): number => {
    let square = 0;
    for (let index = 0; index < directionCount; index++) {
      const direction = signs.subarray(index * inSize, (index + 1) * inSize);
      const image = combine(
        left,
        Float64Array.from(right, (row) => dot(row, direction)),
        pair.trained.outSize,
      );
      square += dot(image, image) / directionCount;
    }
    return square;
  };
  return { missed: squareOf(missed), whole: squareOf(whole), isExact };
}
