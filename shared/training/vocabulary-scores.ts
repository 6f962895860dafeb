/**
 * Cross-entropy and counts over a vocabulary. Only scored states reach the output matrix, some at a time, so that the scores of a batch never
 * stand in memory as a whole. The logarithm of the sum of exponentials comes from the softmax, whose kernel back ends have: with the largest
 * score m and its probability p it is m − log p, and p is never small.
 */
import {
  argMax,
  cast,
  div,
  gather,
  log,
  max,
  mean,
  mul,
  reshape,
  type Scalar,
  slice,
  softmax,
  square,
  stack,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
} from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';
import { sumOverRows } from '../compute/gradient-aside.ts';
import { type CountsInWork, countDecision } from './counts.ts';

/** Scores that are computed at once: 16 MB of float32. */
const scoresPerPass = 2 ** 22;

/** How states become scores over a vocabulary. */
export interface VocabularyOutput {
  /** `[rows, hidden]` → `[rows, vocabulary]`. */
  readonly scoresOf: (states: Tensor2D) => Tensor2D;
  readonly vocabularySize: number;
}

const rowsAtOnce = ({ vocabularySize }: VocabularyOutput): number =>
  Math.max(1, Math.floor(scoresPerPass / vocabularySize));

/** Mean cross-entropy of `states` `[rows, hidden]`, some rows at a time. Nothing that is trained may enter `scoresOf` but the states. */
export function frozenVocabularyLoss(states: Tensor2D, targets: readonly number[], output: VocabularyOutput): Scalar {
  const rowsMax = rowsAtOnce(output);
  const total = sumOverRows(states, {
    rowsMax,
    lossOf: (rows, start) => {
      const some = targets.slice(start, start + rowsMax);
      return mul(vocabularyCrossEntropy(output.scoresOf(rows), some), some.length);
    },
  });
  return div(total, targets.length);
}

/** Mean over the rows of -log softmax(scores)[target]; `scores` `[rows, vocabulary]`. */
export function vocabularyCrossEntropy(scores: Tensor2D, targets: readonly number[]): Scalar {
  const [rowCount, vocabularySize] = scores.shape;
  return withGradient([scores], (logits: Tensor2D) => {
    const probabilities = softmax(logits);
    const { normaliser } = extremesOf(logits, probabilities);
    return {
      value: mean(sub(normaliser, ownScores(logits, targets))) as Scalar,
      saved: [probabilities],
      backward: (upstream: Scalar, [kept]) => {
        // Written here and not compared on the back end, which takes a hundred times as long.
        const wanted = new Float32Array(rowCount * vocabularySize);
        for (const [row, target] of targets.entries()) wanted[row * vocabularySize + target] = 1;
        return [mul(sub(kept!, tensor2d(wanted, [rowCount, vocabularySize])), mul(upstream, 1 / rowCount))];
      },
    };
  });
}

/** The largest probability of every row, and the logarithm of its sum of exponentials. */
function extremesOf(scores: Tensor2D, probabilities: Tensor2D): { largest: Tensor1D; normaliser: Tensor1D } {
  const largest: Tensor1D = max(probabilities, 1);
  return { largest, normaliser: sub(max(scores, 1), log(largest)) };
}

/** The score of each row's target. */
function ownScores(scores: Tensor2D, targets: readonly number[]): Tensor1D {
  const vocabularySize = scores.shape[1];
  const places = targets.map((target, row) => row * vocabularySize + target);
  return gather(reshape(scores, [-1]), tensor1d(places, 'int32'));
}

/** Adds scored states `[rows, hidden]` to `counts`: loss, hits, calibration. Mutates `counts`, but for `exampleCount`. */
export async function countVocabulary(
  counts: CountsInWork,
  states: Tensor2D,
  targets: readonly number[],
  output: VocabularyOutput,
): Promise<void> {
  const rowsPerPass = rowsAtOnce(output);
  for (let start = 0; start < targets.length; start += rowsPerPass) {
    const some = targets.slice(start, start + rowsPerPass);
    const summary = tidy(() => {
      const scores = output.scoresOf(slice(states, [start, 0], [some.length, states.shape[1]]));
      const probabilities = softmax(scores);
      const { largest, normaliser } = extremesOf(scores, probabilities);
      const best = cast(argMax(scores, 1), 'float32');
      return stack([sub(ownScores(scores, some), normaliser), largest, sum(square(probabilities), 1), best]);
    });
    const values = await summary.data();
    summary.dispose();
    for (const [row, target] of some.entries()) {
      const valueAt = (line: number): number => values[line * some.length + row]!;
      const isRight = valueAt(3) === target;
      counts.lossSum += Math.max(0, -valueAt(0));
      counts.squaredErrorSum += Math.max(0, valueAt(2) - 2 * Math.exp(valueAt(0)) + 1);
      if (isRight) counts.rightCount++;
      countDecision(counts, Math.min(1, valueAt(1)), isRight);
    }
    counts.targetCount += some.length;
  }
}
