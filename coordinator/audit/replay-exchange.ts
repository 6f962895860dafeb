/** The plan and the layouts of a federation from its record, for replaying its rounds. */
import { UsageError } from '../../shared/core/errors.ts';
import { openBaseFiles } from '../../shared/model/load.node.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { type Exchange, exchangeOf } from '../../shared/update/exchange.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import type { FederationRecord } from '../store/store.ts';

/**
 * What {@link replayRound} combines with. Sites train the published layout unless the plan publishes another rank: then the base says what they train.
 * @throws UsageError `base-needed`.
 */
export async function exchangeForReplay(
  { plan: text, tensors }: FederationRecord,
  baseFolder: string | undefined,
): Promise<{ readonly plan: Plan; readonly exchange: Exchange }> {
  const plan = parsePlan(JSON.parse(text), 'the plan of the state');
  const published = layoutOf(tensors);
  if (plan.aggregation.publishedRank === undefined) return { plan, exchange: exchangeOf(plan.aggregation, published) };
  if (baseFolder === undefined)
    throw new UsageError(
      'base-needed',
      'the plan publishes other ranks than sites train: give its base with --base DIR',
    );
  const { files, close } = openBaseFiles(baseFolder);
  try {
    const { trained } = planAdapters(plan, describeFiles(files));
    return { plan, exchange: exchangeOf(plan.aggregation, published, trained.layout) };
  } finally {
    close();
  }
}
