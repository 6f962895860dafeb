import { strict as assert } from 'node:assert';
import { getKernel, memory, registerKernel, type Tensor, tensor, unregisterKernel } from '@tensorflow/tfjs-core';
import { adamStepKernel, hasAdamStep } from '../../../shared/compute/adam-step.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { createWeights } from '../../../shared/training/weights.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { requireNative } from '../compute/native/available.ts';

const layout = layoutOf([
  { name: 'a.kernel', shape: [7, 9], aggregationClass: 'mean', decays: true },
  { name: 'a.bias', shape: [5], aggregationClass: 'mean', decays: false, learningRateFactor: 4 },
  { name: 'expert.kernel', shape: [2, 3], aggregationClass: 'mean', decays: true },
  { name: 'frozen.kernel', shape: [4, 4], aggregationClass: 'frozen', decays: true },
  // More than a stage holds at once, and no multiple of four.
  { name: 'wide.kernel', shape: [131, 211], aggregationClass: 'mean', decays: true },
]);
const settings = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  gradientClipNorm: 1,
  proximalMu: 0,
  groups: undefined,
};
const stepCount = 6;
const trained = (index: number): boolean => layout.tensors[index]!.aggregationClass !== 'frozen';
/** The expert is not reached at two steps in the middle. */
const isReached = (index: number, step: number): boolean => trained(index) && (index !== 2 || step % 4 < 2);

/** Gradients by step and tensor, at the third step so small that they are not clipped. */
function drawn(): number[][][] {
  const random = seededRandom(9, 'weights');
  return Array.from({ length: stepCount }, (_, step) =>
    layout.tensors.map(({ size }) => Array.from({ length: size }, () => random.normal() * (step === 2 ? 1e-5 : 1))),
  );
}

/** AdamW by tensor in float64; a tensor that is not reached stays as it is. */
function reference(start: Float32Array, gradients: number[][][], { proximalMu, gradientClipNorm }: typeof settings) {
  const w = Float64Array.from(start);
  const [m, v] = [new Float64Array(w.length), new Float64Array(w.length)];
  const counts = layout.tensors.map(() => 0);
  for (const [step, all] of gradients.entries()) {
    const moved = layout.tensors.flatMap((one, index) => {
      const reached = isReached(index, step) || (proximalMu > 0 && trained(index));
      if (!reached) return [];
      const own = all[index]!.map(
        (value, place) =>
          (isReached(index, step) ? value : 0) + proximalMu * (w[one.offset + place]! - start[one.offset + place]!),
      );
      return [{ ...one, index, own }];
    });
    const norm = Math.sqrt(moved.reduce((sum, { own }) => sum + own.reduce((part, g) => part + g * g, 0), 0));
    const clip = gradientClipNorm === 0 ? 1 : gradientClipNorm / Math.max(norm, gradientClipNorm);
    for (const { index, offset, decays, own, learningRateFactor = 1 } of moved) {
      const t = ++counts[index]!;
      for (const [place, value] of own.entries()) {
        const at = offset + place;
        const g = clip * value;
        m[at] = 0.9 * m[at]! + 0.1 * g;
        v[at] = 0.99 * v[at]! + 0.01 * g * g;
        const mean = m[at]! / (1 - 0.9 ** t);
        const root = Math.sqrt(v[at]! / (1 - 0.99 ** t)) + settings.epsilon;
        const rate = (settings.learningRate * learningRateFactor) / (step + 1);
        w[at]! -= rate * (mean / root + (decays ? settings.weightDecay * w[at]! : 0));
      }
    }
  }
  return w;
}

async function ours(start: Float32Array, gradients: number[][][], configuration: typeof settings) {
  const before = memory().numTensors;
  const weights = createWeights({ layout, start, configuration });
  const first = weights.tensors().map((one) => one.id);
  for (const [step, all] of gradients.entries()) {
    const own = all.map((values, index) =>
      isReached(index, step) ? tensor(values, [...layout.tensors[index]!.shape]) : null,
    );
    weights.step({ gradients: own as (Tensor | null)[], scale: 1 / (step + 1), trains: trained });
    for (const one of own) one?.dispose();
    assert.equal(weights.tensors().length, first.length);
  }
  const values = await weights.values();
  weights.dispose();
  assert.equal(memory().numTensors, before, 'no tensor is left');
  return values;
}

describe('weights', () => {
  const start = (() => {
    const random = seededRandom(4, 'start');
    return Float32Array.from({ length: layout.dim }, () => random.normal());
  })();
  const cases = [
    ['clipped', settings],
    ['not clipped', { ...settings, gradientClipNorm: 0 }],
    ['drawn to the start', { ...settings, proximalMu: 0.5 }],
  ] as const;

  async function check(configuration: typeof settings): Promise<void> {
    const gradients = drawn();
    const expected = reference(start, gradients, configuration);
    const found = await ours(start, gradients, configuration);
    for (const [index, value] of expected.entries())
      assert.ok(Math.abs(found[index]! - value) < 3e-6, `value ${index}: ${found[index]}, expected ${value}`);
  }

  for (const backend of ['cpu', 'wasm', 'native'] as const) {
    for (const [name, configuration] of cases) {
      it(`[ADM-5] ${name}, in one call on ${backend}: equal to float64, and what no gradient reaches takes no step`, async function () {
        if (backend === 'native') requireNative(this);
        await useBackend(backend);
        assert.ok(hasAdamStep());
        await check(configuration);
      });
    }
  }

  for (const [name, configuration] of cases) {
    it(`[ADM-6] ${name}, composed of the library's kernels: the same`, async () => {
      await useBackend('cpu');
      const kernel = getKernel(adamStepKernel, 'cpu')!;
      unregisterKernel(adamStepKernel, 'cpu');
      try {
        assert.ok(!hasAdamStep());
        await check(configuration);
      } finally {
        registerKernel(kernel);
      }
    });
  }
});
