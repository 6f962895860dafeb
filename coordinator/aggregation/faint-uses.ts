/**
 * What too few uses move behind masks. A masked sum knows a total of uses, and of changes times uses, to one unit of its ring for every client that
 * had any; divided by few units, rounding would be larger than what was learned. Such a part stays as it was, as one does that nobody used.
 */
import type { ContributionEncoding } from '../../shared/secure-aggregation/contribution.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import { combineWithCounts } from './count-weighted.ts';

/** Least units of the ring for each √client: then rounding moves a value by at most (1 + |Δ|) / 512 in the root of its mean square. */
const leastUnits = 256;

/** What a masked sum was made of. */
export interface SumFacts {
  readonly encoding: Pick<ContributionEncoding, 'fracBits' | 'weightMax'>;
  readonly totalWeight: number;
  readonly clientCount: number;
}

/** Sets to 0, in place, the changes of what was used too little to be known; `mean` is the decoded mean `[uploaded dim]`, uses as clients scaled them. */
export function holdFaint(exchange: Exchange, mean: Float64Array, sum: SumFacts): void {
  const { encoding, totalWeight, clientCount } = sum;
  const unit = encoding.weightMax / (totalWeight * 2 ** encoding.fracBits);
  const least = leastUnits * Math.sqrt(clientCount) * unit;
  combineWithCounts(exchange, mean, (value, count) => (count < least ? 0 : value));
}
