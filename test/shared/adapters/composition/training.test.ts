import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { memorySource } from '../../../../shared/data/example-source.ts';
import type { BaseModel } from '../../../../shared/model/base-model.ts';
import { networkFrom } from '../../../../shared/model/load.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import { defaultTraining } from '../../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../../shared/training/task-model.ts';
import { trainLocally } from '../../../../shared/training/train.ts';
import { trainsLocally } from '../../../../shared/update/layout.ts';
import { tinyBaseFiles } from '../../../helpers/tiny-base.ts';

const task = { kind: 'classification', labels: ['low', 'high'], pooling: 'mean', lengthMax: 12 } as const;
const member = (id: string, further: object = {}) => ({ id, method: 'bottleneck', size: 3, ...further });
const pair = [member('a'), member('b')];

const adapters: readonly (readonly [string, Plan['adapter']])[] = [
  [
    'a mixture with idle experts',
    { method: 'mixture', size: 2, experts: 16, choices: 1, capacityFactor: 8, jitter: 0.1, noise: true },
  ],
  [
    'a hypernetwork for two tasks',
    { method: 'hyperformer', tasks: ['one', 'other'], reductionFactor: 4, embeddingSize: 4 },
  ],
  ['a hypernetwork by instance', { method: 'hyperformer', task: 'instance', reductionFactor: 4, embeddingSize: 4 }],
  [
    'a stack of a prompt and a mixture',
    {
      method: 'stack',
      members: [
        { id: 'p', method: 'prompt', length: 2 },
        { id: 'm', method: 'mixture', size: 2 },
      ],
    },
  ],
  ['fusion of frozen members', { method: 'fuse', members: pair }],
  ['fusion of low rank', { method: 'fuse', members: pair, rank: 2 }],
  ['a mean with personal weights', { method: 'average', members: pair, learning: 'personal' }],
  ['a gate', { method: 'gate', members: [member('a')], penalty: 0.01 }],
  [
    'a split batch',
    { method: 'batch-split', members: [member('a'), { id: 'l', method: 'lora', rank: 2 }], sizes: [3, 5] },
  ],
  ['a split sequence', { method: 'split', members: pair, at: [2] }],
];

describe('training of compositions, mixtures and hypernetworks', () => {
  let base: BaseModel;
  before(async () => {
    await useBackend('wasm');
    base = networkFrom(tinyBaseFiles());
  });
  after(() => base.dispose());

  /** Texts of different lengths whose tokens are small or large numbers; all batches are full. */
  const lengths = Array.from({ length: 24 }, (_, index) => 3 + (index % 3));
  const source = memorySource(
    lengths.map((length, index) => {
      const start = index % 2 === 0 ? 10 : 150;
      const ids = Int32Array.from({ length }, (_, place) => start + ((7 * index + place) % 60));
      return { ids, targets: Int32Array.of(index % 2) };
    }),
  );
  const { localEpochs: _localEpochs, ...settings } = defaultTraining;
  const configuration = { ...settings, localSteps: 6, batchSize: 8, learningRate: 0.02 };

  for (const [what, adapter] of adapters) {
    it(`[CTR-1] ${what} trains: the same seed gives the same bytes, frozen tensors stay, nothing leaks`, async () => {
      const bound = parseAdapter(adapter, base.description);
      const model = createTaskModel({ base, adapter: bound, task });
      const train = () => trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
      const first = await train();
      const before = memory().numTensors;
      const { parameters, delta, counts, meanLoss } = await train();
      assert.equal(memory().numTensors, before);
      assert.deepEqual(parameters, first.parameters);
      assert.ok(Number.isFinite(meanLoss) && delta.every(Number.isFinite));
      for (const { name, offset, size, aggregationClass } of model.layout.tensors) {
        const isStill = delta.subarray(offset, offset + size).every((value) => value === 0);
        if (!trainsLocally(aggregationClass)) assert.ok(isStill, name);
        assert.equal(counts.has(name), aggregationClass === 'count', name);
      }
      assert.ok(delta.some((value) => value !== 0));
    });
  }

  it('[CTR-2] counts are tokens per example, by expert', async () => {
    const bound = parseAdapter({ method: 'mixture', size: 2, experts: 4, choices: 2 }, base.description);
    const model = createTaskModel({ base, adapter: bound, task });
    const { counts } = await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
    const uses = counts.get('layers.0.feedForward.mixture.uses')!;
    const mean = lengths.reduce((left, right) => left + right) / lengths.length;
    assert.ok(Math.abs(uses.reduce((left, right) => left + right) - 2 * mean) < 1e-4);
  });
});
