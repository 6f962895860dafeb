/**
 * From the opened sums of a masked round to what is aggregated. The sum of a complete graph is decoded as it is. Sums of groups are judged one by one, added up,
 * and kept one by one as well where the plan's rule looks at them: as blobs, so that memory is one vector however many groups there are. A group whose members
 * cannot all have kept to the protocol (security specification, section 4.3) is rejected, and the round goes on without it.
 */
import { bytesOf } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { groupSizeOfRound, type RoundParams } from '../../shared/protocol/round-params.ts';
import {
  type ContributionEncoding,
  decodeContributions,
  type OpenedContribution,
} from '../../shared/secure-aggregation/contribution.ts';
import { encodingOf, scaleUses } from '../../shared/secure-aggregation/terms.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import { holdFaint, type SumFacts } from '../aggregation/faint-uses.ts';
import type { GroupMeans } from '../aggregation/guarded-mean.ts';
import { groupNormMax, rejectedGroups } from '../aggregation/robust/groups.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { OpenableSum } from './masked-sum.ts';

/** What a masked round has to be aggregated. */
export interface OpenedRound extends OpenedContribution {
  /** Whose vectors count, sorted. */
  readonly contributors: readonly ClientId[];
  /** Null for a complete graph. */
  readonly groups: GroupMeans | null;
}

/** What {@link openRound} needs. */
export interface OpeningInput {
  readonly plan: Plan;
  readonly exchange: Exchange;
  readonly params: RoundParams;
  readonly sums: readonly OpenableSum[];
  readonly groupCount: number;
  readonly blobs: Pick<CoordinatorBlobs, 'put'>;
}

const unsound = (detail: string): FederationError =>
  new FederationError(
    'sum-out-of-range',
    `${detail} holds values that its clients cannot have sent, or no weight at all`,
  );

/** Opens and decodes the sums. @throws FederationError `sum-out-of-range` when too little is left that honest clients can have made; StoreError. */
export async function openRound(input: OpeningInput): Promise<OpenedRound> {
  const { plan, params, sums, groupCount, blobs } = input;
  const encoding = encodingOf(params);
  const isDivided = groupSizeOfRound(params) !== null;
  const keepsMeans = isDivided && plan.aggregation.robust !== 'none';
  const contributors: ClientId[] = [];
  const means: Digest[] = [];
  let whole: Totals | null = null;
  for (const sum of sums) {
    const opened = decodeContributions(await sum.open(), encoding, sum.contributors.length);
    if (!isDivided) {
      if (opened === null) throw unsound('the masked sum');
      const { totalWeight } = opened;
      finishUses(opened.mean, input, { encoding, totalWeight, clientCount: sum.contributors.length });
      return { ...opened, contributors: sum.contributors, groups: null };
    }
    if (opened === null || !isPlausible(opened, { plan, encoding, clientCount: sum.contributors.length })) continue;
    if (keepsMeans) means.push(await blobs.put(bytesOf(Float32Array.from(opened.mean))));
    whole = add(whole, opened);
    contributors.push(...sum.contributors);
  }
  // Enough arrived, or the attempt would have ended: a group that is rejected must not void the round, only leave less to the rule.
  if (whole === null) throw unsound(`the sum of each of ${groupCount} groups`);
  const { mean, totalWeight } = whole;
  for (let index = 0; index < mean.length; index++) mean[index]! /= totalWeight;
  finishUses(mean, input, { encoding, totalWeight, clientCount: contributors.length });
  const { count: countedCount } = whole;
  const groups = { drawnCount: groupCount, countedCount, rejectedCount: sums.length - countedCount, means };
  const meanLoss = whole.weightedLoss / totalWeight;
  return {
    ...{ mean, totalWeight, meanLoss, groups },
    exampleCount: whole.exampleCount,
    contributors: contributors.sort(),
  };
}

/** From uses as clients scaled them to uses, once what is too faint to be known is left out. Sums that a robust rule looks at have none. */
function finishUses(mean: Float64Array, { plan, exchange }: OpeningInput, sum: SumFacts): void {
  holdFaint(exchange, mean, sum);
  scaleUses(exchange, mean, plan.task.lengthMax);
}

/** Sums over groups; `mean` is weighted until all are in. */
interface Totals {
  readonly mean: Float64Array;
  readonly totalWeight: number;
  readonly exampleCount: number;
  readonly weightedLoss: number;
  readonly count: number;
}

function add(whole: Totals | null, { mean, totalWeight, exampleCount, meanLoss }: OpenedContribution): Totals {
  const sum = whole?.mean ?? new Float64Array(mean.length);
  for (let index = 0; index < mean.length; index++) sum[index]! += totalWeight * mean[index]!;
  return {
    mean: sum,
    totalWeight: (whole?.totalWeight ?? 0) + totalWeight,
    exampleCount: (whole?.exampleCount ?? 0) + exampleCount,
    weightedLoss: (whole?.weightedLoss ?? 0) + totalWeight * meanLoss,
    count: (whole?.count ?? 0) + 1,
  };
}

/** Whether members who all keep to the protocol can have made the sum of a group. */
function isPlausible(
  { mean, totalWeight }: OpenedContribution,
  { plan, encoding, clientCount }: { plan: Plan; encoding: ContributionEncoding; clientCount: number },
): boolean {
  // Where all weigh the same, a weight that is missing would lengthen the mean.
  if (plan.aggregation.weighting === 'equal' && totalWeight !== clientCount) return false;
  // Noise of clients is longer than what they clip.
  if (encoding.noise !== undefined) return true;
  const normMax = groupNormMax(encoding, { dim: mean.length, clientCount, share: totalWeight / encoding.weightMax });
  return rejectedGroups([mean], normMax).length === 0;
}
