/**
 * The gradient of private training (Abadi 2016, algorithm 1): of every sampled example for itself, clipped to a norm, added up on a grid of
 * integers, with discrete Gaussian noise, and divided by the batch size that is expected, whatever was sampled.
 */
import { addOnGrid, centralTerms, clipFactor, noisyMean } from '../privacy/central-noise.ts';
import type { RandomIntegers } from '../privacy/random-integers.ts';

/** What a private step adds up. */
export interface PrivateStep {
  readonly dim: number;
  readonly clipNorm: number;
  readonly noiseMultiplier: number;
  /** Examples that a step has on average: the divisor. */
  readonly expectedCount: number;
  readonly random: RandomIntegers;
}

/**
 * The noisy mean gradient `[dim]`. `gradients` gives those of single examples, each lent until the next; a step may have none of them, and is
 * noise alone then. `trained` `[dim]`: false where nothing is trained, which stays zero.
 */
export async function privateGradient(
  { dim, clipNorm, noiseMultiplier, expectedCount, random }: PrivateStep,
  gradients: AsyncIterable<Float32Array>,
  trained: (index: number) => boolean,
): Promise<Float32Array> {
  const places = Array.from({ length: dim }, (_, index) => index).filter(trained);
  const terms = centralTerms({ clipNorm, noiseMultiplier, dim: Math.max(1, places.length) });
  const sum = new Float64Array(places.length);
  const own = new Float64Array(places.length);
  for await (const gradient of gradients) {
    let squares = 0;
    for (const [index, place] of places.entries()) {
      const value = gradient[place]!;
      // An example whose gradient is no number says nothing, and must not end the step: that it was there would show.
      own[index] = Number.isFinite(value) ? value : 0;
      squares += own[index]! ** 2;
    }
    addOnGrid(sum, own, clipFactor(Math.sqrt(squares), clipNorm), terms);
  }
  noisyMean(sum, terms, { clientCount: expectedCount, random });
  const mean = new Float32Array(dim);
  for (const [index, place] of places.entries()) mean[place] = sum[index]!;
  return mean;
}
