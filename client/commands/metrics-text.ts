/** Metrics for people. */
import type { Metrics } from '../../shared/training/metrics.ts';

/** `accuracy 91.2 %, macro-F1 90.8 %, loss 0.312, AUROC 0.971 on 500 rows`; AUROC only with two labels. */
export function metricsText({ accuracy, macroF1, loss, auroc, exampleCount }: Metrics): string {
  const parts = [
    `accuracy ${(100 * accuracy).toFixed(1)} %`,
    `macro-F1 ${(100 * macroF1).toFixed(1)} %`,
    `loss ${loss.toFixed(3)}`,
    ...(auroc === null ? [] : [`AUROC ${auroc.toFixed(3)}`]),
  ];
  return `${parts.join(', ')} on ${exampleCount} rows`;
}
