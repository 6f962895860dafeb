/** Softmax cross-entropy with its gradient written out: (softmax - target) / rows, in place of a dozen small kernels. */
import {
  exp,
  logSoftmax,
  mean,
  mul,
  neg,
  oneHot,
  type Scalar,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
} from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';

/** Mean over the rows of -log softmax(logits)[label]; `logits` `[rows, labels]`, `labels` int32 `[rows]`. */
export function crossEntropy(logits: Tensor2D, labels: Tensor1D): Scalar {
  const [rowCount, labelCount] = logits.shape;
  return withGradient([logits], (scores: Tensor2D) => {
    const targets = oneHot(labels, labelCount, 1, 0, 'float32');
    const logarithms = logSoftmax(scores);
    return {
      value: neg(mean(sum(mul(logarithms, targets), 1))) as Scalar,
      saved: [logarithms, targets],
      backward: (upstream: Scalar, [logProbabilities, wanted]) => [
        mul(sub(exp(logProbabilities!), wanted!), mul(upstream, 1 / rowCount)),
      ],
    };
  });
}
