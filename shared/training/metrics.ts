/**
 * Classification metrics from counts that add up over sites, so that the metrics of a federation are those of the pooled rows, not a mean of
 * means.
 *
 * Per label only three counts are kept (rows with it, rows predicted as it, rows where both hold): they give accuracy and macro-F1 exactly and
 * disclose less than a whole confusion matrix. AUROC is computed from a histogram of log-odds, by one site and by a federation alike: scores
 * within one bin count as tied, so the result differs from the unbinned one by at most half the share of (positive, negative) pairs that
 * fall into one bin.
 */
import { assert } from '../core/assert.ts';

/** Bins of the histogram of log-odds: from -16 to 16 in steps of 1/16, beyond that the outermost bin. */
export const scoreBinCount = 512;
const binsPerUnit = 16;

/** Counts over some rows; `truth`, `predicted` and `correct` have one entry per label. */
export interface EvaluationCounts {
  readonly exampleCount: number;
  /** Sum of the rows' losses. */
  readonly lossSum: number;
  readonly truth: readonly number[];
  readonly predicted: readonly number[];
  readonly correct: readonly number[];
  /** With two labels: rows of label 1 (`positive`) and of label 0 (`negative`) by log-odds of label 1; else null. */
  readonly scores: { readonly positive: readonly number[]; readonly negative: readonly number[] } | null;
}

/** Metrics of some rows. */
export interface Metrics {
  readonly exampleCount: number;
  /** Mean cross-entropy in nats. */
  readonly loss: number;
  /** Share of rows whose highest score is their label's. */
  readonly accuracy: number;
  /** Mean F1 over the labels that occur in truth or prediction. */
  readonly macroF1: number;
  /** Area under the receiver operating characteristic with two labels of which both occur; else null. */
  readonly auroc: number | null;
}

/** Counts of no row. */
export function noCounts(labelCount: number): EvaluationCounts {
  const zeros = (length: number) => Array.from({ length }, () => 0);
  return {
    exampleCount: 0,
    lossSum: 0,
    truth: zeros(labelCount),
    predicted: zeros(labelCount),
    correct: zeros(labelCount),
    scores: labelCount === 2 ? { positive: zeros(scoreBinCount), negative: zeros(scoreBinCount) } : null,
  };
}

/** Counts of rows with scores `logits` `[rows * labelCount]` and label indices `labels`. Ties go to the lower label. */
export function countScores(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  labelCount: number,
): EvaluationCounts {
  assert(
    logits.length === labels.length * labelCount,
    `${logits.length} scores for ${labels.length} rows of ${labelCount} labels`,
  );
  const truth = Array.from({ length: labelCount }, () => 0);
  const predicted = truth.slice();
  const correct = truth.slice();
  const scores = noCounts(labelCount).scores as { positive: number[]; negative: number[] } | null;
  let lossSum = 0;
  for (let row = 0; row < labels.length; row++) {
    const label = labels[row]!;
    const start = row * labelCount;
    let best = 0;
    for (let other = 1; other < labelCount; other++) if (logits[start + other]! > logits[start + best]!) best = other;
    const highest = logits[start + best]!;
    let sum = 0;
    for (let other = 0; other < labelCount; other++) sum += Math.exp(logits[start + other]! - highest);
    lossSum += Math.log(sum) + highest - logits[start + label]!;
    truth[label]!++;
    predicted[best]!++;
    if (best === label) correct[label]!++;
    if (scores !== null) {
      const bins = label === 1 ? scores.positive : scores.negative;
      bins[binOf(logits[start + 1]! - logits[start]!)]!++;
    }
  }
  return { exampleCount: labels.length, lossSum, truth, predicted, correct, scores };
}

function binOf(logOdds: number): number {
  const bin = Math.floor(logOdds * binsPerUnit) + scoreBinCount / 2;
  return Math.min(scoreBinCount - 1, Math.max(0, bin));
}

/** Counts of all rows of all `parts`, which have the same labels. */
export function mergeCounts(parts: readonly EvaluationCounts[], labelCount: number): EvaluationCounts {
  return parts.reduce((left, right) => {
    assert(
      right.truth.length === labelCount,
      `counts of ${right.truth.length} labels cannot join counts of ${labelCount}`,
    );
    return {
      exampleCount: left.exampleCount + right.exampleCount,
      lossSum: left.lossSum + right.lossSum,
      truth: addLists(left.truth, right.truth),
      predicted: addLists(left.predicted, right.predicted),
      correct: addLists(left.correct, right.correct),
      scores:
        left.scores && right.scores
          ? {
              positive: addLists(left.scores.positive, right.scores.positive),
              negative: addLists(left.scores.negative, right.scores.negative),
            }
          : null,
    };
  }, noCounts(labelCount));
}

function addLists(left: readonly number[], right: readonly number[]): number[] {
  return left.map((value, index) => value + right[index]!);
}

/** Metrics of counted rows; of no row, all are 0 and AUROC is null. */
export function metricsOf(counts: EvaluationCounts): Metrics {
  const { exampleCount, lossSum, truth, predicted, correct } = counts;
  const rowCount = Math.max(1, exampleCount);
  let f1Sum = 0;
  let f1Count = 0;
  for (const [label, truthCount] of truth.entries()) {
    const occurrences = truthCount + predicted[label]!;
    if (occurrences === 0) continue;
    f1Sum += (2 * correct[label]!) / occurrences;
    f1Count++;
  }
  return {
    exampleCount,
    loss: lossSum / rowCount,
    accuracy: correct.reduce((sum, count) => sum + count, 0) / rowCount,
    macroF1: f1Count === 0 ? 0 : f1Sum / f1Count,
    auroc: counts.scores === null ? null : areaUnderCurve(counts.scores.positive, counts.scores.negative),
  };
}

/** Share of (positive, negative) pairs in which the positive scores higher, ties counting half (Hanley and McNeil 1982). */
function areaUnderCurve(positive: readonly number[], negative: readonly number[]): number | null {
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
