/** Every method that stands by itself goes through local training, on bases with norms after and before. */
import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { soloMethodNames } from '../../../shared/adapters/method-names.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { trainsLocally } from '../../../shared/update/layout.ts';
import { fixtureBase } from '../model/fixtures.ts';

const source = memorySource(
  Array.from({ length: 4 }, (_, row) => ({
    ids: Int32Array.from({ length: 5 }, (_unused, place) => 5 + ((row * 7 + place * 3) % 90)),
    targets: Int32Array.of(row % 2),
  })),
);
const configuration = { ...defaultTraining, localEpochs: undefined, localSteps: 2, batchSize: 8, learningRate: 0.01 };

type Settings = { readonly method: string; readonly [setting: string]: unknown };
const cases: readonly Settings[] = [
  // Training all of a base also means heads that a classifier does not ask.
  ...soloMethodNames.filter((method) => method !== 'full').map((method) => ({ method })),
  { method: 'bottleneck', placement: 'adapterplus', gate: true, normBefore: true, normAfter: true, dropout: 0.1 },
  { method: 'bottleneck', placement: 'parallel', scaling: 'learned', parallelInput: 'normed' },
  { method: 'vera', projections: 'stored', trains: 'b' },
  { method: 'compacter', placement: 'houlsby', trains: 'left' },
  { method: 'prefix', length: 3, networkSize: 4, positions: 'shifted', dropout: 0.1 },
  { method: 'prompt', length: 3, place: 'embeddings' },
];

for (const family of ['bert', 'gpt2']) {
  describe(`training adapters on ${family}`, () => {
    let base: BaseModel;
    before(async () => {
      await useBackend('wasm');
      base = fixtureBase(family);
    });
    after(() => base.dispose());

    const modelOf = (settings: Settings, dropLowest = 0) => {
      const adapter = parseAdapter(settings, base.description);
      const { positionsMax } = base.description;
      const lengthMax = positionsMax - (adapter.virtualTokens ?? 0);
      const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax } as const;
      return createTaskModel({ base, adapter, task, dropLowest });
    };
    const train = (settings: Settings, localSteps = configuration.localSteps, seed = 1) => {
      const model = modelOf(settings);
      const options = {
        model,
        start: model.initialise(1),
        source,
        configuration: { ...configuration, localSteps },
        seed,
      };
      return trainLocally(options).then((result) => ({ model, ...result }));
    };

    for (const settings of cases) {
      it(`[ATR-1] ${JSON.stringify(settings)}: every tensor that trains moves, every other stays, nothing leaks`, async () => {
        const { model, delta, meanLoss } = await train(settings);
        // A second time: the base keeps transposed weights from the first gradient that needs them on.
        const alive = memory().numTensors;
        await train(settings, 1);
        assert.ok(Number.isFinite(meanLoss));
        for (const { name, offset, size, aggregationClass } of model.layout.tensors) {
          // An expert that no token chose has nothing to learn.
          if (aggregationClass === 'count-weighted') continue;
          const moved = delta.subarray(offset, offset + size).some((value) => value !== 0);
          assert.equal(moved, trainsLocally(aggregationClass), name);
        }
        assert.equal(memory().numTensors, alive);
      });
    }

    it('[ATR-2] a step that drops layers leaves their adapters as they are', async () => {
      const settings = { method: 'lora', rank: 2, adapterDrop: 2 };
      const touched = new Set<number>();
      for (let seed = 0; seed < 8; seed++) {
        const { model, delta } = await train(settings, 1, seed);
        const moved = model.layout.tensors
          .filter(
            ({ name, offset, size }) =>
              name.endsWith('.b') && delta.subarray(offset, offset + size).some((value) => value !== 0),
          )
          .map(({ name }) => Number(name.split('.')[1]));
        const lowest = Math.min(...moved);
        assert.deepEqual([...new Set(moved)], [0, 1, 2].slice(lowest));
        touched.add(lowest);
      }
      assert.deepEqual(touched, new Set([0, 1, 2]));
    });

    it('[ATR-3] evaluation may drop layers', async () => {
      const settings = { method: 'bottleneck', placement: 'houlsby', size: 4, initialisation: 'bert' };
      const { parameters } = await train(settings);
      const lossOf = async (dropLowest: number) =>
        (await evaluate({ model: modelOf(settings, dropLowest), parameters, source })).loss;
      const losses = [await lossOf(0), await lossOf(1), await lossOf(3)];
      assert.equal(new Set(losses).size, 3);
    });
  });
}
