/**
 * Metrics from counts that add up over sites.
 *
 * Per label only three counts are kept (targets with it, predicted as it, and both): they give accuracy and F1 exactly and disclose less than
 * a whole confusion matrix. AUROC is computed from histograms of log-odds, by one site and by a federation alike: scores within one bin count
 * as tied, so the result differs from the unbinned one by at most half the share of (positive, negative) pairs that fall into one bin. The
 * calibration error is that of 15 bins of equal width.
 */
import type { CalibrationCounts, EvaluationCounts, NameCounts, ScoreHistogram } from './counts.ts';

/** All metrics in the order in which they are shown. */
export const metricNames = [
  'accuracy',
  'macroF1',
  'microF1',
  'entityF1',
  'auroc',
  'perplexity',
  'loss',
  'calibrationError',
  'brier',
] as const;

/** Name of a metric, as JSON has it. */
export type MetricName = (typeof metricNames)[number];

/** Metrics that every task has. */
type CommonMetric = 'accuracy' | 'loss' | 'calibrationError' | 'brier';

/** Metrics of some rows; null where the task has no such metric, or the rows do not define it. */
export type Metrics = { readonly exampleCount: number } & { readonly [Name in CommonMetric]: number } & {
  readonly [Name in Exclude<MetricName, CommonMetric>]: number | null;
};

/** What a metric is called, which direction is better, and whether it is a share. */
export interface MetricFacts {
  /** Within a sentence. */
  readonly title: string;
  readonly higherIsBetter: boolean;
  /** Shown in percent. */
  readonly isShare: boolean;
}

/** Facts of every metric. */
export const metricFacts: Readonly<Record<MetricName, MetricFacts>> = {
  accuracy: { title: 'accuracy', higherIsBetter: true, isShare: true },
  macroF1: { title: 'macro-F1', higherIsBetter: true, isShare: true },
  microF1: { title: 'micro-F1', higherIsBetter: true, isShare: true },
  entityF1: { title: 'entity F1', higherIsBetter: true, isShare: true },
  auroc: { title: 'AUROC', higherIsBetter: true, isShare: false },
  perplexity: { title: 'perplexity', higherIsBetter: false, isShare: false },
  loss: { title: 'loss', higherIsBetter: false, isShare: false },
  calibrationError: { title: 'calibration error', higherIsBetter: false, isShare: false },
  brier: { title: 'Brier score', higherIsBetter: false, isShare: false },
};

/** Metrics that say how good predictions are; the others say how far their probabilities can be trusted. */
export const headlineMetrics = metricNames.filter((name) => name !== 'calibrationError' && name !== 'brier');

/** Digits of a metric that is no share: perplexities are large, the rest is near 1. */
const digitsOf = (name: MetricName): number => (name === 'perplexity' ? 2 : 3);

/** A value for people: `81.3 %` for shares, else `0.312`, and a dash for none. */
export function metricText(name: MetricName, value: number | null): string {
  if (value === null) return '–';
  return metricFacts[name].isShare ? `${(100 * value).toFixed(1)} %` : value.toFixed(digitsOf(name));
}

/**
 * Metrics of counted rows.
 * - `loss`: mean over targets, in nats; its exponential is the perplexity, which only language models have.
 * - `accuracy`: targets that are right; a row with several labels only if all of them are.
 * - `macroF1`: mean F1 over the names (entity types where there are any, else labels) that occur in truth or prediction.
 * - `microF1`: F1 over all decisions on labels, where they do not exclude each other (where they do, it is the accuracy).
 * - `entityF1`: F1 over all entities (Tjong Kim Sang and De Meulder 2003).
 * - `auroc`: mean over the labels of which both sides occur.
 */
export function metricsOf(counts: EvaluationCounts, names: readonly MetricName[]): Metrics {
  const { exampleCount, labels, entities, histograms, calibration } = counts;
  const targetCount = Math.max(1, counts.targetCount);
  const loss = counts.lossSum / targetCount;
  const known: Readonly<Record<MetricName, () => number | null>> = {
    loss: () => loss,
    // Finite whatever a site reports: what is published is canonical, and canonical numbers are finite.
    perplexity: () => Math.min(Math.exp(loss), Number.MAX_VALUE),
    accuracy: () => counts.rightCount / targetCount,
    macroF1: () => macroF1(entities.truth.length > 0 ? entities : labels),
    microF1: () => microF1(labels),
    entityF1: () => microF1(entities),
    auroc: () => meanAreaUnderCurve(histograms),
    calibrationError: () => calibrationError(calibration),
    brier: () => counts.squaredErrorSum / targetCount,
  };
  const values = metricNames.map((name) => [name, names.includes(name) ? known[name]() : null]);
  return { exampleCount, ...Object.fromEntries(values) } as Metrics;
}

/** Whether `left` is better than `right`; a metric that is not there is worse than any other. */
export function isBetter(name: MetricName, left: number | null, right: number | null): boolean {
  if (left === null || right === null) return left !== null && right === null;
  return metricFacts[name].higherIsBetter ? left > right : left < right;
}

/** F1 of one name of {@link NameCounts}; null where it neither occurs nor is predicted. */
export function f1Of({ truth, predicted, correct }: NameCounts, index: number): number | null {
  const occurrences = truth[index]! + predicted[index]!;
  return occurrences === 0 ? null : (2 * correct[index]!) / occurrences;
}

function macroF1(counts: NameCounts): number {
  return meanOf(counts.truth.map((_, index) => f1Of(counts, index))) ?? 0;
}

function microF1({ truth, predicted, correct }: NameCounts): number {
  const occurrences = total(truth) + total(predicted);
  return occurrences === 0 ? 0 : (2 * total(correct)) / occurrences;
}

function meanAreaUnderCurve(histograms: readonly ScoreHistogram[]): number | null {
  return meanOf(histograms.map(areaUnderCurve));
}

/** Share of (positive, negative) pairs in which the positive scores higher, ties counting half (Hanley and McNeil 1982). */
function areaUnderCurve({ positive, negative }: ScoreHistogram): number | null {
  let negativesBelow = 0;
  let positiveCount = 0;
  let wins = 0;
  for (const [bin, positives] of positive.entries()) {
    wins += positives * (negativesBelow + negative[bin]! / 2);
    negativesBelow += negative[bin]!;
    positiveCount += positives;
  }
  return positiveCount === 0 || negativesBelow === 0 ? null : wins / (positiveCount * negativesBelow);
}

/** Mean distance of probability and share of right decisions, bin by bin, weighted by decisions (Guo 2017, equation 3). */
function calibrationError({ decisions, right, probabilitySums }: CalibrationCounts): number {
  const distances = decisions.map((_, bin) => Math.abs(right[bin]! - probabilitySums[bin]!));
  return total(distances) / Math.max(1, total(decisions));
}

function meanOf(values: readonly (number | null)[]): number | null {
  const numbers = values.filter((value) => value !== null);
  return numbers.length === 0 ? null : total(numbers) / numbers.length;
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
