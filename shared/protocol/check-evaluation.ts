/** Whether the counts of a site's evaluation can be true at all: what contradicts itself never enters pooled metrics. */
import { scoreBinCount } from '../training/metrics.ts';
import type { Evaluation } from './bodies.ts';
import { type Violation, violation } from './violations.ts';

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

/** The first contradiction as `bad-metrics`, or null. Undisclosed metrics contradict nothing. `labelCount` is the plan's. */
export function checkEvaluation({ exampleCount, metrics }: Evaluation, labelCount: number): Violation | null {
  if (metrics === null) return null;
  const { lossSum, truth, predicted, correct, scores } = metrics;
  const bad = (detail: string) => violation('bad-metrics', detail);
  for (const [name, counts] of Object.entries({ truth, predicted, correct })) {
    if (counts.length !== labelCount) return bad(`${name} has ${counts.length} entries, the plan ${labelCount} labels`);
  }
  if (total(truth) !== exampleCount || total(predicted) !== exampleCount) {
    return bad(
      `truth and prediction must each count ${exampleCount} rows, found ${total(truth)} and ${total(predicted)}`,
    );
  }
  const impossible = correct.findIndex((count, label) => count > Math.min(truth[label]!, predicted[label]!));
  if (impossible !== -1) return bad(`more rows of label ${impossible} are correct than occur or were predicted`);
  if (lossSum < 0) return bad('the sum of losses is negative');
  if ((scores !== null) !== (labelCount === 2))
    return bad(`score histograms come with two labels and only then, the plan has ${labelCount}`);
  if (scores === null) return null;
  if (scores.positive.length !== scoreBinCount || scores.negative.length !== scoreBinCount) {
    return bad(
      `a score histogram has ${scoreBinCount} bins, found ${scores.positive.length} and ${scores.negative.length}`,
    );
  }
  const isWhole = total(scores.positive) === truth[1] && total(scores.negative) === truth[0];
  return isWhole ? null : bad('the score histograms do not count the rows of their labels');
}
