import { strict as assert } from 'node:assert';
import { grad, memory, mul, sum, type Tensor, tensor1d, tidy, valueAndGrad } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { withGradient, withoutGradient } from '../../../shared/compute/custom-gradient.ts';

describe('withGradient', () => {
  before(() => useBackend('cpu'));

  it('[CUS-1] uses the gradient that the operation brings, with what it saved', () => {
    tidy(() => {
      const triple = (x: Tensor) =>
        withGradient([x], (input: Tensor) => ({
          value: mul(input, 3),
          saved: [input],
          backward: (upstream: Tensor, [kept]) => [mul(upstream, mul(kept!, 100))],
        }));
      const { value, grad: gradient } = valueAndGrad((x: Tensor) => sum(triple(x)))(tensor1d([1, 2]));
      assert.equal(value.dataSync()[0], 9);
      assert.deepEqual([...gradient.dataSync()], [100, 200]);
    });
  });

  it('[CUS-2] frees what a gradient computes on its way before the next gradient begins', () => {
    const counts: number[] = [];
    const identity = (x: Tensor) =>
      withGradient([x], (input: Tensor) => ({
        value: mul(input, 1),
        saved: [],
        backward: (upstream: Tensor) => {
          counts.push(memory().numTensors);
          let gradient = upstream;
          for (let trial = 0; trial < 50; trial++) gradient = mul(gradient, 1);
          return [gradient];
        },
      }));
    tidy(() => grad((x: Tensor) => sum(identity(identity(x))))(tensor1d([1, 2])));
    assert.equal(counts.length, 2);
    assert.ok(counts[1]! - counts[0]! < 10, `${counts[1]! - counts[0]!} tensors stay behind`);
  });
});

describe('withoutGradient', () => {
  it('[CUS-3] gives the value, and refuses to be asked for a gradient', () => {
    tidy(() => {
      const x = tensor1d([1, 2]);
      const frozen = (input: Tensor) => withoutGradient(input, () => mul(input, 2));
      assert.deepEqual([...frozen(x).dataSync()], [2, 4]);
      assert.throws(() => grad((input: Tensor) => sum(frozen(input)))(x), /frozen part was asked for a gradient/);
    });
  });
});
