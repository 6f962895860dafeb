/** Checks gradients against differences of values. */
import { strict as assert } from 'node:assert';
import { add, grads, mul, sub, sum, type Tensor, tensor, tidy } from '@tensorflow/tfjs-core';
import { type SeededRandom, seededRandom } from '../../../shared/core/random.ts';

const step = 1e-2;

/** A tensor of normal numbers. */
export function randomTensor<Kind extends Tensor>(shape: readonly number[], random: SeededRandom, scale = 1): Kind {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return tensor(
    Float32Array.from({ length: size }, () => scale * random.normal()),
    [...shape],
  ) as Kind;
}

/**
 * Compares the gradient of a random projection of `operation` with central differences, along random directions of every input by itself.
 * Float32 and the step bound the agreement to about a thousandth.
 */
export function checkGradients(inputs: readonly Tensor[], operation: (...inputs: Tensor[]) => Tensor): void {
  tidy(() => {
    const random = seededRandom(11, 'directions');
    const projection = randomTensor(operation(...inputs).shape, random);
    const loss = (...tensors: Tensor[]) => sum(mul(operation(...tensors), projection)).asScalar();
    const gradients = grads(loss)([...inputs]);
    for (const [index, input] of inputs.entries()) {
      for (let trial = 0; trial < 3; trial++) {
        const direction = randomTensor(input.shape, random);
        const moved = (size: number) =>
          loss(...inputs.map((other, at) => (at === index ? add(input, mul(direction, size)) : other))).dataSync()[0]!;
        const difference = (moved(step) - moved(-step)) / (2 * step);
        const slope = sum(mul(gradients[index]!, direction)).dataSync()[0]!;
        const size = Math.sqrt(sum(mul(gradients[index]!, gradients[index]!)).dataSync()[0]!);
        assert.ok(size > 1e-3, `input ${index} gets no gradient`);
        const error = Math.abs(slope - difference);
        assert.ok(
          error <= 1e-2 * Math.max(1, size),
          `input ${index}: gradient says ${slope}, differences ${difference}`,
        );
      }
    }
  });
}

/** The largest difference of two tensors. */
export function largestDifference(left: Tensor, right: Tensor): number {
  assert.deepEqual(left.shape, right.shape);
  return tidy(() => Math.max(...sub(left, right).abs().dataSync()));
}
