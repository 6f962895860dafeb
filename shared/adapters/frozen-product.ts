/** Products with matrices that belong to an adapter and are not trained. */
import { matMul, type Tensor2D, transpose } from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';

/** `input matrix`, `[rows, in] × [in, out]`; only `input` gets a gradient. */
export function frozenProduct(input: Tensor2D, matrix: Tensor2D): Tensor2D {
  return withGradient([input], (rows: Tensor2D) => ({
    value: matMul(rows, matrix),
    saved: [matrix],
    backward: (upstream: Tensor2D, saved) => [matMul(upstream, transpose(saved[0] as Tensor2D))],
  }));
}
