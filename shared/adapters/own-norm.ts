/** A layer norm that an adapter trains (Ba 2016): y = (x − mean) / √(variance + 1e-5) ∘ gain + bias, as PyTorch's with its default. */
import { add, mean, mul, rsqrt, square, sub, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import type { TensorSpecification } from '../update/layout.ts';
import type { AdapterContext } from './method.ts';
import { tensorOf } from './named-tensor.ts';

const epsilon = 1e-5;

/** Gain and bias `[size]` of a norm named `name`; they start at 1 and 0. */
export function ownNormTensors(name: string, size: number): TensorSpecification[] {
  return ['gain', 'bias'].map((part) => {
    return { name: `${name}.${part}`, shape: [size], aggregationClass: 'mean', decays: false };
  });
}

/** Norm of the rows of `input` `[rows, size]`. */
export function ownNorm(input: Tensor2D, name: string, context: Pick<AdapterContext, 'parameters'>): Tensor2D {
  const centred = sub(input, mean(input, 1, true));
  const normalised = mul(centred, rsqrt(add(mean(square(centred), 1, true), epsilon)));
  return add(mul(normalised, tensorOf<Tensor1D>(context, `${name}.gain`)), tensorOf<Tensor1D>(context, `${name}.bias`));
}
