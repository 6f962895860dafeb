/** Metrics for people. */
import { type MetricName, type Metrics, metricFacts, metricNames, metricText } from '../../shared/training/metrics.ts';

/** `accuracy 91.2 %, macro-F1 90.8 %, AUROC 0.971, loss 0.312 on 500 rows`; `first`, where given, stands first. */
export function metricsText(metrics: Metrics, first?: MetricName): string {
  const names = first === undefined ? metricNames : [first, ...metricNames.filter((name) => name !== first)];
  const parts = names.flatMap((name) =>
    metrics[name] === null ? [] : [`${metricFacts[name].title} ${metricText(name, metrics[name])}`],
  );
  return `${parts.join(', ')} on ${metrics.exampleCount} rows`;
}
