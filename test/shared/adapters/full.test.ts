import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { describeFiles } from '../../../shared/model/load.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fixtureBase, fixtureFiles } from '../model/fixtures.ts';
import { bertLike } from './bases.ts';

const sizeOf = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

describe('full', () => {
  it('[FUL-1] has a tensor for every one of the checkpoint, or for its norms or biases alone', () => {
    for (const family of ['bert', 'roberta', 'distilbert', 'gpt2', 'llama_gqa', 'qwen2', 'qwen3']) {
      const base = describeFiles(fixtureFiles(family));
      const tensorsOf = (settings: object) => parseAdapter({ method: 'full', ...settings }, base).tensors;
      const all = tensorsOf({});
      assert.equal(
        all.reduce((total, { shape }) => total + sizeOf(shape), 0),
        base.parameterCount,
        family,
      );
      const norms = tensorsOf({ tensors: 'norms' });
      assert.ok(norms.every(({ shape }) => shape.length === 1));
      // Norms of every block, and one or more outside them; on Qwen 3 also of heads.
      const perBlock = family.startsWith('llama') || family === 'qwen2' ? 2 : 4;
      const ofBlocks = norms.filter(({ name }) => /\.\d+\./.test(name));
      assert.equal(ofBlocks.length, perBlock * base.layerCount, family);
      assert.ok(norms.length > ofBlocks.length);
      if (family.startsWith('llama') || family === 'qwen3') continue;
      const biases = tensorsOf({ tensors: 'biases' });
      assert.ok(biases.length > base.layerCount && biases.every(({ name }) => name.endsWith('.bias')));
    }
  });

  it('[FUL-2] refuses what the base has none of, and unknown choices', () => {
    const llama = describeFiles(fixtureFiles('llama_gqa'));
    assert.throws(
      () => parseAdapter({ method: 'full', tensors: 'biases' }, llama),
      /tensors must be another, since this llama has no biases, found "biases"/,
    );
    assert.throws(() => parseAdapter({ method: 'full', tensors: 'some' }, bertLike()), /all, norms, biases/);
  });

  it('[FUL-3] starts as the base and trains: a base learns random labels that its head alone cannot', async () => {
    await useBackend('wasm');
    const random = seededRandom(6, 'full');
    const examples = Array.from({ length: 12 }, () => ({
      ids: Int32Array.from({ length: 6 }, () => 5 + random.integer(100)),
      targets: Int32Array.of(random.integer(2)),
    }));
    const before = memory().numTensors;
    const lossOf = async (method: string, localSteps: number) => {
      const base = fixtureBase('bert');
      const adapter = parseAdapter({ method }, base.description);
      const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 16 } as const;
      const model = createTaskModel({ base, adapter, task });
      const { meanLoss } = await trainLocally({
        model,
        start: model.initialise(1),
        source: memorySource(examples),
        configuration: {
          ...defaultTraining,
          localEpochs: undefined,
          localSteps,
          batchSize: 12,
          learningRate: 3e-3,
          schedule: 'constant',
        },
        seed: 1,
      });
      base.dispose();
      return meanLoss;
    };
    const [first, full, head] = [await lossOf('full', 1), await lossOf('full', 60), await lossOf('none', 60)];
    assert.ok(Math.abs(first - (await lossOf('none', 1))) < 1e-5, 'it does not start as the base');
    assert.ok(full < 0.5 * head, `mean losses: all ${full}, head alone ${head}`);
    assert.equal(memory().numTensors, before);
  });
});
