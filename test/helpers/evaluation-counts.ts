/** Counts of evaluations that are possible: of a classification with two labels, all of whose rows are of the first. */
import { type EvaluationCounts, startCounts } from '../../shared/training/counts.ts';
import { countExclusive } from '../../shared/training/decisions.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';

/** A classification with `count` labels. */
export const classificationOf = (count = 2) =>
  bindTask({
    kind: 'classification',
    labels: Array.from({ length: count }, (_, index) => `label ${index}`),
    pooling: 'mean',
    lengthMax: 8,
  });

/** Counts of `total` rows of label 0, `right` of them predicted so, with this sum of losses. */
export function binaryCounts(right: number, total: number, lossSum = total / 2): EvaluationCounts {
  const counts = startCounts(classificationOf().shape);
  const scores = Array.from({ length: total }, (_, row) => (row < right ? [1, 0] : [0, 1])).flat();
  countExclusive(counts, scores, new Int32Array(total), 2);
  return { ...counts, exampleCount: total, lossSum };
}
