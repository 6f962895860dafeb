/**
 * Tensors of which no gradient will be asked, though they stand where others are trained: adapters that stay as they are inside a
 * composition. Maps with such weights compute the gradient of their input alone, which saves a third of their work.
 */
import type { Tensor } from '@tensorflow/tfjs-core';

const constants = new WeakSet<Tensor>();

/** Marks a tensor, for as long as it lives. */
export function markConstant(tensor: Tensor): void {
  constants.add(tensor);
}

/** Whether {@link markConstant} was called. */
export function isConstant(tensor: Tensor): boolean {
  return constants.has(tensor);
}
