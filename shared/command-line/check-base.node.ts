/** The parts of `plan check` that need methods and tasks: what shows without a base model, and with one digest, text length, pooling, and how the adapter fits. */
import type { BaseDescription } from '../model/base-model.ts';
import { describeBase } from '../model/load.node.ts';
import type { Plan } from '../plan/plan.ts';
import type { Problem } from '../plan/problems.ts';
import { throwProblems } from '../plan/problems.ts';
import { checkPlanAdapter, planAdapters } from '../training/plan-adapters.ts';
import { bindTask } from '../training/tasks/registry.ts';
import { exchangeOf } from '../update/exchange.ts';
import { trainsLocally } from '../update/layout.ts';

/** What a plan comes to on its base. */
export interface BaseReport {
  readonly digest: string;
  readonly family: string;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly parameterCount: number;
  /** Adapter and head, where the task has one. */
  readonly trainableCount: number;
  readonly tensorCount: number;
  /** Size of one update without its signatures. */
  readonly updateBytes: number;
  /** Size of what clients fetch in a round. */
  readonly publishedBytes: number;
}

/**
 * Checks that `plan` can run on `base`.
 * @throws UsageError `bad-plan` with one line per fault.
 */
export function requireFit(
  plan: Plan,
  {
    planName,
    base,
    baseName,
  }: { readonly planName: string; readonly base: BaseDescription; readonly baseName: string },
): void {
  const problems: Problem[] = [];
  if (plan.base.digest !== base.digest) {
    problems.push({
      path: 'base.digest',
      sentence: `must be ${base.digest}, the digest of ${baseName}, found ${plan.base.digest}`,
    });
  }
  if (plan.task.lengthMax > base.positionsMax) {
    const sentence = `must be at most ${base.positionsMax}, the positions of ${baseName}, found ${plan.task.lengthMax}`;
    problems.push({ path: 'task.lengthMax', sentence });
  }
  const fault = bindTask(plan.task).fault(base);
  if (fault !== null) problems.push({ path: `task.${fault.field}`, sentence: fault.sentence });
  problems.push(...metricProblems(plan));
  if (problems.length > 0) throwProblems('bad-plan', 'the plan', planName, problems);
}

function metricProblems({ canary, task }: Plan): Problem[] {
  const { metrics } = bindTask(task);
  if (canary.by === 'none' || metrics.includes(canary.metric)) return [];
  const sentence = `must be one of ${metrics.join(', ')}, which are those of the task, found ${canary.metric}`;
  return [{ path: 'canary.metric', sentence }];
}

/** What {@link checkWithoutBase} leaves to {@link checkAgainstBase}, for people. */
export const leftToBase: readonly string[] = [
  'base.digest',
  'task.lengthMax and pooling',
  'layers, linear maps and sizes of the adapter, and how its settings go together',
  'tensors that training and aggregation name, and rules that need low-rank pairs',
];

/**
 * Checks what can be checked of `plan` before its base is known.
 * @throws UsageError `bad-plan`, and what the adapter method throws.
 */
export function checkWithoutBase(plan: Plan, file: string): void {
  const problems = metricProblems(plan);
  if (problems.length > 0) throwProblems('bad-plan', 'the plan', file, problems);
  checkPlanAdapter(plan);
}

/**
 * Checks `plan` against the checkpoint in `folder`.
 * @param file the plan's path, for messages.
 * @throws UsageError `bad-plan` for what does not fit this base, and what the adapter method and the reader of checkpoints throw.
 */
export async function checkAgainstBase(plan: Plan, file: string, folder: string): Promise<BaseReport> {
  const base = await describeBase(folder);
  requireFit(plan, { planName: file, base, baseName: folder });
  const { trained, published } = planAdapters(plan, base);
  const { uploaded } = exchangeOf(plan.aggregation, published.layout, trained.layout);
  const tensors = trained.layout.tensors.filter(({ aggregationClass }) => trainsLocally(aggregationClass));
  return {
    digest: base.digest,
    family: base.family,
    layerCount: base.layerCount,
    hiddenSize: base.hiddenSize,
    parameterCount: base.parameterCount,
    trainableCount: tensors.reduce((sum, { size }) => sum + size, 0),
    tensorCount: tensors.length,
    updateBytes: 4 * uploaded.dim,
    publishedBytes: 4 * published.layout.dim,
  };
}
