import { strict as assert } from 'node:assert';
import { engine, memory, type Scalar, sum, type Tensor1D, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { floatValue } from '../../../../shared/compute/native/kernels.ts';
import { createPackedProducts, type PackedProducts } from '../../../../shared/compute/native/packed-products.ts';
import { node, program } from '../../../../shared/compute/native/programs.ts';
import { frozenLinear } from '../../../../shared/compute/products.ts';
import { valueAndGradients } from '../../../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { randomTensor } from '../finite-differences.ts';
import { requireNative } from './available.ts';

const [rows, columns] = [128, 160];
const matrixBytes = 4 * rows * columns;

/** Packing that only counts. */
function counted(bytesMax: number) {
  const events: string[] = [];
  const packed = createPackedProducts({
    prepare: ({ key }) => {
      events.push(`packed ${key}`);
      return { run: () => undefined, dispose: () => events.push(`freed ${key}`) };
    },
    bytesMax,
  });
  const matrix = floatValue(new Float32Array(rows * columns), [rows, columns]);
  const find = (dataId: object, direction: 'value' | 'gradient', values = matrix) => {
    const chosen = program(`counted ${direction}`, true, () => ({
      inputs: ['a', 'b'],
      outputs: ['y'],
      nodes: [node('Gemm', ['a', 'b'], 'y')],
    }));
    return packed.find({ dataId, program: chosen, matrix: values }) !== null;
  };
  return { packed, find, events };
}

describe('packed products', () => {
  it('[PKP-1] a matrix is packed once for each direction, and freed with its tensor', () => {
    const { packed, find, events } = counted(10 * matrixBytes);
    const tensor = {};
    for (const direction of ['gradient', 'value', 'gradient', 'value'] as const) assert.ok(find(tensor, direction));
    assert.deepEqual(events, ['packed counted gradient', 'packed counted value']);
    assert.equal(packed.bytes(), 2 * matrixBytes);
    packed.drop(tensor);
    packed.drop(tensor);
    assert.deepEqual(events.slice(2), ['freed counted gradient', 'freed counted value']);
    assert.equal(packed.bytes(), 0);
    find(tensor, 'value');
    packed.clear();
    assert.equal(packed.bytes(), 0);
  });

  it('[PKP-2] products through which gradients go back have packed matrices from the first step on, others never', async function () {
    requireNative(this);
    await useBackend('native');
    tidy(() => {
      const random = seededRandom(14, 'packed-products');
      const mapOf = (...shape: [number, number]) => frozenLinear(randomTensor<Tensor2D>(shape, random), null);
      const [low, high] = [mapOf(rows, columns), mapOf(columns, rows)];
      const x: Tensor2D = randomTensor([6, rows], random);
      const added: Tensor2D = randomTensor([6, columns], random);
      const loss = (input: Tensor2D) => sum<Scalar>(high.apply(low.apply(x).add(input)));
      loss(added);
      assert.equal(packedBytes(), 0);
      const steps = [0, 1].map(() => valueAndGradients(loss, [added] as const));
      const [first, second] = steps.map(({ value, gradients }) => [value.dataSync(), gradients[0].dataSync()]);
      assert.deepEqual(first, second);
      assert.equal(packedBytes(), 2 * matrixBytes);
      for (const map of [low, high]) map.dispose();
    });
    await useBackend('cpu');
  });

  it('[PKP-3] the bound holds; small matrices, those as wide as long, and memory that threads share, stay as they are', () => {
    const { packed, find } = counted(2.5 * matrixBytes);
    const tensors = [{}, {}, {}];
    assert.deepEqual(
      tensors.map((tensor) => find(tensor, 'gradient')),
      [true, true, false],
    );
    packed.drop(tensors[0]!);
    assert.ok(find(tensors[2]!, 'gradient'));
    packed.clear();
    assert.equal(find({}, 'gradient', floatValue(new Float32Array(64 * 96), [64, 96])), false);
    assert.equal(find({}, 'gradient', floatValue(new Float32Array(rows * rows), [rows, rows])), false);
    const shared = new Float32Array(new SharedArrayBuffer(matrixBytes));
    assert.equal(find({}, 'gradient', floatValue(shared, [rows, columns])), false);
  });

  it('[PKP-4] steps with packed matrices compute what the plain back end does, with and without bias, and free all of it', async function () {
    requireNative(this);
    const random = seededRandom(12, 'packed-products');
    const drawn = {
      x: tensorValues([70, rows]),
      weight: tensorValues([rows, columns]),
      bias: tensorValues([columns]),
    };
    function tensorValues(shape: readonly number[]): {
      readonly shape: readonly number[];
      readonly values: Float32Array;
    } {
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal());
      return { shape, values };
    }
    const results = new Map<string, Float32Array[]>();
    for (const backend of ['cpu', 'native'] as const) {
      await useBackend(backend);
      const tensors = memory().numTensors;
      const found: Float32Array[] = [];
      for (const isBiased of [true, false]) {
        const [x, weight, bias] = [drawn.x, drawn.weight, drawn.bias].map(({ shape, values }) =>
          engine().makeTensor(values.slice(), [...shape], 'float32'),
        ) as [Tensor2D, Tensor2D, Tensor1D];
        const map = frozenLinear(weight, isBiased ? bias : null);
        for (let step = 0; step < 2; step++) {
          const { value, gradients } = valueAndGradients((input: Tensor2D) => sum(map.apply(input).square()), [x]);
          found.push(tidy(() => map.apply(x).dataSync<'float32'>().slice()));
          found.push(gradients[0].dataSync<'float32'>().slice());
          for (const one of [value, ...gradients]) one.dispose();
        }
        if (backend === 'native') assert.equal(packedBytes(), 2 * matrixBytes);
        map.dispose();
        for (const one of isBiased ? [x] : [x, bias]) one.dispose();
        if (backend === 'native') assert.equal(packedBytes(), 0);
      }
      assert.equal(memory().numTensors, tensors);
      results.set(backend, found);
    }
    const expected = results.get('cpu')!;
    for (const [index, values] of results.get('native')!.entries()) {
      const known = expected[index]!;
      const error = values.reduce((most, value, place) => Math.max(most, Math.abs(value - known[place]!)), 0);
      const scale = known.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      assert.ok(error <= 1e-6 * scale, `result ${index} is off by ${error} of ${scale}`);
    }
    await useBackend('cpu');
  });

  it('[PKP-5] what is not a number or not finite goes through packed products as through others', async function () {
    requireNative(this);
    await useBackend('native');
    tidy(() => {
      const weight = randomTensor<Tensor2D>([rows, columns], seededRandom(13, 'packed-products'));
      const map = frozenLinear(weight, null);
      const x = engine().makeTensor(new Float32Array(3 * rows).fill(1), [3, rows], 'float32') as Tensor2D;
      const values = x.dataSync();
      [values[0], values[rows]] = [Number.NaN, Number.POSITIVE_INFINITY];
      const finiteRows = (result: Tensor2D) =>
        [0, 1, 2].map((row) => Number.isFinite(result.dataSync()[row * columns]));
      assert.deepEqual(finiteRows(map.apply(x)), [false, false, true]);
      valueAndGradients(
        (input: Tensor2D) => {
          const result = map.apply(input);
          assert.deepEqual(finiteRows(result), [false, false, true]);
          return sum<Scalar>(result);
        },
        [x] as const,
      );
      assert.equal(packedBytes(), 2 * matrixBytes);
      map.dispose();
    });
    await useBackend('cpu');
  });
});

function packedBytes(): number {
  return (engine().backend as unknown as { readonly packed: PackedProducts }).packed.bytes();
}
