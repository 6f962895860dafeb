/** Counting of scores in float64: what labels that exclude each other, and labels that do not, come to. */
import { assert } from '../core/assert.ts';
import { type CountsInWork, countDecision, countScore } from './counts.ts';

/** The label with the highest score of one target; ties go to the lower label. `scores` `[targets * labelCount]`. */
export function bestLabel(scores: ArrayLike<number>, start: number, labelCount: number): number {
  let best = 0;
  for (let label = 1; label < labelCount; label++) if (scores[start + label]! > scores[start + best]!) best = label;
  return best;
}

/**
 * Adds targets with exactly one label each to `counts`: cross-entropy, labels, calibration, and with two labels the histogram of the second.
 * `scores` `[targets * labelCount]`, `targets` label indices. Mutates `counts`, but for `exampleCount`.
 */
export function countExclusive(
  counts: CountsInWork,
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
  labelCount: number,
): void {
  assert(
    scores.length === targets.length * labelCount,
    `${scores.length} scores for ${targets.length} rows of ${labelCount} labels`,
  );
  const [histogram] = counts.histograms;
  for (let row = 0; row < targets.length; row++) {
    const target = targets[row]!;
    const start = row * labelCount;
    const best = bestLabel(scores, start, labelCount);
    const highest = scores[start + best]!;
    let sum = 0;
    let squares = 0;
    for (let label = 0; label < labelCount; label++) {
      const part = Math.exp(scores[start + label]! - highest);
      sum += part;
      squares += part * part;
    }
    counts.lossSum += Math.log(sum) + highest - scores[start + target]!;
    const own = Math.exp(scores[start + target]! - highest) / sum;
    counts.squaredErrorSum += Math.max(0, squares / (sum * sum) - 2 * own + 1);
    counts.labels.truth[target]!++;
    counts.labels.predicted[best]!++;
    const isRight = best === target;
    if (isRight) {
      counts.labels.correct[target]!++;
      counts.rightCount++;
    }
    countDecision(counts, 1 / sum, isRight);
    if (histogram !== undefined) countScore(histogram, scores[start + 1]! - scores[start]!, target === 1);
  }
  counts.targetCount += targets.length;
}

/**
 * Adds rows with any number of labels to `counts`: binary cross-entropy (mean over labels), labels with probability above a half,
 * calibration of each label's probability, and a histogram for each label that has one. `scores` `[rows * labelCount]` are log-odds,
 * `targets` hold the indices of each row's labels. Mutates `counts`, but for `exampleCount`.
 */
export function countIndependent(
  counts: CountsInWork,
  scores: ArrayLike<number>,
  targets: readonly Int32Array[],
  labelCount: number,
): void {
  assert(
    scores.length === targets.length * labelCount,
    `${scores.length} scores for ${targets.length} rows of ${labelCount} labels`,
  );
  for (const [row, own] of targets.entries()) {
    let loss = 0;
    let squares = 0;
    let isRightAsAWhole = true;
    for (let label = 0; label < labelCount; label++) {
      const logOdds = scores[row * labelCount + label]!;
      const isTrue = own.includes(label);
      const isPredicted = logOdds > 0;
      const probability = 1 / (1 + Math.exp(-logOdds));
      // max(x, 0) - x y + log(1 + exp(-|x|)) never overflows.
      loss += Math.max(logOdds, 0) - (isTrue ? logOdds : 0) + Math.log1p(Math.exp(-Math.abs(logOdds)));
      squares += (probability - (isTrue ? 1 : 0)) ** 2;
      if (isTrue) counts.labels.truth[label]!++;
      if (isPredicted) counts.labels.predicted[label]!++;
      if (isTrue && isPredicted) counts.labels.correct[label]!++;
      isRightAsAWhole &&= isTrue === isPredicted;
      countDecision(counts, probability, isTrue);
      const histogram = counts.histograms[label];
      if (histogram !== undefined) countScore(histogram, logOdds, isTrue);
    }
    counts.lossSum += loss / labelCount;
    counts.squaredErrorSum += squares / labelCount;
    if (isRightAsAWhole) counts.rightCount++;
  }
  counts.targetCount += targets.length;
}
