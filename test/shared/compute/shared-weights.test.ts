import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { loadOver, loadShared, sharesWeights } from '../../../shared/compute/shared-weights.ts';
import { InvariantError } from '../../../shared/core/assert.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import type { LoadedBase } from '../../../shared/model/load.ts';
import { baseModelFrom } from '../../../shared/model/load.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

const files = tinyBaseFiles();
const load = () => baseModelFrom(files);
const examples = Array.from({ length: 6 }, (_, index) => ({
  ids: Int32Array.of(4 + index, 20, 30 + index),
  targets: Int32Array.of(index % 2),
}));

async function learned({ model: base }: LoadedBase): Promise<Float32Array> {
  const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;
  const model = createTaskModel({ base, adapter: parseAdapter({ method: 'lora', rank: 2 }, base.description), task });
  const configuration = { ...defaultTraining, localEpochs: 2, batchSize: 2 };
  const start = model.initialise(1);
  return (await trainLocally({ model, start, source: memorySource(examples), configuration, seed: 1 })).delta;
}

for (const backend of ['cpu', 'native'] as const)
  describe(`weights that threads share, on ${backend}`, () => {
    before(() => useBackend(backend));

    it('[SHW-1] a base over shared memory learns the same bytes, and its tensors are that memory', async () => {
      assert.ok(sharesWeights());
      const own = await load();
      const { base: first, weights } = await loadShared(load);
      const bytes = weights.reduce((sum, { byteLength }) => sum + byteLength, 0);
      assert.equal(bytes, 4 * own.model.description.parameterCount);
      const second = await loadOver(weights, load);
      const expected = await learned(own);
      assert.ok(expected.some((value) => value !== 0));
      assert.deepEqual(await learned(first), expected);
      assert.deepEqual(await learned(second), expected);
      // What one of them computes with changes with the memory: nobody has a copy.
      for (const one of weights) new Float32Array(one).fill(0);
      assert.notDeepEqual(await learned(second), expected);
      assert.deepEqual(await learned(first), await learned(second));
      assert.deepEqual(await learned(own), expected);
      for (const { model } of [own, first, second]) model.dispose();
    });

    it('[SHW-2] memory of another base is refused, and nothing stays', async () => {
      const { base, weights } = await loadShared(load);
      const before = memory().numTensors;
      await assert.rejects(loadOver([...weights].reverse(), load), InvariantError);
      await assert.rejects(loadOver(weights.slice(1), load), InvariantError);
      assert.equal(memory().numTensors, before);
      base.model.dispose();
    });
  });

describe('weights where memory cannot be shared', () => {
  it('[SHW-3] WebAssembly says so: every thread has a memory of its own', async () => {
    await useBackend('wasm');
    assert.equal(sharesWeights(), false);
  });
});
