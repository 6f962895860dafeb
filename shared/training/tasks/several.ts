/**
 * Several classifications over one base and one adapter, each with labels and a head of its own (multi-task training). A row is of the task that its
 * part names, or of all that it has labels for: `{ text, labels: { topic: billing, tone: calm } }`, and with one `label` of every task that knows it.
 *
 * Labels of all tasks stand in one row of scores, task after task; a target is compared with the labels of its own task alone, so that the loss is
 * the mean of the cross-entropies and no head learns from rows of others. Counts are by label and add up over sites as those of one task do; the
 * accuracy of a task is that of its labels.
 */
import { UsageError } from '../../core/errors.ts';
import { encodeText, labelIndexOf } from '../../data/encode.ts';
import type { SeveralRow } from '../../data/row.ts';
import { severalRow } from '../../data/row-fields.ts';
import { labelsOfTask, type SeveralTask } from '../../plan/task.ts';
import { type CountsInWork, type EvaluationCounts, startCounts } from '../counts.ts';
import { countExclusive } from '../decisions.ts';
import { f1Of } from '../metrics.ts';
import { causalPooling, writeGroup } from './shared.ts';
import type { BoundTask, LabelBlock, RowForm } from './task.ts';

/** Texts with a label for each of some tasks. */
export const severalRows: RowForm<SeveralRow> = {
  read: severalRow,
  write: (row) => ({ text: row.text, labels: row.labelOf, ...writeGroup(row) }),
};

/** The labels of every task as a stretch of all labels. */
function blocksOf({ tasks }: SeveralTask): LabelBlock[] {
  let start = 0;
  return tasks.map(({ name, labels }) => {
    const block = { name, start, size: labels.length };
    start += labels.length;
    return block;
  });
}

/** Several classifications with these settings. */
export function several(task: SeveralTask): BoundTask<SeveralRow> {
  const { tasks, pooling, lengthMax } = task;
  const blocks = blocksOf(task);
  const indices = tasks.map(({ labels }) => labelIndexOf(labels));
  const labelCount = labelsOfTask(task).length;
  const weights = tasks.some(({ classWeights }) => classWeights !== undefined)
    ? tasks.flatMap(({ labels, classWeights }) => classWeights ?? labels.map(() => 1))
    : undefined;
  return {
    task,
    metrics: ['accuracy', 'macroF1', 'loss', 'calibrationError', 'brier'],
    shape: {
      labelCount,
      isExclusive: true,
      isTargetRow: false,
      entityCount: 0,
      histogramCount: 0,
      decisionsPerTarget: 1,
    },
    readout: { kind: 'text-head', outputCount: labelCount, pooling, loss: 'cross-entropy', weights, blocks },
    fault: (base) => causalPooling(base, pooling),
    rows: severalRows,
    encode: (row, tokenizer) => {
      const targets = targetsOf(row, task, indices);
      const { ids, isCut } = encodeText(row.text, { tokenizer, lengthMax, line: row.line });
      return { examples: [{ ids, targets }], isCut };
    },
    arrange: (examples) => {
      const scored = examples.flatMap(({ targets }, row) =>
        [...targets].map((target) => ({ row, target, token: blocks.findLastIndex(({ start }) => start <= target) })),
      );
      // The token of a place is that of its task: a text as a whole is scored.
      return {
        examples,
        places: scored.map(({ row, token }) => ({ row, token })),
        targets: scored.map(({ target }) => target),
      };
    },
    count: (counts, scores, { examples, targets }) => {
      for (const block of blocks) countBlock(counts, scores, targets as readonly number[], { block, labelCount });
      counts.exampleCount += examples.length;
    },
  };
}

/** Places among all labels: one per task of which the row has a label. @throws UsageError `unknown-part` or as `labelIndexOf` does. */
function targetsOf(
  { part, labelOf, line }: SeveralRow,
  { tasks }: SeveralTask,
  indices: readonly ReturnType<typeof labelIndexOf>[],
): Int32Array {
  const names = tasks.map(({ name }) => name);
  const fail = (found: string): never => {
    throw new UsageError(
      'unknown-part',
      `line ${line}: the task of a row must be one of ${names.join(', ')}, found ${found}`,
    );
  };
  const asked =
    typeof labelOf === 'string'
      ? new Map((part === undefined ? names : [part]).map((name) => [name, labelOf]))
      : new Map(Object.entries(labelOf));
  for (const name of asked.keys()) if (!names.includes(name)) fail(JSON.stringify(name));
  let start = 0;
  const targets = tasks.flatMap(({ name, labels }, place) => {
    const label = asked.get(name);
    const offset = start;
    start += labels.length;
    // One label without a part is of every task that knows it.
    if (label === undefined || (asked.size > 1 && typeof labelOf === 'string' && !labels.includes(label))) return [];
    return [offset + indices[place]!(label, line)];
  });
  return targets.length > 0 ? Int32Array.from(targets) : fail('a label that none of them knows');
}

function countBlock(
  counts: CountsInWork,
  scores: ArrayLike<number>,
  targets: readonly number[],
  { block: { start, size }, labelCount }: { readonly block: LabelBlock; readonly labelCount: number },
): void {
  const rows = targets.flatMap((target, row) => (target >= start && target < start + size ? [row] : []));
  const own = new Float32Array(rows.length * size);
  for (const [place, row] of rows.entries())
    for (let label = 0; label < size; label++) own[place * size + label] = scores[row * labelCount + start + label]!;
  const part = startCounts({
    labelCount: size,
    isExclusive: true,
    isTargetRow: false,
    entityCount: 0,
    histogramCount: 0,
    decisionsPerTarget: 1,
  });
  const ownTargets = rows.map((row) => targets[row]! - start);
  countExclusive(part, own, ownTargets, size);
  counts.targetCount += part.targetCount;
  counts.rightCount += part.rightCount;
  counts.lossSum += part.lossSum;
  counts.squaredErrorSum += part.squaredErrorSum;
  for (const field of ['truth', 'predicted', 'correct'] as const)
    for (let label = 0; label < size; label++) counts.labels[field][start + label]! += part.labels[field][label]!;
  for (const field of ['decisions', 'right', 'probabilitySums'] as const)
    for (const [bin, value] of part.calibration[field].entries()) counts.calibration[field][bin]! += value;
}

/** What counts of several tasks say about each: targets, the share that is right, and the mean F1 over its labels that occur. */
export function metricsByTask(
  task: SeveralTask,
  { labels }: EvaluationCounts,
): {
  readonly name: string;
  readonly targetCount: number;
  readonly accuracy: number | null;
  readonly macroF1: number | null;
}[] {
  return blocksOf(task).map(({ name, start, size }) => {
    const places = Array.from({ length: size }, (_, index) => start + index);
    const total = (values: readonly number[]): number => places.reduce((sum, place) => sum + values[place]!, 0);
    const targetCount = total(labels.truth);
    const scores = places.map((place) => f1Of(labels, place)).filter((score) => score !== null);
    return {
      name,
      targetCount,
      accuracy: targetCount === 0 ? null : total(labels.correct) / targetCount,
      macroF1: scores.length === 0 ? null : scores.reduce((sum, score) => sum + score, 0) / scores.length,
    };
  });
}
