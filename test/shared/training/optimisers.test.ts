import { strict as assert } from 'node:assert';
import { type Tensor1D, tensor1d } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { adamW, clipByGlobalNorm, decayMaskOf } from '../../../shared/training/optimisers.ts';
import { layoutOf } from '../../../shared/update/layout.ts';

const settings = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };

/** Algorithm 2 of Loshchilov and Hutter 2019 in float64, parameter by parameter. */
function referenceAdamW(start: readonly number[], gradients: readonly (readonly number[])[], weightDecay: number) {
  const { learningRate, beta1, beta2, epsilon } = settings;
  return start.map((value, index) => {
    let [w, m, v] = [value, 0, 0];
    for (const [step, gradient] of gradients.entries()) {
      const g = gradient[index]!;
      m = beta1 * m + (1 - beta1) * g;
      v = beta2 * v + (1 - beta2) * g * g;
      const corrected = m / (1 - beta1 ** (step + 1)) / (Math.sqrt(v / (1 - beta2 ** (step + 1))) + epsilon);
      const scale = 1 / (step + 1);
      w -= scale * learningRate * (corrected + (index % 2 === 0 ? weightDecay * w : 0));
    }
    return w;
  });
}

describe('adamW', () => {
  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[ADM-1] equals an independent float64 implementation over twelve steps, with and without decay, on ${backend}`, async () => {
      await useBackend(backend);
      const random = seededRandom(3, 'adam');
      const start = Array.from({ length: 9 }, () => random.normal());
      const gradients = Array.from({ length: 12 }, () => start.map(() => random.normal()));
      for (const weightDecay of [0, 0.3]) {
        const decayMask = tensor1d(start.map((_, index) => (index % 2 === 0 ? 1 : 0)));
        const optimiser = adamW({ ...settings, weightDecay, decayMask });
        let parameters = tensor1d(start);
        let state = optimiser.init(parameters);
        for (const [step, gradient] of gradients.entries()) {
          const next = optimiser.update({ gradient: tensor1d(gradient), state, parameters, scale: 1 / (step + 1) });
          parameters = parameters.add<Tensor1D>(next.change);
          state = next.state;
        }
        const expected = referenceAdamW(start, gradients, weightDecay);
        const found = await parameters.data();
        for (const [index, value] of expected.entries()) {
          assert.ok(Math.abs(found[index]! - value) < 2e-6, `value ${index}: ${found[index]}, expected ${value}`);
        }
        assert.equal(state.stepCount, 12);
      }
    });
  }

  it('[ADM-2] moves by the learning rate in the first step whatever the size of the gradient', async () => {
    await useBackend('cpu');
    const parameters = tensor1d([0, 0, 0]);
    const optimiser = adamW({ ...settings, weightDecay: 0, decayMask: tensor1d([0, 0, 0]) });
    const { change } = optimiser.update({
      gradient: tensor1d([1e-3, -50, 0]),
      state: optimiser.init(parameters),
      parameters,
      scale: 0.5,
    });
    const [small, large, none] = await change.data();
    assert.ok(Math.abs(small! + 0.005) < 1e-6 && Math.abs(large! - 0.005) < 1e-6, `${small}, ${large}`);
    assert.ok(none === 0);
  });
});

describe('clipByGlobalNorm', () => {
  it('[ADM-3] shortens what is longer and leaves the rest, zero too', async () => {
    await useBackend('cpu');
    const clip = async (values: number[], norm: number) => [...(await clipByGlobalNorm(tensor1d(values), norm).data())];
    const clipped = await clip([3, -4], 1);
    assert.ok(Math.abs(clipped[0]! - 0.6) < 1e-6 && Math.abs(clipped[1]! + 0.8) < 1e-6, clipped.join());
    assert.deepEqual(await clip([3, -4], 5), [3, -4]);
    assert.deepEqual(await clip([3, -4], 100), [3, -4]);
    assert.deepEqual(await clip([0, 0], 1), [0, 0]);
  });
});

describe('decayMaskOf', () => {
  it('[ADM-4] is 1 exactly on tensors that decay and are not frozen', () => {
    const layout = layoutOf([
      { name: 'kernel', shape: [2, 1], aggregationClass: 'mean', decays: true },
      { name: 'bias', shape: [1], aggregationClass: 'mean', decays: false },
      { name: 'frozen', shape: [1], aggregationClass: 'frozen', decays: true },
      { name: 'own', shape: [1], aggregationClass: 'local', decays: true },
    ]);
    assert.deepEqual([...decayMaskOf(layout)], [1, 1, 0, 0, 1]);
  });
});
