/** The loss of labels that do not exclude each other, with its gradient written out in place of a dozen small kernels. */
import {
  abs,
  add,
  exp,
  log1p,
  mean,
  mul,
  neg,
  relu,
  type Scalar,
  sigmoid,
  sub,
  type Tensor2D,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';

/**
 * Mean over rows and labels of the binary cross-entropy of log-odds: w y softplus(-x) + (1 - y) softplus(x), with softplus(x) = max(x, 0) +
 * log(1 + exp(-|x|)), which never overflows. `logits` `[rows, labels]`, `labels` the indices of each row's labels, `weights` w by label.
 */
export function binaryCrossEntropy(
  logits: Tensor2D,
  labels: readonly ArrayLike<number>[],
  weights?: readonly number[],
): Scalar {
  const [rowCount, labelCount] = logits.shape;
  return withGradient([logits], (scores: Tensor2D) => {
    const wanted = new Float32Array(rowCount * labelCount);
    const unwanted = new Float32Array(rowCount * labelCount).fill(1);
    for (const [row, own] of labels.entries()) {
      for (let index = 0; index < own.length; index++) {
        const label = own[index]!;
        wanted[row * labelCount + label] = weights?.[label] ?? 1;
        unwanted[row * labelCount + label] = 0;
      }
    }
    const positive = tensor2d(wanted, [rowCount, labelCount]);
    const negative = tensor2d(unwanted, [rowCount, labelCount]);
    const tail = log1p(exp(neg(abs(scores))));
    const losses = add(mul(positive, add(relu(neg(scores)), tail)), mul(negative, add(relu(scores), tail)));
    return {
      value: mean(losses) as Scalar,
      saved: [scores, positive, negative],
      backward: (upstream: Scalar, [kept, keptPositive, keptNegative]) => {
        // w y (σ(x) - 1) + (1 - y) σ(x)
        const slope = sub(mul(add(keptPositive!, keptNegative!), sigmoid(kept!)), keptPositive!);
        return [mul(slope, mul(upstream, 1 / (rowCount * labelCount)))];
      },
    };
  });
}
