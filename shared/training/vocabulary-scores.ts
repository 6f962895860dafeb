/**
 * Cross-entropy and counts over a vocabulary. Only scored states reach the output matrix, some at a time, so that the scores of a batch never
 * stand in memory as a whole.
 */
import {
  argMax,
  cast,
  div,
  mul,
  type Scalar,
  slice,
  softmax,
  square,
  stack,
  sub,
  sum,
  type Tensor2D,
  tidy,
} from '@tensorflow/tfjs-core';
import { crossEntropy, extremesOf, ownScores } from '../compute/cross-entropy.ts';
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
      return mul(crossEntropy(output.scoresOf(rows), some), some.length);
    },
  });
  return div(total, targets.length);
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
