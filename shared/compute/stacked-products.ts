/**
 * Linear maps of several clients side by side: weights `[clients, in, out]` in one tensor, each for its own stretch of the rows, all stretches
 * alike in length and in the order of the clients. One product for all of them instead of one for each. Weights without the first extent are
 * those of one client, and go the ordinary way, so that whoever uses these functions need not know which it has.
 */

import type { Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { add, getBackend, matMul, ones, reshape, type Tensor, transpose } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { batchedProduct } from './batched-product.ts';
import { withGradient } from './custom-gradient.ts';
import { trainableLinear, trainableMatMul } from './products.ts';

/** A matrix, or one of every client. */
export type Stackable = Tensor2D | Tensor3D;

/** The transpose of a matrix, or of every client's. */
export function transposedEach(matrix: Stackable): Stackable {
  return isStack(matrix) ? transpose(matrix, [0, 2, 1]) : transpose(matrix);
}

/** Product `x w` in which both sides may be trained: `x` `[rows, in]`, `w` `[in, out]` or `[clients, in, out]` → `[rows, out]`. */
export function stackableMatMul(x: Tensor2D, w: Stackable): Tensor2D {
  if (!isStack(w)) return trainableMatMul(x, w);
  const [clientCount, inSize, outSize] = w.shape;
  requireStretches(x, clientCount);
  return withGradient([x, w], (input: Tensor2D, weight: Tensor3D) => {
    const stretches: Tensor3D = reshape(input, [clientCount, -1, inSize]);
    return {
      value: reshape(batchedProduct(stretches, weight), [-1, outSize]),
      saved: [input, weight],
      backward: (upstream: Tensor2D, saved) => productGradients(upstream, saved as [Tensor2D, Tensor3D]),
    };
  });
}

/** Linear map `x w + c` likewise: `c` `[out]` or `[clients, out]`. */
export function stackableLinear(x: Tensor2D, w: Stackable, c: Tensor1D | Tensor2D): Tensor2D {
  if (!isStack(w)) return trainableLinear(x, w, c as Tensor1D);
  const [clientCount, inSize, outSize] = w.shape;
  requireStretches(x, clientCount);
  return withGradient([x, w, c as Tensor2D], (input: Tensor2D, weight: Tensor3D, bias: Tensor2D) => {
    const stretches: Tensor3D = reshape(input, [clientCount, -1, inSize]);
    const shifted = add(batchedProduct(stretches, weight), reshape(bias, [clientCount, 1, outSize]));
    return {
      value: reshape(shifted, [-1, outSize]) as Tensor2D,
      saved: [input, weight],
      backward: (upstream: Tensor2D, saved) => {
        const own: Tensor3D = reshape(upstream, [clientCount, -1, outSize]);
        const biasGradient = batchedProduct(ones([clientCount, 1, own.shape[1]]), own);
        return [
          ...productGradients(upstream, saved as [Tensor2D, Tensor3D]),
          reshape(biasGradient, [clientCount, outSize]),
        ];
      },
    };
  });
}

function productGradients(upstream: Tensor2D, [input, weight]: [Tensor2D, Tensor3D]): Tensor[] {
  const [clientCount, inSize, outSize] = weight.shape;
  const own: Tensor3D = reshape(upstream, [clientCount, -1, outSize]);
  const stretches: Tensor3D = reshape(input, [clientCount, -1, inSize]);
  const turned: Tensor3D = transpose(weight, [0, 2, 1]);
  return [reshape(batchedProduct(own, turned), [-1, inSize]), transposedProducts(stretches, own)];
}

/** aᵀ b of every client; only the narrower one is transposed where the back end needs a copy for that (decision 5). */
function transposedProducts(a: Tensor3D, b: Tensor3D): Tensor3D {
  if (getBackend() !== 'wasm') return matMul(a, b, true);
  const turn = (one: Tensor3D): Tensor3D => transpose(one, [0, 2, 1]);
  return a.shape[2] <= b.shape[2] ? batchedProduct(turn(a), b) : turn(batchedProduct(turn(b), a));
}

function isStack(matrix: Stackable): matrix is Tensor3D {
  return matrix.rank === 3;
}

function requireStretches({ shape: [rowCount] }: Tensor2D, clientCount: number): void {
  assert(rowCount % clientCount === 0, `${rowCount} rows are no equal stretches of ${clientCount} clients`);
}
