import { strict as assert } from 'node:assert';
import { type Tensor1D, tensor1d } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { type Freezing, freezeScheduleOf, frozenThroughout } from '../../../shared/training/freeze-schedule.ts';
import { taskLayout } from '../../../shared/training/initial-adapter.ts';
import { adamW } from '../../../shared/training/optimisers.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { bertLike } from '../adapters/bases.ts';
import { fakeClassifier, fakeSource } from './fake-base.ts';

const base = bertLike(4, 64, 128);
const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'first', lengthMax: 8 } as const;
const layout = taskLayout(parseAdapter({ method: 'lora' }, base), base, task);
const frozenNames = (settings: Parameters<typeof freezeScheduleOf>[1], progress: number, of = layout) => {
  const flags = freezeScheduleOf(of, settings)!.frozenAt(progress);
  const names = of.tensors.flatMap(({ name }, index) => (flags[index] ? [name.split('.').slice(0, 2).join('.')] : []));
  return [...new Set(names)];
};

describe('freeze schedule', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[FZS-1] freezes named tensors for their stretch of training, ends in either way', () => {
    const freezing: Freezing[] = [
      { tensors: ['head'], until: 0.25 },
      { tensors: ['layers.0', 'layers.1'], from: 0.5 },
    ];
    assert.deepEqual(frozenNames({ freezing }, 0), ['head.kernel', 'head.bias']);
    assert.deepEqual(frozenNames({ freezing }, 0.25), []);
    assert.deepEqual(frozenNames({ freezing }, 0.5), ['layers.0', 'layers.1']);
    assert.deepEqual(frozenNames({ freezing }, 0.999), ['layers.0', 'layers.1']);
    assert.equal(freezeScheduleOf(layout, {}), null);
  });

  it('[FZS-2] gradual unfreezing begins with the head and ends with the lowest layer', () => {
    const stages = [0, 0.2, 0.4, 0.6, 0.8].map((progress) => frozenNames({ gradualUnfreezing: 0.8 }, progress));
    const layers = ['layers.0', 'layers.1', 'layers.2', 'layers.3'];
    assert.deepEqual(stages, [layers, layers.slice(0, 3), layers.slice(0, 2), layers.slice(0, 1), []]);
    const headless = taskLayout(parseAdapter({ method: 'lora' }, base), base, {
      kind: 'masked',
      lengthMax: 8,
      maskFraction: 0.1,
    });
    assert.deepEqual(frozenNames({ gradualUnfreezing: 0.9 }, 0, headless), layers.slice(0, 3));
    assert.deepEqual(frozenNames({ gradualUnfreezing: 0.9 }, 0.9, headless), []);
  });

  it('[FZS-3] says what cannot change in a whole round', () => {
    const schedule = freezeScheduleOf(layout, { freezing: [{ tensors: ['head'], from: 0.25, until: 0.6 }] })!;
    const count = (from: number, until: number) => frozenThroughout(schedule, { from, until }).filter(Boolean).length;
    assert.equal(count(0.25, 0.5), 2);
    assert.equal(count(0.5, 0.75), 0);
    assert.equal(count(0, 0.25), 0);
  });

  it('[FZS-4] frozen parts have exactly zero delta, with momentum, decay, clipping and a proximal term', async () => {
    const run = (freezing: Freezing[], localSteps: number, count = 1, index = 0) => {
      const model = fakeClassifier();
      const configuration = { ...defaultTraining, localEpochs: undefined, localSteps, proximalMu: 0.5, freezing };
      const round = { index, count };
      const start = model.initialise(1);
      return trainLocally({ model, start, source: fakeSource(32, 1), configuration, seed: 1, round });
    };
    const moved = ({ delta }: { readonly delta: Float32Array }) => [
      delta.subarray(0, 64).some((value) => !Object.is(value, 0)),
      delta.subarray(72).some((value) => !Object.is(value, 0)),
    ];
    assert.deepEqual(moved(await run([{ tensors: ['fake'] }], 6)), [false, true]);
    assert.deepEqual(moved(await run([{ tensors: ['head'] }], 6)), [true, false]);
    // Over rounds: the same plan, another round.
    const staged = [
      { tensors: ['fake'], until: 0.5 },
      { tensors: ['head'], from: 0.5 },
    ];
    assert.deepEqual(moved(await run(staged, 3, 2, 0)), [false, true]);
    assert.deepEqual(moved(await run(staged, 3, 2, 1)), [true, false]);
    assert.deepEqual(moved(await run(staged, 6)), [true, true]);
    // What stops in the middle is where it was when it stopped.
    const [half, whole] = [await run([{ tensors: ['fake'], from: 0.5 }], 6), await run([], 3, 2, 0)];
    for (const [index, value] of whole.parameters.subarray(0, 64).entries())
      assert.ok(Math.abs(half.parameters[index]! - value) < 1e-5, `value ${index}`);
    await assert.rejects(run([{ tensors: ['fake'] }, { tensors: ['head'], from: 0.5 }], 6), {
      code: 'bad-training',
      message: /training\.freezing must leave something to train at all times; from 0\.5 on nothing is/,
    });
  });

  it('[FZS-5] a parameter that pauses goes on as an optimiser of its own would', async () => {
    const settings = {
      learningRate: 0.01,
      beta1: 0.9,
      beta2: 0.99,
      epsilon: 1e-8,
      weightDecay: 0.1,
      decayMask: tensor1d([1, 1]),
    };
    const random = seededRandom(4, 'pausing');
    const gradients = Array.from({ length: 9 }, () => random.normal());
    const pauses = [true, true, false, false, true, false, true, false, false];
    const run = async (steps: readonly { readonly gradient: number; readonly active?: boolean }[]) => {
      const optimiser = adamW(settings);
      let parameters = tensor1d([0.5, 0.5]);
      let state = optimiser.init(parameters);
      for (const { gradient, active } of steps) {
        const input = { gradient: tensor1d([gradient, gradient]), state, parameters, scale: 1 };
        const next = optimiser.update(
          active === undefined ? input : { ...input, active: tensor1d([active ? 1 : 0, 1]) },
        );
        parameters = parameters.add<Tensor1D>(next.change);
        state = next.state;
      }
      return [...(await parameters.data())];
    };
    const both = await run(gradients.map((gradient, index) => ({ gradient, active: pauses[index] === false })));
    const [alone] = await run(
      gradients.filter((_, index) => pauses[index] === false).map((gradient) => ({ gradient })),
    );
    const [, all] = await run(gradients.map((gradient) => ({ gradient })));
    assert.ok(Math.abs(both[0]! - alone!) < 1e-6, `${both[0]}, expected ${alone}`);
    assert.ok(Math.abs(both[1]! - all!) < 1e-6, `${both[1]}, expected ${all}`);
  });
});
