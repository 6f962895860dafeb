/** From a plan and a base folder to what a coordinator starts with. Reads the base's tensors as bytes only: no back end is used. */
import type { AdapterDocument } from '../shared/adapters/adapter-document.ts';
import { requireBase } from '../shared/adapters/adapter-manifest.ts';
import { phaseStartValues } from '../shared/adapters/phase-start.ts';
import { startValuesFrom } from '../shared/adapters/start-values.ts';
import { requireFit } from '../shared/command-line/check-base.node.ts';
import { float32Of } from '../shared/core/bytes.ts';
import { UsageError } from '../shared/core/errors.ts';
import type { BaseDescription } from '../shared/model/base-model.ts';
import { openBaseFiles } from '../shared/model/load.node.ts';
import { describeFiles } from '../shared/model/load.ts';
import { plansAhead, sourcesOf } from '../shared/plan/phases.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { initialValues } from '../shared/training/initial-adapter.ts';
import { planAdapters } from '../shared/training/plan-adapters.ts';
import { type AdapterValues, contentFaultOf } from '../shared/update/content.ts';
import { exchangeOf } from '../shared/update/exchange.ts';
import { firstPublished } from '../shared/update/training-start.ts';
import type { CoordinatorOptions } from './coordinator.ts';
import { firstPlanOf, type PreparePhase } from './phases.ts';

/** The part of a coordinator's options that follows from plan and base. */
export interface PreparedFederation
  extends Pick<
    CoordinatorOptions,
    'plan' | 'baseFiles' | 'baseDigest' | 'layout' | 'trainedLayout' | 'initialAdapter' | 'preparePhase'
  > {
  /** Closes the files of the base, which a coordinator that has started needs no longer. */
  readonly closeBase: () => void;
}

/**
 * Opens the base, checks that the plan fits it, and computes the start values of the adapter: those of the plan's seed, or those of `start`.
 * @param planName where the plan came from, for messages.
 * @throws UsageError `bad-plan`, `bad-adapter`, `wrong-base`, `wrong-start`; FormatError when the base is no checkpoint.
 */
export async function prepareFederation(
  plan: Plan,
  baseFolder: string,
  planName: string,
  start: AdapterDocument | null = null,
): Promise<PreparedFederation> {
  const { files: baseFiles, close: closeBase } = openBaseFiles(baseFolder);
  try {
    const prepared = prepare(plan, describeFiles(baseFiles), { baseFolder, planName, start });
    return { ...prepared, baseFiles, closeBase };
  } catch (thrown) {
    closeBase();
    throw thrown;
  }
}

function prepare(
  document: Plan,
  base: BaseDescription,
  {
    baseFolder,
    planName,
    start,
  }: { readonly baseFolder: string; readonly planName: string; readonly start: AdapterDocument | null },
): Omit<PreparedFederation, 'baseFiles' | 'closeBase'> {
  for (const plan of plansAhead(document)) {
    requireFit(plan, { planName, base, baseName: baseFolder });
    planAdapters(plan, base);
  }
  const plan = firstPlanOf(document);
  const { published, trained } = planAdapters(plan, base);
  const { layout } = published;
  const exchange = exchangeOf(plan.aggregation, layout, trained.layout);
  const { seed } = plan.training;
  if (start !== null && document.phases !== undefined)
    throw new UsageError('bad-option', 'a plan of phases begins with its first one: --start must be left out');
  if (start !== null) requireBase(start, base);
  const values =
    start === null
      ? initialValues(trained.layout, trained.adapter, seed)
      : startValuesFrom(start, { ...trained, task: plan.task, seed });
  const initialAdapter = firstPublished(exchange, values);
  requireContent(plan, { baseDigest: base.digest, layout, values: initialAdapter });
  const prepared = { plan: document, baseDigest: base.digest, layout, trainedLayout: trained.layout, initialAdapter };
  return document.phases === undefined ? prepared : { ...prepared, preparePhase: phasesOn(document, base) };
}

/** Refuses start values that are not those of the adapters that a plan names as its members. @throws UsageError `wrong-content`. */
function requireContent({ adapter }: Plan, start: AdapterValues): void {
  const fault = contentFaultOf(adapter, { ...start, isStart: true });
  if (fault === null) return;
  const { path, member, expected, found } = fault;
  throw new UsageError(
    'wrong-content',
    `the plan: ${path} says that the member ${member} has the content ${expected}, the start values have ${found}; start from the adapter that "tributary adapters combine" wrote (--start), with the contents that its adapter.json names`,
  );
}

/** What makes the phases of a document ready on a base. */
function phasesOn(document: Plan, base: BaseDescription): PreparePhase {
  return (plan, results) => {
    const { phases = [] } = document;
    const { index } = plan.phase!;
    const { published, trained } = planAdapters(plan, base);
    const earlier = () =>
      sourcesOf(document, index).map(({ prefix, phase }) => {
        const place = phases.findIndex(({ name }) => name === phase);
        // What a phase published before has no part in its layout.
        const source = plansAhead(document)[place]!;
        const { layout } = planAdapters(source, base).published;
        return { phase, prefix, layout, values: float32Of(results[place]!), task: source.task };
      });
    const exchange = exchangeOf(plan.aggregation, published.layout, trained.layout);
    const { seed } = plan.training;
    return {
      layout: published.layout,
      trainedLayout: trained.layout,
      initialAdapter: () =>
        firstPublished(exchange, phaseStartValues({ ...trained, task: plan.task, seed, earlier: earlier() })),
    };
  };
}
