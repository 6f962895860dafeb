/** Federated evaluation: sites' counts are judged one by one and then added up, so the metrics are those of the pooled held-out rows. */
import { checkEvaluation } from '../../shared/protocol/check-evaluation.ts';
import type { Evaluation } from '../../shared/protocol/messages.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { EvaluationCounts, Metrics } from '../../shared/training/metrics.ts';
import { mergeCounts, metricsOf, scoreBinCount } from '../../shared/training/metrics.ts';

/** Judges what a site reports: counts that agree with each other and can be added to those of other sites. A site may disclose nothing. */
export function judgeEvaluation(evaluation: Evaluation, labelCount: number): Violation | null {
  const { metrics } = evaluation;
  const contradiction = checkEvaluation(evaluation, labelCount);
  if (contradiction !== null || metrics === null) return contradiction;
  if ((metrics.scores !== null) !== (labelCount === 2))
    return violation('bad-metrics', 'score histograms come with two labels, and only then');
  if (metrics.scores === null) return null;
  const { positive, negative } = metrics.scores;
  if (positive.length === scoreBinCount && negative.length === scoreBinCount) return null;
  return violation(
    'bad-metrics',
    `expected ${scoreBinCount} bins of scores, found ${positive.length} and ${negative.length}`,
  );
}

/** Metrics over all rows of the reports that disclose something; null when none does. */
export function poolEvaluations(reports: Iterable<Evaluation>, labelCount: number): Metrics | null {
  const disclosed: EvaluationCounts[] = [];
  for (const { metrics, exampleCount } of reports) if (metrics !== null) disclosed.push({ ...metrics, exampleCount });
  return disclosed.length === 0 ? null : metricsOf(mergeCounts(disclosed, labelCount));
}
