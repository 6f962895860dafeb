/** Arithmetic on the values of adapters and frozen maps outside the back end, in float64. */
import { assert } from '../core/assert.ts';
import type { LinearWeights } from './method.ts';

/** A low-rank change of a map W `[in, out]`: W + scale (B A)ᵀ with A `[rank, in]` and B `[out, rank]`. */
export interface LowRankChange {
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  readonly rank: number;
  readonly scale: number;
}

/** W + scale (B A)ᵀ, row by row `[in, out]`. Cost: in · out · rank. */
export function addLowRank(kernel: ArrayLike<number>, { a, b, rank, scale }: LowRankChange): Float64Array {
  const inSize = a.length / rank;
  const outSize = b.length / rank;
  assert(
    kernel.length === inSize * outSize,
    `a map of ${kernel.length} values does not fit factors of ${inSize} and ${outSize}`,
  );
  const sum = Float64Array.from(kernel);
  for (let input = 0; input < inSize; input++) {
    for (let output = 0; output < outSize; output++) {
      let change = 0;
      for (let index = 0; index < rank; index++) change += b[output * rank + index]! * a[index * inSize + input]!;
      sum[input * outSize + output]! += scale * change;
    }
  }
  return sum;
}

/** Rows `input` times `kernel` `[in, out]` plus `bias` `[out]`. */
export function linearRows(input: ArrayLike<number>, kernel: ArrayLike<number>, bias: ArrayLike<number>): Float64Array {
  const outSize = bias.length;
  const inSize = kernel.length / outSize;
  const result = new Float64Array((input.length / inSize) * outSize);
  for (let place = 0; place < result.length; place++) result[place] = bias[place % outSize]!;
  for (let place = 0; place < input.length; place++) {
    const value = input[place]!;
    const row = Math.floor(place / inSize) * outSize;
    const from = (place % inSize) * outSize;
    for (let output = 0; output < outSize; output++) result[row + output]! += value * kernel[from + output]!;
  }
  return result;
}

/** `map` with another kernel, rounded to float32; the bias stays. */
export function withKernel({ bias }: LinearWeights, kernel: Float64Array): LinearWeights {
  return { kernel: Float32Array.from(kernel), bias };
}

/** The values of a parameter, outside the back end. */
export function valuesOf(parameters: ReadonlyMap<string, Float32Array>, name: string): Float32Array {
  const values = parameters.get(name);
  assert(values !== undefined, `the parameters hold no tensor ${name}`);
  return values;
}
