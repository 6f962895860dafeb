/** The plan and the layouts of a federation from its record, for replaying its rounds. */
import { UsageError } from '../../shared/core/errors.ts';
import { openBaseFiles } from '../../shared/model/load.node.ts';
import { describeFiles } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { type Exchange, exchangeOf } from '../../shared/update/exchange.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import type { FederationRecord } from '../store/store.ts';

/**
 * What {@link replayRound} combines with for a round of `plan`. Sites train the published layout unless the plan publishes another rank: then
 * the base says what they train; in a plan of phases it says what they publish, too.
 * @throws UsageError `base-needed`.
 */
export async function exchangeForReplay(
  plan: Plan,
  { tensors }: FederationRecord,
  baseFolder: string | undefined,
): Promise<Exchange> {
  const { aggregation, phases } = plan;
  if (aggregation.publishedRank === undefined && phases === undefined)
    return exchangeOf(aggregation, layoutOf(tensors));
  if (baseFolder === undefined)
    throw new UsageError(
      'base-needed',
      'the plan publishes other ranks than sites train, or has phases: give its base with --base DIR',
    );
  const { files, close } = openBaseFiles(baseFolder);
  try {
    const { published, trained } = planAdapters(plan, describeFiles(files));
    return exchangeOf(aggregation, published.layout, trained.layout);
  } finally {
    close();
  }
}
