/** Softmax cross-entropy with its gradient written out: (softmax - target) / rows, in place of a dozen small kernels. */
import {
  customGrad,
  exp,
  logSoftmax,
  mean,
  mul,
  neg,
  oneHot,
  type Scalar,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from '@tensorflow/tfjs-core';

/** Mean over the rows of -log softmax(logits)[label]; `logits` `[rows, labels]`, `labels` int32 `[rows]`. */
export function crossEntropy(logits: Tensor2D, labels: Tensor1D): Scalar {
  const [rowCount, labelCount] = logits.shape;
  const entropyOf = customGrad((...inputs) => {
    const [scores, save] = inputs as [Tensor2D, (tensors: Tensor[]) => void];
    const targets = oneHot(labels, labelCount, 1, 0, 'float32');
    const logarithms = logSoftmax(scores);
    // What the gradient reads has to be saved: everything else ends with the forward pass.
    save([logarithms, targets]);
    return {
      value: neg(mean(sum(mul(logarithms, targets), 1))),
      gradFunc: (upstream: Tensor, saved: Tensor[]) => {
        const [logProbabilities, wanted] = saved as [Tensor2D, Tensor2D];
        return mul(sub(exp(logProbabilities), wanted), mul(upstream, 1 / rowCount));
      },
    };
  });
  return entropyOf(logits) as Scalar;
}
