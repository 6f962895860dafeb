/** Operations whose operands the library keeps until the gradient was computed, for their shapes alone; these keep nothing. */
import { add, clone, type Rank, reshape, type ShapeMap, type Tensor } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';

/** x + y of one shape. */
export function residualSum<Summand extends Tensor>(x: Summand, y: Summand): Summand {
  return withGradient<[Summand, Summand], Summand>([x, y], (a, b) => ({
    value: add<Summand>(a, b),
    saved: [],
    // Each a tensor of its own: whoever adds gradients up disposes of the summands.
    backward: (upstream) => [clone(upstream), clone(upstream)],
  }));
}

/** The same values in another shape. */
export function reshaped<Result extends Rank>(x: Tensor, shape: ShapeMap[Result]): Tensor<Result> {
  const { shape: before } = x;
  return withGradient<[Tensor], Tensor<Result>>([x], (a) => ({
    value: reshape(a, shape),
    saved: [],
    backward: (upstream) => [reshape(upstream, before)],
  }));
}
