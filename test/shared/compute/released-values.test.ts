import { strict as assert } from 'node:assert';
import {
  fill,
  grad,
  matMul,
  memory,
  mul,
  sum,
  type Tensor,
  type Tensor2D,
  tensor2d,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { frozenLinear } from '../../../shared/compute/products.ts';
import { seededRandom } from '../../../shared/core/random.ts';

describe('the transposed copy of a frozen map', () => {
  it('[RLV-1] needs its memory until XNNPACK has packed it, and not a byte longer, on wasm', async () => {
    await useBackend('wasm');
    const before = memory().numTensors;
    const random = seededRandom(3, 'released-values');
    const matrix = (rowCount: number, columnCount: number): Tensor2D =>
      tensor2d(
        Float32Array.from({ length: rowCount * columnCount }, () => random.normal()),
        [rowCount, columnCount],
      );
    const weight = matrix(64, 48);
    const map = frozenLinear(weight.clone(), null);
    for (const rowCount of [5, 1, 33, 5]) {
      const x = matrix(rowCount, 64);
      const upstream = matrix(rowCount, 48);
      tidy(() => {
        const found = grad((input: Tensor) => sum(mul(map.apply(input as Tensor2D), upstream)))(
          x,
        ).dataSync<'float32'>();
        const expected = matMul(upstream, transpose(weight)).dataSync<'float32'>();
        const error = found.reduce((largest, value, index) => Math.max(largest, Math.abs(value - expected[index]!)), 0);
        assert.ok(error < 1e-4, `${rowCount} rows: off by ${error}`);
        // Whatever was freed is written over before the next turn.
        for (let index = 0; index < 20; index++) fill([64, 48], Number.NaN);
      });
      x.dispose();
      upstream.dispose();
    }
    map.dispose();
    weight.dispose();
    assert.equal(memory().numTensors, before);
  });
});
