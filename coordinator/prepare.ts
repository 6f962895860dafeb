/** From a plan and a base folder to what a coordinator starts with. Reads the base's tensors as bytes only: no back end is used. */
import { requireFit } from '../shared/command-line/check-base.node.ts';
import { readBaseFiles } from '../shared/model/load.node.ts';
import { describeFiles } from '../shared/model/load.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { initialValues } from '../shared/training/initial-adapter.ts';
import { planAdapters } from '../shared/training/plan-adapters.ts';
import { exchangeOf } from '../shared/update/exchange.ts';
import { firstPublished } from '../shared/update/training-start.ts';
import type { CoordinatorOptions } from './coordinator.ts';

/** The part of a coordinator's options that follows from plan and base. */
export type PreparedFederation = Pick<
  CoordinatorOptions,
  'plan' | 'baseFiles' | 'baseDigest' | 'layout' | 'trainedLayout' | 'initialAdapter'
>;

/**
 * Reads the base, checks that the plan fits it, and computes the start values of the adapter from the plan's seed.
 * @param planName where the plan came from, for messages.
 * @throws UsageError `bad-plan`, `bad-adapter`; FormatError when the base is no checkpoint.
 */
export async function prepareFederation(plan: Plan, baseFolder: string, planName: string): Promise<PreparedFederation> {
  const baseFiles = await readBaseFiles(baseFolder);
  const base = describeFiles(baseFiles);
  requireFit(plan, { planName, base, baseName: baseFolder });
  const { published, trained } = planAdapters(plan, base);
  const { layout } = published;
  const exchange = exchangeOf(plan.aggregation, layout, trained.layout);
  const initialAdapter = firstPublished(exchange, initialValues(trained.layout, trained.adapter, plan.training.seed));
  return { plan, baseFiles, baseDigest: base.digest, layout, trainedLayout: trained.layout, initialAdapter };
}
