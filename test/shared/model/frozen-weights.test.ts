import { strict as assert } from 'node:assert';
import { memory, type Tensor2D, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { loadOver, loadShared } from '../../../shared/compute/shared-weights.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import { loadBase, pretrainedFolder } from '../../../shared/model/load.node.ts';
import type { LoadedBase } from '../../../shared/model/load.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { requireNative } from '../compute/native/available.ts';

const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;
const ids = Int32Array.of(5, 9, 30, 200, 40, 7, 2, 11);

async function statesOf(model: BaseModel): Promise<Float32Array> {
  const states = tidy(() => {
    const inputIds: Tensor2D = tensor2d(ids, [1, ids.length], 'int32');
    return model.encode({
      inputIds,
      attentionMask: tensor2d(new Int32Array(ids.length).fill(1), [1, ids.length], 'int32'),
    });
  });
  const values = (await states.data()) as Float32Array;
  states.dispose();
  return values;
}

describe('frozen weights in a smaller form', () => {
  it('[FRW-1] give the states of the pretrained base, whose file is float16, exactly in float16 and within 5 % in int8', async () => {
    await useBackend('wasm');
    const found = [];
    for (const frozenWeights of ['float32', 'float16', 'int8'] as const) {
      const { model } = await loadBase(pretrainedFolder(), { frozenWeights });
      found.push({ digest: model.description.digest, states: await statesOf(model) });
      model.dispose();
    }
    const [whole, half, quarter] = found as [(typeof found)[0], (typeof found)[0], (typeof found)[0]];
    const length = Math.hypot(...whole.states);
    const errorOf = ({ states }: typeof whole) =>
      Math.hypot(...states.map((value, index) => value - whole.states[index]!)) / length;
    assert.deepEqual(half.states, whole.states);
    assert.ok(errorOf(quarter) > 0 && errorOf(quarter) < 0.05, `int8 ${errorOf(quarter)}`);
    assert.equal(new Set(found.map(({ digest }) => digest)).size, 1);
  });

  it('[FRW-2] train adapters of methods that read the weights too', async () => {
    await useBackend('wasm');
    const { model: base } = await loadBase(pretrainedFolder(), { frozenWeights: 'int8' });
    const source = memorySource([0, 1].map((label) => ({ ids, targets: Int32Array.of(label) })));
    for (const settings of [
      { method: 'lora', rank: 2 },
      { method: 'dora', rank: 2 },
      { method: 'bottleneck', size: 4 },
    ]) {
      const adapter = parseAdapter(settings, base.description);
      const model = createTaskModel({ base, adapter, task });
      const configuration = { ...defaultTraining, localEpochs: undefined, localSteps: 2, batchSize: 2 };
      const { delta } = await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
      assert.ok(delta.some((value) => value !== 0) && delta.every(Number.isFinite), settings.method);
    }
    base.dispose();
  });

  for (const backend of ['native', 'wasm', 'cpu'] as const)
    it(`[FRW-3] as the file holds them learn the same as widened once, to the byte where both have the same products, and leave no tensor: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
      const before = memory().numTensors;
      const learn = async ({ model: base }: LoadedBase, kind: 'causal' | 'classification'): Promise<Float32Array> => {
        const causal = { kind: 'causal', lengthMax: 8 } as const;
        const scored = ids.map((id, index) => (index === 0 ? -1 : id));
        const adapter = parseAdapter({ method: 'lora', rank: 2, targets: ['q', 'v', 'down'] }, base.description);
        const model = createTaskModel({ base, adapter, task: kind === 'causal' ? causal : task });
        const source = memorySource(
          [0, 1].map((label) => ({ ids, targets: kind === 'causal' ? scored : Int32Array.of(label) })),
        );
        const configuration = { ...defaultTraining, localEpochs: undefined, localSteps: 2, batchSize: 2 };
        return (await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 })).delta;
      };
      const widened = await loadBase(pretrainedFolder(), { frozenWeights: 'float32' });
      const stored = await loadBase(pretrainedFolder(), { frozenWeights: 'file' });
      assert.deepEqual(await statesOf(stored.model), await statesOf(widened.model));
      for (const kind of ['causal', 'classification'] as const) {
        const expected = await learn(widened, kind);
        assert.ok(expected.some((value) => value !== 0));
        const found = await learn(stored, kind);
        // There matrices in float32 are packed for training, and products with packed matrices sum in another order.
        if (backend !== 'native') assert.deepEqual(found, expected, kind);
        for (const [place, value] of found.entries()) assert.ok(Math.abs(value - expected[place]!) < 1e-5, kind);
      }
      for (const { model } of [widened, stored]) model.dispose();
      assert.equal(memory().numTensors, before);
    });

  it('[FRW-4] as the file holds them are shared by threads in half the memory', async () => {
    await useBackend('cpu');
    const load = () => loadBase(pretrainedFolder(), { frozenWeights: 'file' });
    const { base, weights } = await loadShared(load);
    const bytes = weights.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const { parameterCount } = base.model.description;
    assert.ok(bytes < 2.1 * parameterCount, `${bytes} bytes for ${parameterCount} parameters`);
    const other = await loadOver(weights, load);
    const states = await statesOf(base.model);
    assert.deepEqual(await statesOf(other.model), states);
    for (const one of weights) new Uint8Array(one).fill(0);
    assert.notDeepEqual(await statesOf(other.model), states);
    for (const { model } of [base, other]) model.dispose();
  });
});
