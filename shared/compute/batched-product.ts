/** Many small matrix products at once. */
import { engine, gather, getBackend, getKernel, matMul, type Tensor, type Tensor3D } from '@tensorflow/tfjs-core';
import { batchedProductKernel } from './wasm-kernels.ts';

/** Which matrices of a stack take part, by index, in order; absent means all. */
export type Selection = readonly number[] | undefined;

/**
 * Products of pairs: `a` `[*, m, k]` and `b` `[*, k, n]` → `[pairs, m, n]`, without a copy of what is selected.
 * It has no gradient: for use inside operations that bring their own.
 */
export function batchedProduct(a: Tensor3D, b: Tensor3D, select: { a?: Selection; b?: Selection } = {}): Tensor3D {
  if (getKernel(batchedProductKernel, getBackend()) === undefined)
    return matMul(selected(a, select.a), selected(b, select.b));
  const left = select.a ?? indices(a.shape[0]);
  const right = select.b ?? indices(b.shape[0]);
  return engine().runKernel(
    batchedProductKernel,
    { a, b },
    { left: [...left], right: [...right] },
  ) as Tensor as Tensor3D;
}

function selected(stack: Tensor3D, selection: Selection): Tensor3D {
  return selection === undefined ? stack : gather(stack, [...selection]);
}

function indices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
