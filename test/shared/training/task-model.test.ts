import { strict as assert } from 'node:assert';
import { tensor2d } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { Pooling } from '../../../shared/plan/task.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import { featuresOf } from '../../../shared/training/features.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fakeAdapter, fakeBase, fakeClassifier, fakeSource, noAdapter } from './fake-base.ts';

const mode = { training: false, random: seededRandom(0) };
const noChance = () => seededRandom(0);

describe('createTaskModel', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[CLA-1] pools the first token, the last, or the mean, and padding changes nothing', async () => {
    const examples = [
      { ids: Int32Array.of(3, 7, 5), targets: Int32Array.of(0) },
      { ids: Int32Array.of(9), targets: Int32Array.of(1) },
    ];
    const pooled = async (pooling: Pooling, padId: number) => {
      const model = fakeClassifier({ adapter: noAdapter, pooling, padId });
      return (await model.states(new Map(), model.arrange(examples, noChance), mode).states.array()) as number[][];
    };
    const tokens = await Promise.all(
      [3, 7, 5, 9].map(async (id) => {
        const base = fakeBase();
        const hidden = base.encode({
          inputIds: tensor2d([id], [1, 1], 'int32'),
          attentionMask: tensor2d([1], [1, 1], 'int32'),
        });
        return [...(await hidden.data())];
      }),
    );
    const mean = tokens[0]!.map((value, index) => (value + tokens[1]![index]! + tokens[2]![index]!) / 3);
    const expected = { first: tokens[0]!, last: tokens[2]!, mean };
    for (const pooling of ['first', 'last', 'mean'] as const) {
      for (const padId of [0, 11]) {
        const [long, short] = await pooled(pooling, padId);
        for (const [index, value] of expected[pooling].entries())
          assert.ok(Math.abs(long![index]! - value) < 1e-6, `${pooling}, padding ${padId}`);
        for (const [index, value] of tokens[3]!.entries())
          assert.ok(Math.abs(short![index]! - value) < 1e-6, `${pooling}, padding ${padId}`);
      }
    }
  });

  it('[CLA-2] starts with the same values for the same seed, identity first, then a small head and a zero bias', () => {
    const model = fakeClassifier({ labels: ['a', 'b', 'c'] });
    const values = model.initialise(4);
    assert.deepEqual(model.initialise(4), values);
    assert.notDeepEqual(model.initialise(5), values);
    assert.deepEqual(
      model.layout.tensors.map(({ name }) => name),
      ['fake.kernel', 'fake.frozen', 'head.kernel', 'head.bias'],
    );
    assert.ok(values.subarray(0, 64).every((value) => value === 0));
    const kernel = values.subarray(72, 72 + 24);
    assert.ok(kernel.every((value) => value !== 0 && Math.abs(value) < 0.1));
    assert.ok(values.subarray(96).every((value) => value === 0));
  });

  it('[CLA-3] runs the base once per example where only the head trains, over epochs, rounds and evaluation', async () => {
    const base = fakeBase();
    let rowsEncoded = 0;
    const counting: typeof base = {
      ...base,
      encode: (batch, hooks, collect) => {
        rowsEncoded += batch.inputIds.shape[0];
        return base.encode(batch, hooks, collect);
      },
    };
    const model = fakeClassifier({ base: counting, adapter: noAdapter });
    const source = fakeSource(30, 1);
    const configuration = { ...defaultTraining, localEpochs: 4, batchSize: 8 };
    const start = model.initialise(1);
    const { parameters } = await trainLocally({ model, start, source, configuration, seed: 1 });
    await trainLocally({ model, start: parameters, source, configuration, seed: 2 });
    await evaluate({ model, parameters, source });
    assert.equal(rowsEncoded, 30);
    const features = await featuresOf(model, source);
    const kept = await features!.gather([7, 2]).states.data();
    const examples = await source.read([7, 2]);
    const own = await model.states(new Map(), model.arrange(examples, noChance), mode).states.data();
    for (const [index, value] of kept.entries()) assert.ok(Math.abs(value - own[index]!) < 1e-6);
  });

  it('[CLA-4] stops computing states when asked', async () => {
    const model = fakeClassifier({ adapter: noAdapter });
    const controller = new AbortController();
    controller.abort(new Error('the round is over'));
    await assert.rejects(featuresOf(model, fakeSource(4, 1), controller.signal), /the round is over/);
  });

  it('[CLA-5] refuses a task that the base cannot do, and one that leaves nothing to train', () => {
    const base = fakeBase();
    const causalBase = { ...base, description: { ...base.description, causal: true } };
    const masked = { kind: 'masked', lengthMax: 8, maskFraction: 0.15 } as const;
    const causal = { kind: 'causal', lengthMax: 8 } as const;
    assert.throws(
      () => createTaskModel({ base, adapter: fakeAdapter, task: causal }),
      /task\.kind must be another on fake/,
    );
    assert.throws(() => createTaskModel({ base: causalBase, adapter: fakeAdapter, task: masked }), {
      code: 'bad-plan',
    });
    const bare = { ...base.description, hasLanguageModelHead: false };
    for (const [task, isCausal] of [
      [masked, false],
      [causal, true],
    ] as const) {
      const bareBase = { ...base, description: { ...bare, causal: isCausal } };
      assert.throws(
        () => createTaskModel({ base: bareBase, adapter: fakeAdapter, task }),
        /task\.kind must be another on this checkpoint of fake, found "\w+": it holds no language-model head/,
      );
    }
    assert.throws(() => createTaskModel({ base: causalBase, adapter: noAdapter, task: causal }), {
      code: 'nothing-to-train',
    });
    assert.throws(() => fakeClassifier({ base: causalBase, pooling: 'first' }), /first token sees nothing/);
  });
});
