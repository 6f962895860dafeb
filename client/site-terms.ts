/** A site's own terms under a plan's rules: the ranks that it trains, and what it counts in the mean. */
import type { Plan } from '../shared/plan/plan.ts';
import type { Policy } from '../shared/plan/policy.ts';
import { spendingOf } from '../shared/plan/privacy.ts';
import type { RoundParams } from '../shared/protocol/round-params.ts';
import type { Exchange } from '../shared/update/exchange.ts';
import { declarationOf } from '../shared/update/low-rank-rules.ts';
import { cappedPairs } from '../shared/update/training-start.ts';
import type { PreparedLearning } from './learner.ts';

/** Why a site that trains no higher rank than `rankMax` takes no part, or null. */
export function judgeRank(exchange: Exchange, method: string, rankMax: number | null): string | null {
  if (rankMax === null) return null;
  const { lowRank } = exchange.settings;
  const { insteadForMixedRanks } = declarationOf(lowRank);
  const [first] = cappedPairs(exchange, rankMax);
  if (first === undefined) return null;
  const refusal = `rank-too-large: ${first} has a higher rank than ${rankMax}, the most that this site trains (rankMax), and`;
  if (method !== 'lora')
    return `${refusal} only ranks of the method lora can be trained in part, not those of ${method}`;
  if (insteadForMixedRanks === null) return null;
  return `${refusal} the rule ${lowRank} needs one rank of all; ${insteadForMixedRanks} is the nearest that does not`;
}

/** Why a site cannot be weighed by its accuracy, or null. */
export function judgeWeighting({ settings }: Exchange, { heldOutCount }: PreparedLearning): string | null {
  if (settings.weighting !== 'quality' || heldOutCount > 0) return null;
  return 'no-held-out-rows: the plan weighs sites by their accuracy on held-out rows, this site holds none out';
}

/**
 * Why the plan's privacy budget does not pay a round number that protects clients, or null. What single records cost is judged where their number is
 * known (`private-records.ts`).
 */
export function judgeBudget(plan: Plan, exchange: Exchange, roundIndex: number): string | null {
  if (plan.privacy.unit !== 'client') return null;
  const roundsMax = spendingOf(plan, exchange.uploaded.dim)?.roundsMax ?? 0;
  if (roundIndex < roundsMax) return null;
  return `privacy-budget-spent: the budget of the plan pays ${roundsMax} round numbers, void ones included, and number ${roundIndex} is offered`;
}

/**
 * Why a masked round that leaves updates as long as its parameters say is none for this site, or null: where the norm follows the updates, the coordinator
 * names it, and the plan only that of the first round.
 */
export function judgeClip({ clipNormMax }: Policy, { suite, clipNorm }: RoundParams): string | null {
  if (suite === 0 || clipNormMax === 'none' || clipNorm <= clipNormMax) return null;
  return `clip-too-large: the round leaves updates up to the norm ${clipNorm}, this site at most ${clipNormMax} (clipNormMax)`;
}

/** What a site's weight is made of. */
export interface WeightFacts {
  /** What its policy says. */
  readonly given: number;
  readonly learning: PreparedLearning;
  /** What was published, with the site's own parts, as it would measure it. */
  readonly published: Float32Array;
}

/** The weight from 0 to 1 that the site multiplies in, where the plan lets it: its policy's, or the accuracy of what was published on its held-out rows. */
export async function siteWeightOf(
  { settings }: Exchange,
  { given, learning, published }: WeightFacts,
  signal: AbortSignal,
): Promise<number | undefined> {
  if (settings.weighting === 'given') return given;
  if (settings.weighting !== 'quality') return undefined;
  const { targetCount, rightCount } = await learning.evaluate(published, signal);
  return targetCount === 0 ? 0 : rightCount / targetCount;
}
