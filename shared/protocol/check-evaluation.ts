/** Whether the counts of a site's evaluation can be true at all: what contradicts itself never enters pooled metrics. */
import { type CountShape, calibrationBinCount, type NameCounts, scoreBinCount } from '../training/counts.ts';
import type { Evaluation } from './bodies.ts';
import { type Violation, violation } from './violations.ts';

/** Loss of one target, in nats: beyond any that float32 scores of a network that still counts can give, and sums stay finite. */
const targetLossMax = 1e9;

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

/** The first contradiction as `bad-metrics`, or null. Undisclosed metrics contradict nothing. `shape` is that of the plan's task. */
export function checkEvaluation(
  { exampleCount, metrics }: Pick<Evaluation, 'exampleCount' | 'metrics'>,
  shape: CountShape,
): Violation | null {
  if (metrics === null) return null;
  const fault =
    faultOfTargets({ exampleCount, ...metrics }, shape) ??
    faultOfNames('label', metrics.labels, shape.labelCount) ??
    faultOfNames('entity type', metrics.entities, shape.entityCount) ??
    faultOfLabels({ exampleCount, ...metrics }, shape) ??
    faultOfHistograms({ exampleCount, ...metrics }, shape) ??
    faultOfCalibration(metrics, shape);
  return fault === null ? null : violation('bad-metrics', fault);
}

type Reported = NonNullable<Evaluation['metrics']>;
type ReportedRows = Reported & Pick<Evaluation, 'exampleCount'>;

function faultOfTargets(
  { exampleCount, targetCount, rightCount, lossSum, squaredErrorSum }: ReportedRows,
  { isTargetRow }: CountShape,
): string | null {
  if (isTargetRow && targetCount !== exampleCount)
    return `every row is one target in this task, found ${targetCount} targets of ${exampleCount} rows`;
  if (targetCount < exampleCount) return `every row has a target, found ${targetCount} of ${exampleCount} rows`;
  if (rightCount > targetCount) return `${rightCount} of ${targetCount} targets cannot be right`;
  if (lossSum < 0) return 'the sum of losses is negative';
  if (lossSum > targetLossMax * targetCount) return `the loss of a target is at most ${targetLossMax}`;
  // Rounding may add a little to the largest possible sum.
  const isPossible = squaredErrorSum >= 0 && squaredErrorSum <= 2.001 * targetCount;
  return isPossible ? null : 'the squared error of a target is from 0 to 2';
}

function faultOfNames(what: string, { truth, predicted, correct }: NameCounts, nameCount: number): string | null {
  for (const [name, counts] of Object.entries({ truth, predicted, correct }))
    if (counts.length !== nameCount)
      return `${name} has ${counts.length} entries, the plan's task ${nameCount} (one per ${what})`;
  const impossible = correct.findIndex((count, index) => count > Math.min(truth[index]!, predicted[index]!));
  return impossible === -1 ? null : `more of ${what} ${impossible} is correct than occurs or was predicted`;
}

function faultOfLabels(
  { exampleCount, targetCount, rightCount, labels }: ReportedRows,
  { labelCount, isExclusive }: CountShape,
): string | null {
  if (labelCount === 0) return null;
  if (!isExclusive) {
    const most = Math.max(...labels.truth, ...labels.predicted);
    return most > exampleCount ? `a label has at most ${exampleCount} rows, found ${most}` : null;
  }
  const [truth, predicted] = [total(labels.truth), total(labels.predicted)];
  if (truth !== targetCount || predicted !== targetCount)
    return `truth and prediction must each count ${targetCount} targets, found ${truth} and ${predicted}`;
  return total(labels.correct) === rightCount ? null : 'the right targets are not those of all labels';
}

function faultOfHistograms(
  { exampleCount, labels, histograms }: ReportedRows,
  { histogramCount, labelCount }: CountShape,
): string | null {
  if (histograms.length !== histogramCount)
    return `the plan's task has ${histogramCount} score histograms, found ${histograms.length}`;
  for (const [index, { positive, negative }] of histograms.entries()) {
    if (positive.length !== scoreBinCount || negative.length !== scoreBinCount)
      return `a score histogram has ${scoreBinCount} bins, found ${positive.length} and ${negative.length}`;
    // One histogram for two labels is that of the second.
    const own = labels.truth[histogramCount === labelCount ? index : 1]!;
    if (total(positive) !== own || total(negative) !== exampleCount - own)
      return 'the score histograms do not count the rows of their labels';
  }
  return null;
}

function faultOfCalibration({ targetCount, calibration }: Reported, { decisionsPerTarget }: CountShape): string | null {
  const { decisions, right, probabilitySums } = calibration;
  for (const [name, counts] of Object.entries(calibration))
    if (counts.length !== calibrationBinCount)
      return `${name} has ${counts.length} bins, expected ${calibrationBinCount}`;
  if (total(decisions) !== targetCount * decisionsPerTarget)
    return `there are ${targetCount * decisionsPerTarget} decisions, the bins count ${total(decisions)}`;
  const isPossible = decisions.every((count, bin) => {
    const sum = probabilitySums[bin]!;
    return right[bin]! <= count && sum >= 0 && sum <= count * 1.001;
  });
  return isPossible ? null : 'a bin has more right decisions or more probability than decisions';
}
