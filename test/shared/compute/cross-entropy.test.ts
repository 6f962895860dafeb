/** Cross-entropy against its definition in float64, on back ends that compute it as a whole and composed from the library's kernels. */
import { strict as assert } from 'node:assert';
import {
  getKernel,
  type KernelConfig,
  memory,
  profile,
  registerKernel,
  type Tensor2D,
  tensor2d,
  tidy,
  unregisterKernel,
  valueAndGrad,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { crossEntropy, crossEntropyKernel } from '../../../shared/compute/cross-entropy.ts';
import { valueAndGradients } from '../../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { requireNative } from './native/available.ts';

interface Case {
  readonly size: number;
  readonly scores: Float32Array;
  readonly targets: readonly number[];
  readonly weights?: readonly number[];
}

interface Result {
  readonly loss: number;
  readonly gradient: Float32Array;
}

/** Mean over the rows with a target of weight times softmax cross-entropy, in float64. */
function reference({ size, scores, targets, weights }: Case): Result {
  const rowCount = targets.filter((target) => target !== -1).length;
  const gradient = new Float32Array(scores.length);
  let loss = 0;
  for (const [row, target] of targets.entries()) {
    if (target === -1) continue;
    const own = scores.subarray(row * size, (row + 1) * size);
    const largest = own.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
    const total = own.reduce((sum, score) => sum + Math.exp(score - largest), 0);
    const weight = (weights?.[target] ?? 1) / rowCount;
    loss += weight * (Math.log(total) + largest - own[target]!);
    for (const [label, score] of own.entries())
      gradient[row * size + label] = weight * (Math.exp(score - largest) / total - (label === target ? 1 : 0));
  }
  return { loss, gradient };
}

/** Three times the loss, so that what comes from above counts. */
function computed({ size, scores, targets, weights }: Case): Result {
  const before = memory().numTensors;
  const result = tidy(() => {
    const input = tensor2d(scores.slice(), [targets.length, size]);
    const lossOf = valueAndGrad((given) => crossEntropy(given as Tensor2D, targets, weights).mul(3));
    const { value, grad } = lossOf(input);
    return {
      loss: value.dataSync()[0]! / 3,
      gradient: grad.dataSync<'float32'>().map((slope) => slope / 3),
    };
  });
  assert.equal(memory().numTensors, before);
  return result;
}

function compare(found: Result, expected: Result, what: string): void {
  const isNear = (a: number, b: number, tolerance: number): boolean =>
    Object.is(a, b) || a === b || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));
  assert.ok(isNear(found.loss, expected.loss, 1e-5), `${what}: loss ${found.loss}, expected ${expected.loss}`);
  for (const [place, slope] of found.gradient.entries())
    if (!isNear(slope, expected.gradient[place]!, 1e-6))
      assert.fail(`${what}: slope ${place} is ${slope}, expected ${expected.gradient[place]}`);
}

const random = seededRandom(7, 'cross-entropy');
const drawn = (rowCount: number, size: number, scale = 3): Case => ({
  size,
  scores: Float32Array.from({ length: rowCount * size }, () => scale * random.normal()),
  targets: Array.from({ length: rowCount }, () => random.integer(size)),
});

/** A row for every way in which scores are not finite: one not a number, highest, lowest, of the target or of another; all lowest; beyond the range of exp. */
function withWhatIsNotFinite(size: number): Case[] {
  const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e30, -1e30];
  const ofOne = special.flatMap((value) =>
    [0, size - 1].map((target) => {
      const { scores } = drawn(1, size);
      scores[size - 1] = value;
      return { size, scores, targets: [target] };
    }),
  );
  return [...ofOne, { size, scores: new Float32Array(size).fill(Number.NEGATIVE_INFINITY), targets: [0] }];
}

for (const backend of ['cpu', 'wasm', 'native', 'composed'] as const) {
  describe(`cross-entropy on ${backend}`, () => {
    const isComposed = backend === 'composed';
    const name = isComposed ? 'cpu' : backend;
    let kernel: KernelConfig | undefined;
    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(name);
      kernel = getKernel(crossEntropyKernel, name);
      assert.ok(kernel !== undefined);
      if (isComposed) unregisterKernel(crossEntropyKernel, name);
    });
    after(async () => {
      if (isComposed) registerKernel(kernel!);
      await useBackend('cpu');
    });

    it('[CRE-1] loss and gradient are those of the definition, weighted too, for few labels and for vocabularies', () => {
      for (const size of [1, 2, 3, 4, 5, 8, 31, 400]) {
        for (const rowCount of [1, 5]) {
          const bare = drawn(rowCount, size);
          const weighted = { ...bare, weights: Array.from({ length: size }, (_, label) => 0.5 + (label % 4)) };
          for (const one of [bare, weighted]) compare(computed(one), reference(one), `${rowCount} rows of ${size}`);
        }
      }
      for (const size of [30_522, 50_257]) {
        const vocabulary = drawn(3, size, 8);
        compare(computed(vocabulary), reference(vocabulary), `a vocabulary of ${size}`);
      }
    });

    it('[CRE-2] what is not finite comes out as arithmetic has it, and stays in its row', () => {
      for (const size of [2, 7, 16, 1003]) {
        const rows = withWhatIsNotFinite(size);
        for (const [index, row] of rows.entries())
          compare(computed(row), reference(row), `row ${index} of ${size} scores`);
        const all = {
          size,
          scores: Float32Array.from(rows.flatMap(({ scores }) => [...scores])),
          targets: rows.flatMap(({ targets }) => targets),
        };
        compare(computed(all), reference(all), `all rows of ${size} scores`);
      }
    });

    it('[CRE-3] rows without a target are left out, and none are no loss', () => {
      const { size, scores } = drawn(4, 6);
      for (const targets of [
        [-1, 2, -1, 5],
        [0, 1, 2, -1],
      ])
        compare(computed({ size, scores, targets }), reference({ size, scores, targets }), targets.join());
      const unscored = computed({ size, scores, targets: [-1, -1, -1, -1] });
      assert.deepEqual([unscored.loss, new Set(unscored.gradient)], [0, new Set([0])]);
      assert.equal(computed({ size, scores: new Float32Array(), targets: [] }).loss, 0);
    });

    it('[CRE-4] a target that is no label, and a row too few, are refused', () => {
      const one = drawn(2, 3);
      assert.throws(() => computed({ ...one, targets: [0, 3] }), /targets are indices of labels/);
      assert.throws(() => computed({ ...one, targets: [0, -2] }), /targets are indices of labels/);
      tidy(() =>
        assert.throws(() => crossEntropy(tensor2d([1, 2], [1, 2]), [0, 1]), /every row of scores has a target/),
      );
    });

    if (isComposed) return;
    it('[CRE-5] nothing as large as the scores is held but they, their gradient and what becomes of it', async () => {
      const { size, scores, targets } = drawn(50, 997);
      const held = memory().numBytes;
      const input = tensor2d(scores, [50, size]);
      const { peakBytes } = await profile(() => {
        const { value, gradients } = valueAndGradients((given: Tensor2D) => crossEntropy(given, targets), [input]);
        for (const one of [value, ...gradients]) one.dispose();
      });
      input.dispose();
      assert.ok(peakBytes < held + 3.1 * scores.byteLength, `${peakBytes} bytes`);
    });
  });
}
