import { strict as assert } from 'node:assert';
import {
  add,
  fill,
  matMul,
  memory,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { canBePacked, packedMatrix } from '../../../shared/compute/packed-matrix.ts';
import { seededRandom } from '../../../shared/core/random.ts';

const random = seededRandom(4, 'packed-matrix');
const drawn = (size: number): Float32Array => Float32Array.from({ length: size }, () => random.normal());
const matrix = (rows: number, columns: number): Tensor2D => tensor2d(drawn(rows * columns), [rows, columns]);

describe('packed matrices on wasm', () => {
  before(() => useBackend('wasm'));

  it('[PKM-1] multiply any number of rows as the library does, with a bias and without, and leave no tensor behind', () => {
    const before = memory().numTensors;
    for (const [inSize, outSize] of [
      [4, 8],
      [64, 24],
      [12, 8],
      [8, 30],
      [2048, 17],
    ] as const) {
      const weight = matrix(inSize, outSize);
      const bias = tensor1d(drawn(outSize));
      const packed = packedMatrix(readable(weight), false);
      for (const rowCount of [1, 5, 6, 7, 12, 100]) {
        tidy(() => {
          const x = matrix(rowCount, inSize);
          const bare: Tensor2D = matMul(x, weight);
          assertNear(packed.times(x, null), bare);
          assertNear(packed.times(x, bias as Tensor1D), add(bare, bias));
        });
      }
      for (const made of [packed, weight, bias]) made.dispose();
    }
    assert.equal(memory().numTensors, before);
  });

  it('[PKM-2] stand for the transpose, and read the matrix at the first product alone', () => {
    tidy(() => {
      const weight = matrix(24, 64);
      const [x, transposed] = [matrix(9, 64), transpose(weight) as Tensor2D];
      const packed = packedMatrix(readable(weight), true);
      const expected = matMul(x, transposed) as Tensor2D;
      assertNear(packed.times(x, null), expected);
      weight.dispose();
      for (let index = 0; index < 20; index++) fill([24, 64], Number.NaN);
      assertNear(packed.times(x, null), expected);
      packed.dispose();
    });
  });

  it('[PKM-3] are refused where sizes make no whole panels, and on other back ends', async () => {
    assert.equal(canBePacked(64, 24), true);
    for (const [inSize, outSize] of [
      [64, 7],
      [6, 8],
      [0, 8],
    ] as const)
      assert.equal(canBePacked(inSize, outSize), false);
    await useBackend('cpu');
    assert.equal(canBePacked(64, 24), false);
  });
});

function assertNear(found: Tensor2D, expected: Tensor2D): void {
  const [values, known] = [found.dataSync<'float32'>(), expected.dataSync<'float32'>()];
  assert.deepEqual(found.shape, expected.shape);
  const error = values.reduce((largest, value, index) => Math.max(largest, Math.abs(value - known[index]!)), 0);
  assert.ok(error < 5e-4, `off by ${error}`);
}

function readable(weight: Tensor2D) {
  return { shape: weight.shape, values: () => weight.dataSync<'float32'>() };
}
