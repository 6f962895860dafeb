/** Every kind of task learns something within seconds: on the base that ships, and masked language modelling on a small random BERT. */
import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { type ExampleSource, memorySource } from '../../../shared/data/example-source.ts';
import type { TaskRow } from '../../../shared/data/row.ts';
import { pretrainedFolder, readBaseFiles } from '../../../shared/model/load.node.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { countAtTemperature, fitTemperature } from '../../../shared/training/calibration.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { encodeRows } from '../../../shared/training/encode-rows.ts';
import { evaluate, evaluateCounts } from '../../../shared/training/evaluate.ts';
import { type Metrics, metricsOf } from '../../../shared/training/metrics.ts';
import { createTaskModel, type TaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fixtureBase } from '../model/fixtures.ts';

const configuration = { ...defaultTraining, localEpochs: undefined, batchSize: 8, learningRate: 0.01 };

/** Metrics before and after some steps; trains twice, which must give the same bytes and leave no tensor. */
async function learn(
  model: TaskModel,
  train: ExampleSource,
  test: ExampleSource,
  steps: number,
): Promise<{ before: Metrics; after: Metrics; parameters: Float32Array }> {
  const start = model.initialise(1);
  const measure = (parameters: Float32Array) => evaluate({ model, parameters, source: test });
  const before = await measure(start);
  const run = (localSteps: number) =>
    trainLocally({ model, start, source: train, configuration: { ...configuration, localSteps }, seed: 3 });
  const { parameters } = await run(steps);
  // The first gradient made what the base keeps for gradients.
  const tensorCount = memory().numTensors;
  const [first, again] = [await run(2), await run(2)];
  assert.deepEqual(first.parameters, again.parameters);
  assert.equal(memory().numTensors, tensorCount, 'training leaves no tensor');
  return { before, after: await measure(parameters), parameters };
}

const names = ['Anna', 'Boris', 'Carla', 'David', 'Emma', 'Felix'];
const cities = ['Berlin', 'Paris', 'Rome', 'London', 'Vienna', 'Madrid'];

