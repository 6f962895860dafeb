/** Federated evaluation: sites' counts are judged one by one and then added up, so the metrics are those of the pooled held-out rows. */
import type { Evaluation } from '../../shared/protocol/messages.ts';
import type { EvaluationCounts, Metrics } from '../../shared/training/metrics.ts';
import { mergeCounts, metricsOf } from '../../shared/training/metrics.ts';

/** Metrics over all rows of the reports that disclose something; null when none does. Reports passed `checkEvaluation`. */
export function poolEvaluations(reports: Iterable<Evaluation>, labelCount: number): Metrics | null {
  const disclosed: EvaluationCounts[] = [];
  for (const { metrics, exampleCount } of reports) if (metrics !== null) disclosed.push({ ...metrics, exampleCount });
  return disclosed.length === 0 ? null : metricsOf(mergeCounts(disclosed, labelCount));
}
