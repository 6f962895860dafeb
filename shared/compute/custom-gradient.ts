/** Operations with a gradient of their own, with types: what the library's `customGrad` hands over as `any`. */
import { customGrad, type Tensor, tidy } from '@tensorflow/tfjs-core';

/** The value of an operation and how to go back: from the gradient of its value to one gradient per input, in the order of the inputs. */
export interface Differentiable<Output extends Tensor> {
  readonly value: Output;
  /**
   * Tensors that `backward` needs, kept until the gradient was computed and freed with it. Nothing else of the forward pass survives:
   * a closure must not hold tensors.
   */
  readonly saved: readonly Tensor[];
  readonly backward: (upstream: Output, saved: readonly Tensor[]) => Tensor[];
}

/** Runs `forward` on `inputs`. What it computes on the way is freed and not recorded; the gradient is what `backward` says. */
export function withGradient<Inputs extends readonly Tensor[], Output extends Tensor>(
  inputs: Inputs,
  forward: (...inputs: Inputs) => Differentiable<Output>,
): Output {
  const operation = customGrad((...all) => {
    const save = all.pop() as unknown as (tensors: Tensor[]) => void;
    const { value, saved, backward } = forward(...(all as unknown as Inputs));
    save([...saved]);
    // The library frees what a gradient computes on its way only at the very end of the whole backward pass.
    const gradFunc = (upstream: Tensor, kept: Tensor[]) => tidy(() => backward(upstream as Output, kept));
    return { value, gradFunc };
  });
  return operation(...inputs) as Output;
}

/**
 * Runs `compute` without recording: no gradient passes, and its intermediate tensors are freed at once. `input` is what it depends on;
 * the library needs one.
 */
export function withoutGradient<Output extends Tensor>(input: Tensor, compute: () => Output): Output {
  return withGradient<[Tensor], Output>([input], () => ({
    value: compute(),
    saved: [],
    backward: () => {
      throw new Error('a frozen part was asked for a gradient');
    },
  }));
}