describe('tasks on the base that ships', () => {
  let base: LoadedBase;
  before(async () => {
    await useBackend('wasm');
    base = await baseModelFrom(await readBaseFiles(pretrainedFolder()));
  });
  after(async () => {
    base.model.dispose();
    await useBackend('cpu');
  });

  const modelOf = (task: Task) => {
    const adapter = parseAdapter({ method: 'lora', rank: 4 }, base.model.description);
    return createTaskModel({ base: base.model, adapter, task, tokenizer: base.tokenizer });
  };
  const sourceOf = (model: TaskModel, rows: readonly TaskRow[]) =>
    encodeRows(rows, { task: model.task, tokenizer: base.tokenizer }).source;
  const made = <Content>(count: number, seed: number, make: (pick: (list: readonly string[]) => string) => Content) => {
    const random = seededRandom(seed, 'task-rows');
    return Array.from({ length: count }, (_, index) => ({
      ...make((list) => list[random.integer(list.length)]!),
      line: index + 1,
    }));
  };

  it('[TTR-1] tokens: finds names and places', async () => {
    const model = modelOf({ kind: 'tokens', labels: ['B-LOC', 'B-NAME', 'O'], lengthMax: 32 });
    const rows = (count: number, seed: number) =>
      made(count, seed, (pick) => {
        const words = [pick(names), pick(['lives', 'works', 'stays']), 'in', pick(cities)];
        return { words, tags: ['B-NAME', 'O', 'O', 'B-LOC'] };
      });
    const { before, after } = await learn(model, sourceOf(model, rows(48, 1)), sourceOf(model, rows(24, 2)), 16);
    assert.ok(before.entityF1! < 0.8 && after.entityF1! > 0.95, `${before.entityF1} to ${after.entityF1}`);
  }).timeout(20_000);

  it('[TTR-2] causal: learns the answers to prompts; before training the perplexity is that of a language model', async () => {
    const model = modelOf({ kind: 'causal', lengthMax: 32 });
    const rows = (count: number, seed: number) =>
      made(count, seed, (pick) => {
        const city = pick(cities);
        return { prompt: `Where is ${pick(names)}?`, answer: ` In ${city}, as always.` };
      });
    const { before, after } = await learn(model, sourceOf(model, rows(48, 1)), sourceOf(model, rows(16, 2)), 16);
    assert.ok(before.perplexity! < 6144 / 4, `far better than guessing: ${before.perplexity}`);
    assert.ok(after.perplexity! < before.perplexity! / 8, `${before.perplexity} to ${after.perplexity}`);
    assert.ok(after.accuracy > before.accuracy + 0.3);
    assert.equal(after.macroF1, null);
  }).timeout(20_000);

  it('[TTR-3] multi-label: finds every topic of a text, and a temperature fitted to other rows does not worsen the loss on them', async () => {
    const model = modelOf({
      kind: 'multi-label',
      labels: ['card', 'loan'],
      pooling: 'mean',
      lengthMax: 32,
      classWeights: [1, 2],
    });
    const rows = (count: number, seed: number) =>
      made(count, seed, (pick) => {
        const topics = [pick(['card', '']), pick(['loan', ''])].filter((topic) => topic !== '');
        return {
          text: `${pick(names)} asks about ${topics.map((topic) => `my ${topic}`).join(' and ') || 'the weather'}`,
          labels: topics,
        };
      });
    const test = sourceOf(model, rows(32, 2));
    const { before, after, parameters } = await learn(model, sourceOf(model, rows(64, 1)), test, 32);
    assert.ok(
      after.microF1! > 0.9 && after.loss < before.loss / 3,
      `${after.microF1}, ${before.loss} to ${after.loss}`,
    );
    assert.ok(after.auroc! > 0.95);
    const temperature = await fitTemperature({ model, parameters, source: test });
    const { plain, calibrated } = await countAtTemperature({ model, parameters, source: test, temperature });
    assert.ok(metricsOf(calibrated, model.task.metrics).loss <= metricsOf(plain, model.task.metrics).loss + 1e-6);
    assert.deepEqual(calibrated.labels, plain.labels, 'what is predicted does not change');
    assert.deepEqual(await evaluateCounts({ model, parameters, source: test }), plain);
  }).timeout(20_000);
});

describe('masked language modelling on a small BERT', () => {
  before(async () => {
    await useBackend('wasm');
  });
  after(async () => {
    await useBackend('cpu');
  });

  it('[TTR-4] learns to guess; an evaluation masks the same tokens every time and in every batch', async () => {
    const base = fixtureBase('bert');
    const adapter = parseAdapter({ method: 'lora', targets: 'all-linear', rank: 8 }, base.description);
    const task = { kind: 'masked', lengthMax: 16, maskFraction: 0.2 } as const;
    const model = createTaskModel({ base, adapter, task, tokenizer: { maskId: 4 } });
    const random = seededRandom(5, 'masked');
    const source = memorySource(
      Array.from({ length: 40 }, () => {
        const first = 10 + random.integer(20);
        const ids = Int32Array.from({ length: 12 }, (_, place) => first + (place % 3));
        return { ids, targets: ids };
      }),
    );
    const { before, after, parameters } = await learn(model, source, source, 40);
    assert.ok(after.perplexity! < before.perplexity! / 2, `${before.perplexity} to ${after.perplexity}`);
    const counts = (batchSize: number) => evaluateCounts({ model, parameters, source, batchSize });
    const [small, large] = [await counts(7), await counts(40)];
    assert.ok(Math.abs(small.lossSum - large.lossSum) < 1e-3 * large.lossSum);
    assert.deepEqual([small.targetCount, small.rightCount], [large.targetCount, large.rightCount]);
    base.dispose();
  }).timeout(20_000);
});
