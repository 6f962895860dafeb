/** Rows of a table of vectors by index, with the gradient of the table. */
import { gather, reshape, scatterND, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';

/**
 * Rows of `table` `[rows, size]` for `indices` `[count]` int32 → `[count, size]`. A row that was read more than once gets the sum of its
 * gradients.
 */
export function trainableRows(table: Tensor2D, indices: Tensor1D): Tensor2D {
  const shape: number[] = [...table.shape];
  return withGradient([table], (from: Tensor2D) => ({
    value: gather(from, indices),
    saved: [indices],
    backward: (upstream: Tensor2D, saved) => [scatterND(reshape(saved[0]!, [-1, 1]), upstream, shape)],
  }));
}
