/** Losses with their gradients written out, in place of a dozen small kernels. */
import {
  abs,
  add,
  exp,
  log1p,
  logSoftmax,
  mean,
  mul,
  neg,
  relu,
  type Scalar,
  sigmoid,
  sub,
  sum,
  type Tensor2D,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';

/**
 * Mean over the rows of -weight[label] log softmax(logits)[label]; `logits` `[rows, labels]`, `labels` one index per row. The sum is divided by
 * the number of rows, not by the sum of their weights: else the weights would cancel in a batch, or at a site, of one label.
 */
export function crossEntropy(logits: Tensor2D, labels: ArrayLike<number>, weights?: readonly number[]): Scalar {
  const [rowCount, labelCount] = logits.shape;
  return withGradient([logits], (scores: Tensor2D) => {
    // Written here and not by the library's one-hot operation, whose WebAssembly kernel fills float tensors with integers.
    const wanted = new Float32Array(rowCount * labelCount);
    for (let row = 0; row < rowCount; row++) wanted[row * labelCount + labels[row]!] = weights?.[labels[row]!] ?? 1;
    const targets = tensor2d(wanted, [rowCount, labelCount]);
    const logarithms = logSoftmax(scores);
    return {
      value: neg(mean(sum(mul(logarithms, targets), 1))) as Scalar,
      saved: [logarithms, targets],
      backward: (upstream: Scalar, [keptLogarithms, keptTargets]) => {
        const softmax = exp(keptLogarithms!);
        const expected = weights === undefined ? softmax : mul(softmax, sum(keptTargets!, 1, true));
        return [mul(sub(expected, keptTargets!), mul(upstream, 1 / rowCount))];
      },
    };
  });
}

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
