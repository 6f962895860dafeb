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
  const rowCount = logits.shape[0];
  const targets = oneHot(labels, logits.shape[1]);
  const entropyOf = customGrad((...inputs) => {
    const [scores, save] = inputs as [Tensor2D, (tensors: Tensor[]) => void];
    const logarithms = logSoftmax(scores);
    save([logarithms]);
    return {
      value: neg(mean(sum(mul(logarithms, targets), 1))),
      gradFunc: (upstream: Tensor, saved: Tensor[]) => mul(mul(sub(exp(saved[0]!), targets), 1 / rowCount), upstream),
    };
  });
  return entropyOf(logits) as Scalar;
}
