/** What replaying the rounds of a federation takes of its base: the layouts, where those of the record do not say everything. */
import { UsageError } from '../../shared/core/errors.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { type Exchange, exchangeOf } from '../../shared/update/exchange.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import type { FederationRecord } from '../store/store.ts';

/**
 * Whether the layouts of a plan's rounds follow from its base alone: sites train the published layout unless the plan publishes another rank: then the
 * base says what they train; in a plan of phases it says what they publish, too.
 */
export function needsBase({ aggregation, phases }: Pick<Plan, 'aggregation' | 'phases'>): boolean {
  return aggregation.publishedRank !== undefined || phases !== undefined;
}

/** The folder, once its base is the one of the federation. @throws UsageError `wrong-base`. */
export async function checkedBase(
  folder: string,
  { baseDigest }: Pick<FederationRecord, 'baseDigest'>,
): Promise<string> {
  const { digest } = await describeBase(folder);
  if (digest === baseDigest) return folder;
  throw new UsageError(
    'wrong-base',
    `--base ${folder} has the digest ${digest}, the federation trained on ${baseDigest}`,
  );
}

/**
 * What {@link replayRound} combines with for a round of `plan`; `baseFolder` holds the base where the plan {@link needsBase}.
 * @throws UsageError `base-needed`, `wrong-base`.
 */
export async function exchangeForReplay(
  plan: Plan,
  record: Pick<FederationRecord, 'tensors' | 'baseDigest'>,
  baseFolder: string | undefined,
): Promise<Exchange> {
  const { aggregation } = plan;
  if (!needsBase(plan)) return exchangeOf(aggregation, layoutOf(record.tensors));
  if (baseFolder === undefined)
    throw new UsageError(
      'base-needed',
      'the plan publishes other ranks than sites train, or has phases: give its base with --base DIR',
    );
  const { published, trained } = planAdapters(plan, await describeBase(await checkedBase(baseFolder, record)));
  return exchangeOf(aggregation, published.layout, trained.layout);
}
