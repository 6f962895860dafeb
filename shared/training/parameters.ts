/** Between the flat parameter vector and the tensors of one forward pass. */
import { reshape, split, type Tensor, type Tensor1D, tidy } from '@tensorflow/tfjs-core';
import type { AdapterLayout } from '../update/layout.ts';

/** The tensors of `flat` `[dim]` in layout order, shaped; the caller disposes them. */
export function splitFlat(flat: Tensor1D, layout: AdapterLayout): Tensor[] {
  return tidy(() => {
    const parts = split(
      flat,
      layout.tensors.map(({ size }) => size),
    );
    return layout.tensors.map(({ shape }, index) => reshape(parts[index]!, [...shape]));
  });
}

/** Names the tensors of {@link splitFlat}. */
export function nameTensors(tensors: readonly Tensor[], layout: AdapterLayout): Map<string, Tensor> {
  return new Map(layout.tensors.map(({ name }, index) => [name, tensors[index]!]));
}
