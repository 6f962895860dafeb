import { strict as assert } from 'node:assert';
import { grads, matMul, memory, mul, type Scalar, square, sum, type Tensor2D, tensor2d } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { sumOverRows } from '../../../shared/compute/gradient-aside.ts';

describe('sumOverRows', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[GAS-1] gives value and gradient of the whole within a longer recording, whatever the rows at once', async () => {
    const input = tensor2d([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [5, 2]);
    const kernel = tensor2d([1, -1, 2, 0.5], [2, 2]);
    const lossOf = (rows: Tensor2D): Scalar => sum(square(square(rows))) as Scalar;
    const before = memory().numTensors;
    const found = async (loss: (states: Tensor2D) => Scalar) => {
      // Something is recorded before and after, and the kernel trains too.
      const [toInput, toKernel] = grads((x, w) => mul(loss(mul(matMul(x as Tensor2D, w as Tensor2D), 0.1)), 2))([
        input,
        kernel,
      ]) as [Tensor2D, Tensor2D];
      const values = [...(await toInput.data()), ...(await toKernel.data())];
      toInput.dispose();
      toKernel.dispose();
      return values;
    };
    const expected = await found(lossOf);
    for (const rowsMax of [1, 2, 5, 100]) {
      const values = await found((states) => sumOverRows(states, { rowsMax, lossOf }));
      for (const [index, value] of values.entries())
        assert.ok(Math.abs(value - expected[index]!) <= 1e-5 * Math.abs(expected[index]!), `${rowsMax}: ${index}`);
    }
    assert.equal(memory().numTensors, before, 'nothing is left behind');
  });

  it('[GAS-2] leaves the recording as it was when the loss throws', async () => {
    const input = tensor2d([1, 2], [1, 2]);
    const failing = () => {
      throw new Error('no loss');
    };
    assert.throws(() => grads((x) => sumOverRows(x as Tensor2D, { rowsMax: 1, lossOf: failing }))([input]), /no loss/);
    const [gradient] = grads((x) => sum(square(x)))([input]);
    assert.deepEqual([...(await gradient!.data())], [2, 4]);
  });
});
