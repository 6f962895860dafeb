/** The part of `plan check` that needs a base model: digest, text length, pooling, and the adapter's own settings. */
import { parseAdapter } from '../adapters/registry.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { describeBase } from '../model/load.node.ts';
import type { Plan } from '../plan/plan.ts';
import type { Problem } from '../plan/problems.ts';
import { throwProblems } from '../plan/problems.ts';

/** What a plan comes to on its base. */
export interface BaseReport {
  readonly digest: string;
  readonly family: string;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly parameterCount: number;
  /** Adapter and head. */
  readonly trainableCount: number;
  readonly tensorCount: number;
  /** Size of one update without its signatures. */
  readonly updateBytes: number;
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
  if (base.causal && plan.task.pooling === 'first') {
    const sentence = `must be last or mean on ${base.family}, whose first token sees nothing of the text, found "first"`;
    problems.push({ path: 'task.pooling', sentence });
  }
  if (problems.length > 0) throwProblems('bad-plan', 'the plan', planName, problems);
}

/**
 * Checks `plan` against the checkpoint in `folder`.
 * @param file the plan's path, for messages.
 * @throws UsageError `bad-plan` for what does not fit this base, and what the adapter method and the reader of checkpoints throw.
 */
export async function checkAgainstBase(plan: Plan, file: string, folder: string): Promise<BaseReport> {
  const base = await describeBase(folder);
  requireFit(plan, { planName: file, base, baseName: folder });
  const { tensors } = parseAdapter(plan.adapter, base);
  const adapterCount = tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0);
  const trainableCount = adapterCount + (base.hiddenSize + 1) * plan.task.labels.length;
  return {
    digest: base.digest,
    family: base.family,
    layerCount: base.layerCount,
    hiddenSize: base.hiddenSize,
    parameterCount: base.parameterCount,
    trainableCount,
    tensorCount: tensors.length + 2,
    updateBytes: 4 * trainableCount,
  };
}
