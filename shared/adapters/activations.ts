/** Non-linearities of adapters under the names that AdapterHub gives them. */
import { mul, relu, sigmoid, type Tensor2D, tanh } from '@tensorflow/tfjs-core';
import { geluErf, geluTanh } from '../compute/gelu.ts';

/**
 * `gelu` is x Φ(x) with the error function and `gelu_new` its approximation by tanh (Hendrycks and Gimpel 2016, section 2); `swish` is
 * x sigmoid(x) (Ramachandran 2017), also called SiLU.
 */
export const activationNames = ['relu', 'gelu', 'gelu_new', 'swish', 'tanh', 'sigmoid'] as const;

/** One of {@link activationNames}. */
export type ActivationName = (typeof activationNames)[number];

/** Applies a non-linearity to every value. */
export function activate(name: ActivationName, input: Tensor2D): Tensor2D {
  switch (name) {
    case 'relu':
      return relu(input);
    case 'gelu':
      return geluErf(input);
    case 'gelu_new':
      return geluTanh(input);
    case 'swish':
      return mul(input, sigmoid(input));
    case 'tanh':
      return tanh(input);
    case 'sigmoid':
      return sigmoid(input);
    default:
      return name satisfies never;
  }
}
