/**
 * Evaluation counts as words for a masked sum, and back: the coordinator sees what all sites counted together and nothing of a single one
 * (amendment 10). A number is fixed-point in two words of 24 bits, so that the sums of 128 clients neither wrap nor lose anything.
 */
import { assert } from '../core/assert.ts';
import { type CountShape, type EvaluationCounts, noCounts } from '../training/counts.ts';

/** Numbers of fractional parts, 2^-12; rounded down, so that parts never add up to more than their whole. */
const fraction = 2 ** 12;
const half = 2 ** 24;

/** The numbers of counts in a fixed order; `isWhole` where they are counts. */
function* numbersOf(counts: EvaluationCounts): Generator<{ readonly value: number; readonly isWhole: boolean }> {
  const { exampleCount, targetCount, rightCount, lossSum, squaredErrorSum } = counts;
  const { labels, entities, histograms, calibration } = counts;
  for (const value of [exampleCount, targetCount, rightCount]) yield { value, isWhole: true };
  for (const value of [lossSum, squaredErrorSum]) yield { value, isWhole: false };
  const lists = [labels, entities].flatMap(({ truth, predicted, correct }) => [truth, predicted, correct]);
  const scores = histograms.flatMap(({ positive, negative }) => [positive, negative]);
  for (const list of [...lists, ...scores, calibration.decisions, calibration.right])
    for (const value of list) yield { value, isWhole: true };
  for (const value of calibration.probabilitySums) yield { value, isWhole: false };
}

/** Words of one evaluation. */
export function evaluationWordCount(shape: CountShape): number {
  return 2 * [...numbersOf(noCounts(shape))].length;
}

/** The words of one site's counts. Numbers of 2^36 and above count as the largest below. */
export function encodeEvaluation(counts: EvaluationCounts): Uint32Array {
  const words: number[] = [];
  for (const { value, isWhole } of numbersOf(counts)) {
    assert(value >= 0, 'counts are not negative');
    const fixed = Math.min(isWhole ? value : Math.floor(value * fraction), half ** 2 - 1);
    words.push(fixed % half, Math.floor(fixed / half));
  }
  return Uint32Array.from(words);
}

/** The counts of a sum of words. */
export function decodeEvaluation(words: Uint32Array, shape: CountShape): EvaluationCounts {
  assert(words.length === evaluationWordCount(shape), 'a sum has the words of its shape');
  let place = 0;
  const next = (): number => {
    const value = words[place]! + words[place + 1]! * half;
    place += 2;
    return value;
  };
  const list = (values: readonly number[]): number[] => values.map(() => next());
  const names = ({ truth, predicted, correct }: EvaluationCounts['labels']) => ({
    truth: list(truth),
    predicted: list(predicted),
    correct: list(correct),
  });
  const { labels, entities, histograms, calibration } = noCounts(shape);
  return {
    exampleCount: next(),
    targetCount: next(),
    rightCount: next(),
    lossSum: next() / fraction,
    squaredErrorSum: next() / fraction,
    labels: names(labels),
    entities: names(entities),
    histograms: histograms.map(({ positive, negative }) => ({ positive: list(positive), negative: list(negative) })),
    calibration: {
      decisions: list(calibration.decisions),
      right: list(calibration.right),
      probabilitySums: list(calibration.probabilitySums).map((sum) => sum / fraction),
    },
  };
}
