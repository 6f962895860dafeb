/** Softmax cross-entropy with its gradient written out: (softmax - target) / rows, in place of a dozen small kernels. */
import { exp, logSoftmax, mean, mul, neg, type Scalar, sub, sum, type Tensor2D, tensor2d } from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';

/** Mean over the rows of -log softmax(logits)[label]; `logits` `[rows, labels]`, `labels` one index per row. */
export function crossEntropy(logits: Tensor2D, labels: ArrayLike<number>): Scalar {
  const [rowCount, labelCount] = logits.shape;
  return withGradient([logits], (scores: Tensor2D) => {
    // Written here and not by the library's one-hot operation, whose WebAssembly kernel fills float tensors with integers.
    const wanted = new Float32Array(rowCount * labelCount);
    for (let row = 0; row < rowCount; row++) wanted[row * labelCount + labels[row]!] = 1;
    const targets = tensor2d(wanted, [rowCount, labelCount]);
    const logarithms = logSoftmax(scores);
    return {
      value: neg(mean(sum(mul(logarithms, targets), 1))) as Scalar,
      saved: [logarithms, targets],
      backward: (upstream: Scalar, [keptLogarithms, keptTargets]) => [
        mul(sub(exp(keptLogarithms!), keptTargets!), mul(upstream, 1 / rowCount)),
      ],
    };
  });
}
