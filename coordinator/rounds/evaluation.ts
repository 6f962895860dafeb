/** Federated evaluation: sites' counts are judged one by one and then added up, so the metrics are those of the pooled held-out rows. */
import type { Evaluation } from '../../shared/protocol/messages.ts';
import { type EvaluationCounts, mergeCounts } from '../../shared/training/counts.ts';
import { type Metrics, metricsOf } from '../../shared/training/metrics.ts';
import type { BoundTask } from '../../shared/training/tasks/task.ts';

/** Metrics over all rows of the reports that disclose something; null when none does. Reports passed `checkEvaluation`. */
export function poolEvaluations(
  reports: Iterable<Evaluation>,
  { shape, metrics: names }: Pick<BoundTask, 'shape' | 'metrics'>,
): Metrics | null {
  const disclosed: EvaluationCounts[] = [];
  for (const { metrics, exampleCount } of reports) if (metrics !== null) disclosed.push({ ...metrics, exampleCount });
  return disclosed.length === 0 ? null : metricsOf(mergeCounts(disclosed, shape), names);
}
