import { strict as assert } from 'node:assert';
import { tensor1d } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { adamW } from '../../../shared/training/optimisers.ts';
import { learningRatesOf } from '../../../shared/training/parameter-groups.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { fakeClassifier, fakeSource } from './fake-base.ts';

describe('parameter groups', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[PGP-1] the first group that names a tensor gives its factor; LoRA+ is a group of all B', () => {
    const tensor = (name: string) => ({ name, shape: [2], aggregationClass: 'mean', decays: true }) as const;
    const names = ['layers.0.q.lora.a', 'layers.0.q.lora.b', 'layers.11.v.lora.b', 'head.kernel'];
    const layout = layoutOf(names.map(tensor));
    const groups = [
      { tensors: ['layers.*.*.lora.b'], learningRateFactor: 16 },
      { tensors: ['head', 'layers.11'], learningRateFactor: 0.5 },
    ];
    assert.deepEqual([...learningRatesOf(layout, groups)!], [1, 1, 16, 16, 16, 16, 0.5, 0.5]);
    assert.equal(learningRatesOf(layout), null);
  });

  it('[PGP-9] a tensor that asks for another rate has it, also within a group', () => {
    const tensor = (name: string, learningRateFactor: number) => {
      return { name, shape: [2], aggregationClass: 'mean', decays: true, learningRateFactor } as const;
    };
    const layout = layoutOf([tensor('generator.kernel', 0.25), tensor('head.bias', 1)]);
    assert.deepEqual([...learningRatesOf(layout)!], [0.25, 0.25, 1, 1]);
    const groups = [{ tensors: ['generator'], learningRateFactor: 2 }];
    assert.deepEqual([...learningRatesOf(layout, groups)!], [0.5, 0.5, 1, 1]);
  });

  it('[PGP-2] a step of a group is that of an optimiser with its learning rate, decay included', async () => {
    const settings = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, decayMask: tensor1d([1, 1]) };
    const [parameters, gradient] = [tensor1d([0.5, 0.5]), tensor1d([0.3, 0.3])];
    const changeAt = async (learningRate: number, rates?: number[]) => {
      const optimiser = adamW({ ...settings, learningRate, ...(rates && { rates: tensor1d(rates) }) });
      return [
        ...(await optimiser
          .update({ gradient, state: optimiser.init(parameters), parameters, scale: 1 })
          .change.data()),
      ];
    };
    const [own] = await changeAt(0.16);
    const [plain, faster] = await changeAt(0.01, [1, 16]);
    assert.ok(Math.abs(faster! - own!) < 1e-7, `${faster}, expected ${own}`);
    assert.ok(Math.abs(16 * plain! - faster!) < 1e-7);
  });

  it('[PGP-3] act in local training; a group that names nothing is refused by field', async () => {
    const run = (groups: (typeof defaultTraining)['groups']) => {
      const model = fakeClassifier();
      const configuration = { ...defaultTraining, localEpochs: undefined, localSteps: 1, gradientClipNorm: 0, groups };
      return trainLocally({ model, start: model.initialise(1), source: fakeSource(16, 1), configuration, seed: 1 });
    };
    const [plain, grouped] = [await run(undefined), await run([{ tensors: ['fake.kernel'], learningRateFactor: 4 }])];
    for (const [index, value] of plain.delta.entries()) {
      const expected = index < 64 ? 4 * value : value;
      assert.ok(Math.abs(grouped.delta[index]! - expected) < 1e-6, `value ${index}`);
    }
    assert.ok(plain.delta.subarray(0, 64).some((value) => value !== 0));
    await assert.rejects(run([{ tensors: ['head', 'lora'], learningRateFactor: 4 }]), {
      code: 'bad-training',
      message:
        /training\.groups\[0\]\.tensors\[1\] must begin the name of a tensor that is trained, such as fake\.kernel, found "lora"/,
    });
  });
});
