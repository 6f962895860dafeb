/**
 * Groups of parameters with learning rates of their own: every tensor that a group names takes the learning rate of the step times the group's
 * factor, and so does its weight decay. LoRA+ (Hayou 2024, section 5) is the group `{ tensors: [layers.*.*.lora.b], learningRateFactor: 16 }`:
 * B moves faster than A, since their best rates grow differently with the width.
 */
import { isBelow } from '../update/federated-layout.ts';
import type { AdapterLayout } from '../update/layout.ts';

/** Tensors that share a learning rate. */
export interface ParameterGroup {
  /** Beginnings of tensor names in whole words, `*` for any word, such as `head` or `layers.*.*.lora.b`. */
  readonly tensors: readonly string[];
  /** Factor of the learning rate, above 0. */
  readonly learningRateFactor: number;
}

/** For every parameter of the flat vector what its tensor asks for times the factor of the first group that names it; null where all are 1. */
export function learningRatesOf(layout: AdapterLayout, groups: readonly ParameterGroup[] = []): Float32Array | null {
  if (groups.length === 0 && layout.tensors.every(({ learningRateFactor = 1 }) => learningRateFactor === 1))
    return null;
  const rates = new Float32Array(layout.dim).fill(1);
  for (const { name, offset, size, learningRateFactor = 1 } of layout.tensors) {
    const group = groups.find(({ tensors }) => tensors.some((pattern) => isBelow(name, pattern)));
    rates.fill(learningRateFactor * (group?.learningRateFactor ?? 1), offset, offset + size);
  }
  return rates;
}
