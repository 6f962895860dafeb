import { strict as assert } from 'node:assert';
import { tensor2d } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { batchOf } from '../../../shared/data/batches.ts';
import { createClassifier, type Pooling } from '../../../shared/training/classifier.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import { computeFeatures } from '../../../shared/training/features.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fakeAdapter, fakeBase, fakeExamples, noAdapter } from './fake-base.ts';

const mode = { training: false, random: seededRandom(0) };

describe('createClassifier', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[CLA-1] pools the first token, the last, or the mean, and padding changes nothing', async () => {
    const examples = [
      { ids: Int32Array.of(3, 7, 5), targets: Int32Array.of(0) },
      { ids: Int32Array.of(9), targets: Int32Array.of(1) },
    ];
    const pooled = async (pooling: Pooling, padId: number) => {
      const classifier = createClassifier({ base: fakeBase(), adapter: noAdapter, labels: ['a', 'b'], pooling, padId });
      return (await classifier.pool(new Map(), batchOf(examples, padId, 16), mode).array()) as number[][];
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
    const classifier = createClassifier({
      base: fakeBase(),
      adapter: fakeAdapter,
      labels: ['a', 'b', 'c'],
      pooling: 'mean',
    });
    const values = classifier.initialise(4);
    assert.deepEqual(classifier.initialise(4), values);
    assert.notDeepEqual(classifier.initialise(5), values);
    assert.deepEqual(
      classifier.layout.tensors.map(({ name }) => name),
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
    const classifier = createClassifier({ base: counting, adapter: noAdapter, labels: ['a', 'b'], pooling: 'mean' });
    const examples = fakeExamples(30, 1);
    const configuration = { ...defaultTraining, localEpochs: 4, batchSize: 8 };
    const start = classifier.initialise(1);
    const { parameters } = await trainLocally({ classifier, start, examples, configuration, seed: 1 });
    await trainLocally({ classifier, start: parameters, examples, configuration, seed: 2 });
    await evaluate({ classifier, parameters, examples });
    assert.equal(rowsEncoded, 30);
    const [example] = examples;
    const own = await classifier.pool(new Map(), batchOf([example!], 0, 16), mode).data();
    for (const [index, value] of classifier.pooledStates.get(example!)!.entries())
      assert.ok(Math.abs(value - own[index]!) < 1e-6);
  });

  it('[CLA-4] stops computing pooled states when asked', async () => {
    const classifier = createClassifier({ base: fakeBase(), adapter: noAdapter, labels: ['a', 'b'], pooling: 'mean' });
    const controller = new AbortController();
    controller.abort(new Error('the round is over'));
    await assert.rejects(computeFeatures(classifier, fakeExamples(4, 1), controller.signal), /the round is over/);
  });
});
