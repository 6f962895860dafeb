/**
 * Cross-entropy and counts over a vocabulary. Only scored states reach the output matrix, some at a time, so that the scores of a batch never
 * stand in memory as a whole.
 */
import {
  argMax,
  cast,
  div,
  equal,
  exp,
  gather,
  logSumExp,
  max,
  mean,
  mul,
  range,
  reshape,
  type Scalar,
  slice,
  square,
  stack,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
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

/** Mean over the rows of -log softmax(scores)[target]; `scores` `[rows, vocabulary]`. Keeps the scores alone for its gradient. */
export function vocabularyCrossEntropy(scores: Tensor2D, targets: readonly number[]): Scalar {
  const [rowCount, vocabularySize] = scores.shape;
  return withGradient([scores], (logits: Tensor2D) => {
    const normaliser = logSumExp(logits, 1, true);
    const own = ownScores(logits, targets);
    return {
      value: mean(sub(reshape(normaliser, [rowCount]), own)) as Scalar,
      saved: [logits, normaliser],
      backward: (upstream: Scalar, [kept, keptNormaliser]) => {
        const softmax = exp(sub(kept!, keptNormaliser!));
        const wanted = equal(
          reshape(tensor1d([...targets], 'int32'), [rowCount, 1]),
          reshape(range(0, vocabularySize, 1, 'int32'), [1, vocabularySize]),
        );
        return [mul(sub(softmax, cast(wanted, 'float32')), mul(upstream, 1 / rowCount))];
      },
    };
  });
}

/** The score of each row's target. */
function ownScores(scores: Tensor2D, targets: readonly number[]): Tensor1D {
  const vocabularySize = scores.shape[1];
  const places = targets.map((target, row) => row * vocabularySize + target);
  return gather(reshape(scores, [-1]), tensor1d(places, 'int32'));
}

/**
 * Adds scored states `[rows, hidden]` to `counts`: loss, hits, calibration. Mutates `counts`, but for `exampleCount`.
 */
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
      const logarithms = sub(scores, logSumExp(scores, 1, true)) as Tensor2D;
      const squares = sum(square(exp(logarithms)), 1);
      const best = cast(argMax(logarithms, 1), 'float32');
      return stack([ownScores(logarithms, some), max(logarithms, 1), squares, best]);
    });
    const values = await summary.data();
    summary.dispose();
    for (const [row, target] of some.entries()) {
      const valueAt = (line: number): number => values[line * some.length + row]!;
      const isRight = valueAt(3) === target;
      counts.lossSum += Math.max(0, -valueAt(0));
      counts.squaredErrorSum += Math.max(0, valueAt(2) - 2 * Math.exp(valueAt(0)) + 1);
      if (isRight) counts.rightCount++;
      countDecision(counts, Math.min(1, Math.exp(valueAt(1))), isRight);
    }
    counts.targetCount += some.length;
  }
}
