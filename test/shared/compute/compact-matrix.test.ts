import { strict as assert } from 'node:assert';
import { grad, memory, mul, sum, type Tensor, type Tensor2D, tensor1d, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { compactMatrix, storedMatrix } from '../../../shared/compute/compact-matrix.ts';
import { compactLinear, frozenLinear } from '../../../shared/compute/products.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { requireNative } from './native/available.ts';

const [inSize, outSize] = [24, 20];
const shape = [inSize, outSize] as const;

function drawn(name: string, size: number): Float32Array {
  const random = seededRandom(2, name);
  return Float32Array.from({ length: size }, () => random.normal());
}

/** Columns of very different sizes, one of zeros. */
function weights(): Float32Array {
  const factors = Array.from({ length: outSize }, (_, column) => (column === 3 ? 0 : 10 ** ((column % 5) - 2)));
  return drawn('weights', inSize * outSize).map((value, place) => value * factors[place % outSize]!);
}

function largestOf(values: Float32Array, column: number): number {
  return Math.max(...Array.from({ length: inSize }, (_, row) => Math.abs(values[row * outSize + column]!)));
}

describe('matrices in a smaller form', () => {
  it('[CPM-1] int8 takes a quarter, and is off by at most a 254th of the largest of a channel', () => {
    const values = weights();
    const compact = compactMatrix(values, shape, 'int8')!;
    assert.equal(compact.bytes, inSize * outSize + 4 * outSize);
    const found = compact.expand();
    let largest = 0;
    for (const [place, value] of values.entries()) {
      const bound = largestOf(values, place % outSize) / 254;
      const error = Math.abs(found[place]! - value);
      assert.ok(error <= bound * (1 + 1e-5), `${error} at ${place}, bound ${bound}`);
      if (bound > 0) largest = Math.max(largest, error / bound);
    }
    // The bound is no idle one.
    assert.ok(largest > 0.9);
    assert.deepEqual(compact.expand(new Float32Array(inSize * outSize)), found);
  });

  it('[CPM-2] float16 takes half, is off by at most 2^-11 of a value, and by nothing for values that are float16', () => {
    const values = weights();
    const compact = compactMatrix(values, shape, 'float16')!;
    assert.equal(2 * compact.bytes, values.byteLength);
    const found = compact.expand();
    for (const [place, value] of values.entries())
      assert.ok(Math.abs(found[place]! - value) <= Math.max(2 ** -25, 2 ** -11 * Math.abs(value)));
    assert.deepEqual(compactMatrix(found, shape, 'float16')!.expand(), found);
  });

  it('[CPM-3] is refused for values that it cannot hold', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const values = weights();
      values[7] = value;
      for (const precision of ['float16', 'int8'] as const) assert.equal(compactMatrix(values, shape, precision), null);
    }
    assert.equal(compactMatrix(new Float32Array(8).fill(70_000), [2, 4], 'float16'), null);
    assert.notEqual(compactMatrix(new Float32Array(8).fill(70_000), [2, 4], 'int8'), null);
  });
});

describe('matrices as files hold them', () => {
  it('[CPM-5] give every pattern of 16 bits exactly, whole and in parts', () => {
    const patterns = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);
    const upper = new Float32Array(Uint32Array.from(patterns, (bits) => bits * 65_536).buffer);
    const whole = storedMatrix(patterns, [256, 256], 'BF16').expand();
    assert.deepEqual(new Uint32Array(whole.buffer), new Uint32Array(upper.buffer));
    const halves = storedMatrix(patterns, [256, 256], 'F16');
    const all = halves.expand();
    for (const [bits, value] of [
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65_504],
      [1, 2 ** -24],
      [0x7c00, Infinity],
    ] as const)
      assert.equal(all[bits], value);
    assert.equal(halves.bytes, 131_072);
    const part = halves.expand(undefined, { rows: [60, 63], columns: [5, 9] });
    assert.deepEqual(
      [...part],
      [60, 61, 62].flatMap((row) => [...all.subarray(256 * row + 5, 256 * row + 9)]),
    );
  });

  for (const backend of ['native', 'wasm', 'cpu'] as const)
    it(`[CPM-6] multiply, and go back, part by part as whole: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
      const before = memory().numTensors;
      // More values than are widened at once, with outputs as rows.
      const [outputs, inputs] = [16_640, 260];
      const random = seededRandom(3, 'halves');
      const halves = Uint16Array.from(
        { length: outputs * inputs },
        () => 0x3c00 + random.integer(1024) - 32_768 * random.integer(2),
      );
      const stored = storedMatrix(halves, [outputs, inputs], 'F16');
      const bias = tensor1d(drawn('bias', outputs));
      const small = compactLinear(stored, bias.clone(), 'out-in');
      const whole = frozenLinear(small.kernel(), bias.clone());
      tidy(() => {
        const x = tensor2d(drawn('x', 2 * inputs), [2, inputs]);
        const upstream = tensor2d(drawn('g', 2 * outputs), [2, outputs]);
        const [found, known] = [small, whole].map((map) => [
          map.apply(x).dataSync<'float32'>(),
          grad((input: Tensor) => sum(mul(map.apply(input as Tensor2D), upstream)))(x).dataSync<'float32'>(),
        ]);
        assert.deepEqual(found![0], known![0]);
        // A whole matrix is packed for its gradient on the native back end, which sums in another order.
        if (backend !== 'native') assert.deepEqual(found![1], known![1]);
        for (const [place, value] of found![1]!.entries()) assert.ok(Math.abs(value - known![1]![place]!) < 1e-3);
      });
      for (const one of [small, whole, bias]) one.dispose();
      assert.equal(memory().numTensors, before);
    });
});

describe('a map with a smaller weight', () => {
  for (const backend of ['native', 'wasm', 'cpu'] as const) {
    it(`[CPM-4] multiplies, and goes back, as a map with the widened weight; leaves no tensor behind: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
      const before = memory().numTensors;
      const bias = tensor1d(drawn('bias', outSize));
      const compact = compactMatrix(weights(), shape, 'int8')!;
      const small = compactLinear(compact, bias.clone());
      const whole = frozenLinear(tensor2d(compact.expand(), [...shape]), bias.clone());
      for (const rowCount of [2, 9]) {
        tidy(() => {
          const x = tensor2d(drawn('x', rowCount * inSize), [rowCount, inSize]);
          const upstream = tensor2d(drawn('g', rowCount * outSize), [rowCount, outSize]);
          const both = [small, whole].map((map) => {
            const slope = grad((input: Tensor) => sum(mul(map.apply(input as Tensor2D), upstream)))(x);
            return [map.apply(x), map.apply(x, { bias }), slope, map.kernel()].map((one) => one.dataSync<'float32'>());
          });
          for (const [index, found] of both[0]!.entries()) {
            const known = both[1]![index]!;
            const error = found.reduce((most, value, place) => Math.max(most, Math.abs(value - known[place]!)), 0);
            assert.ok(error < 1e-3, `result ${index}: off by ${error}`);
          }
        });
      }
      for (const one of [small, whole, bias]) one.dispose();
      assert.equal(memory().numTensors, before);
    });
  }
});
