/** Dropout whose masks come from a seed: the same seed gives the same mask on every back end. */
import { mul, type Tensor2D, tensor2d } from '@tensorflow/tfjs-core';
import type { AdapterContext } from './method.ts';

/**
 * Inverted dropout (Srivastava 2014, section 10): in training every value is 0 with probability `probability` and otherwise divided by
 * `1 - probability`, so that evaluation needs no scale. `site` names the place, so that the order of calls does not matter.
 */
export function dropout(
  input: Tensor2D,
  probability: number,
  { training, random }: Pick<AdapterContext, 'training' | 'random'>,
  site: string,
): Tensor2D {
  if (!training || probability === 0) return input;
  const stream = random.fork('dropout', site);
  const kept = 1 / (1 - probability);
  const mask = Float32Array.from({ length: input.size }, () => (stream.uniform() < probability ? 0 : kept));
  return mul(input, tensor2d(mask, input.shape));
}

/**
 * Stochastic depth (Huang 2016, section 3) by example: in training all values of an example are 0 with probability `probability`, else
 * divided by `1 - probability`. `input` `[exampleCount * sequence, size]`, example by example.
 */
export function dropExamples(
  input: Tensor2D,
  { probability, exampleCount }: { readonly probability: number; readonly exampleCount: number },
  { training, random }: Pick<AdapterContext, 'training' | 'random'>,
  site: string,
): Tensor2D {
  if (!training || probability === 0) return input;
  const stream = random.fork('dropPath', site);
  const kept = 1 / (1 - probability);
  const rowsPerExample = input.shape[0] / exampleCount;
  const mask = new Float32Array(input.shape[0]);
  for (let example = 0; example < exampleCount; example++) {
    const factor = stream.uniform() < probability ? 0 : kept;
    mask.fill(factor, example * rowsPerExample, (example + 1) * rowsPerExample);
  }
  return mul(input, tensor2d(mask, [input.shape[0], 1]));
}
