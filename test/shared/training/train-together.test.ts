import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { createActivationCache } from '../../../shared/training/activation-cache.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { type TrainingResult, trainLocally } from '../../../shared/training/train.ts';
import { trainTogether } from '../../../shared/training/train-together.ts';
import { requireNative } from '../compute/native/available.ts';
import { fixtureBase, largestError } from '../model/fixtures.ts';

const tasks: readonly Task[] = [
  { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 },
  { kind: 'tokens', labels: ['O', 'B-X'], lengthMax: 8 },
];

/** Texts of a client: 5 of the first, 6 of the second, and so on, of several lengths. */
function clientOf(client: number, { kind }: Task) {
  const random = seededRandom(client, 'texts');
  const examples = Array.from({ length: 5 + client }, (_, index) => {
    const ids = Int32Array.from({ length: 3 + ((index + client) % 6) }, () => random.integer(50));
    return { ids, targets: kind === 'tokens' ? ids.map((id) => id % 2) : Int32Array.of(index % 2) };
  });
  return memorySource(examples);
}

const configuration = { ...defaultTraining, localEpochs: 2, batchSize: 2, learningRate: 0.02, proximalMu: 0.1 };

function modelOf(task: Task, adapter: Plan['adapter'], room = 0) {
  const base = fixtureBase('bert');
  const activations = createActivationCache({ bytesMax: room });
  const model = createTaskModel({ base, adapter: parseAdapter(adapter, base.description), task, activations });
  return { base, model, activations };
}

for (const backend of ['cpu', 'wasm', 'native'] as const) {
  describe(`training of several clients together on ${backend}`, () => {
    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
    });

    for (const task of backend === 'cpu' ? tasks : tasks.slice(0, 1))
      for (const adapter of [
        { method: 'lora', rank: 2 },
        { method: 'bottleneck', size: 3 },
        { method: 'lora', rank: 2, layers: [1] },
      ])
        it(`[TOG-1] gives each client what it gets alone: ${task.kind}, ${JSON.stringify(adapter)}`, async () => {
          const { base, model, activations } = modelOf(task, adapter, 2 ** 20);
          const clients = [0, 1, 2].map((client) => ({
            start: model.initialise(client),
            source: clientOf(client, task),
            seed: 7 + client,
          }));
          const round = { index: 1, count: 3 };
          const alone: TrainingResult[] = [];
          for (const client of clients) alone.push(await trainLocally({ model, ...client, configuration, round }));
          // Copies of frozen weights are made by then.
          const before = memory().numTensors;
          const together = await trainTogether({ model, clients, configuration, round });
          assert.equal(memory().numTensors, before);
          assert.equal(activations.count > 0, 'layers' in adapter);
          for (const [index, own] of alone.entries()) {
            const found = together[index]!;
            assert.ok(own.delta.some((value) => Math.abs(value) > 1e-3));
            assert.ok(largestError(found.delta, own.delta) < 2e-5, `off by ${largestError(found.delta, own.delta)}`);
            assert.ok(Math.abs(found.meanLoss - own.meanLoss) < 1e-5);
            assert.deepEqual([found.steps, found.exampleCount], [own.steps, own.exampleCount]);
          }
          base.dispose();
        });

    it('[TOG-2] refuses adapters that are not maps for rows, which train one by one instead', async () => {
      const { base, model } = modelOf(tasks[0]!, { method: 'prefix', length: 2 });
      const clients = [{ start: model.initialise(1), source: clientOf(0, tasks[0]!), seed: 1 }];
      await assert.rejects(trainTogether({ model, clients, configuration }), UsageError);
      base.dispose();
    });
  });
}
