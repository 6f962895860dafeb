import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { defaultTraining, type TrainingConfiguration } from '../../../shared/training/configuration.ts';
import { mergeCounts } from '../../../shared/training/counts.ts';
import { evaluate, evaluateCounts } from '../../../shared/training/evaluate.ts';
import { metricsOf } from '../../../shared/training/metrics.ts';
import type { TaskAdapter } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fakeAdapter, fakeClassifier, fakeExamples, fakeSource, noAdapter } from './fake-base.ts';

const configuration: TrainingConfiguration = { ...defaultTraining, localEpochs: 6, batchSize: 8, learningRate: 0.02 };

describe('trainLocally', () => {
  before(async () => {
    await useBackend('cpu');
  });

  const classifierWith = (adapter = fakeAdapter) => fakeClassifier({ adapter });

  it('[TRN-1] learns: the loss falls and held-out examples are told apart, with an adapter and with a head alone', async () => {
    for (const adapter of [fakeAdapter, noAdapter]) {
      const model = classifierWith(adapter);
      const start = model.initialise(1);
      const held = fakeSource(60, 2);
      const before = await evaluate({ model, parameters: start, source: held });
      const { parameters } = await trainLocally({
        model,
        start,
        source: fakeSource(80, 1),
        configuration,
        seed: 3,
      });
      const after = await evaluate({ model, parameters, source: held });
      assert.ok(after.loss < before.loss * 0.8, `loss ${before.loss} to ${after.loss}`);
      assert.ok(after.accuracy > 0.8, `accuracy ${after.accuracy}`);
      assert.ok(after.auroc! > 0.9, `AUROC ${after.auroc}`);
    }
  });

  it('[TRN-2] gives the same bytes for the same seed and others for another', async () => {
    const source = fakeSource(40, 1);
    const run = (seed: number) => {
      const model = classifierWith();
      return trainLocally({ model, start: model.initialise(1), source, configuration, seed });
    };
    const [first, again, other] = [await run(3), await run(3), await run(4)];
    assert.deepEqual(again.parameters, first.parameters);
    assert.deepEqual(again.delta, first.delta);
    assert.equal(again.meanLoss, first.meanLoss);
    assert.notDeepEqual(other.parameters, first.parameters);
  });

  it('[TRN-3] returns the delta in layout order and leaves the start and frozen tensors as they were', async () => {
    const model = classifierWith();
    const start = model.initialise(1);
    const untouched = start.slice();
    const result = await trainLocally({ model, start, source: fakeSource(20, 1), configuration, seed: 1 });
    assert.deepEqual(start, untouched);
    assert.equal(result.steps, 6 * 3);
    assert.equal(result.exampleCount, 20);
    for (const { name, offset, size } of model.layout.tensors) {
      const part = result.delta.subarray(offset, offset + size);
      assert.equal(
        part.every((value) => value === 0),
        name === 'fake.frozen',
        name,
      );
    }
    assert.deepEqual(
      result.delta,
      result.parameters.map((value, index) => value - start[index]!),
    );
  });

  it('[TRN-4] holds as many tensors after the tenth step as after the first, and none when it is over', async () => {
    for (const adapter of [fakeAdapter, noAdapter]) {
      const model = classifierWith(adapter);
      const before = memory().numTensors;
      const counts: number[] = [];
      await trainLocally({
        model,
        start: model.initialise(1),
        source: fakeSource(40, 1),
        configuration: { ...configuration, localEpochs: undefined, localSteps: 10, proximalMu: 0.1 },
        seed: 1,
        onProgress: () => counts.push(memory().numTensors),
      });
      assert.equal(counts.length, 10);
      assert.deepEqual(new Set(counts).size, 1, `tensors after each step: ${counts.join(' ')}`);
      assert.equal(memory().numTensors, before);
      await evaluate({ model, parameters: model.initialise(1), source: fakeSource(40, 1) });
      assert.equal(memory().numTensors, before);
    }
  });

  it('[TRN-5] stays nearer to the start with a proximal term (FedProx)', async () => {
    const source = fakeSource(40, 1);
    const distance = async (proximalMu: number) => {
      const model = classifierWith();
      const start = model.initialise(1);
      const settings = { ...configuration, proximalMu, weightDecay: 0 };
      const { delta } = await trainLocally({ model, start, source, configuration: settings, seed: 1 });
      return Math.hypot(...delta);
    };
    const [free, weak, strong] = [await distance(0), await distance(0.1), await distance(10)];
    assert.ok(weak < free && strong < weak / 2, `distances ${free}, ${weak}, ${strong}`);
  });

  it('[TRN-6] continues the schedule of all rounds: the last round moves less than the first', async () => {
    const source = fakeSource(40, 1);
    const moved = async (index: number) => {
      const model = classifierWith();
      const settings = { ...configuration, localEpochs: 1, warmupFraction: 0, weightDecay: 0 };
      const round = { index, count: 10 };
      const start = model.initialise(1);
      const { delta } = await trainLocally({ model, start, source, configuration: settings, seed: 1, round });
      return Math.hypot(...delta);
    };
    const [first, last] = [await moved(0), await moved(9)];
    assert.ok(last < first / 4, `first ${first}, last ${last}`);
  });

  it('[TRN-7] gives the event loop a turn after every step and stops when asked, without leaving tensors', async () => {
    const model = classifierWith();
    const before = memory().numTensors;
    const controller = new AbortController();
    let turns = 0;
    const count = () => {
      turns++;
      if (!controller.signal.aborted) setImmediate(count);
    };
    setImmediate(count);
    let steps = 0;
    const training = trainLocally({
      model,
      start: model.initialise(1),
      source: fakeSource(40, 1),
      configuration,
      seed: 1,
      onProgress: () => {
        steps++;
        if (steps === 4) controller.abort(new Error('the round is over'));
      },
      signal: controller.signal,
    });
    await assert.rejects(training, /the round is over/);
    assert.equal(steps, 4);
    assert.ok(turns >= 3, `${turns} turns`);
    assert.equal(memory().numTensors, before);
  });

  it('[TRN-8] refuses to go on from a loss that is not finite', async () => {
    const model = classifierWith();
    const start = model.initialise(1);
    start[start.length - 1] = Number.NaN;
    const before = memory().numTensors;
    await assert.rejects(trainLocally({ model, start, source: fakeSource(8, 1), configuration, seed: 1 }), {
      code: 'training-diverged',
    });
    assert.equal(memory().numTensors, before);
  });
});

describe('auxiliary losses', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[TRN-11] are added to that of the task, with their gradients, in training and not in evaluation', async () => {
    let evaluated = 0;
    /** Pulls every value of the kernel to 1, much stronger than the task does. */
    const pulling: TaskAdapter = {
      ...fakeAdapter,
      hooks: (context) => {
        const kernel = context.parameters.get('fake.kernel')!;
        if (context.addLoss === undefined) evaluated++;
        context.addLoss?.('pull', kernel.sub(1).square().sum().mul(10).asScalar());
        return fakeAdapter.hooks(context);
      },
    };
    const model = fakeClassifier({ adapter: pulling });
    const start = model.initialise(1);
    const source = fakeSource(24, 1);
    const settings = { ...configuration, localEpochs: undefined, localSteps: 60, weightDecay: 0, gradientClipNorm: 0 };
    const losses: number[] = [];
    const { parameters } = await trainLocally({
      model,
      start,
      source,
      configuration: { ...settings, learningRate: 0.05 },
      seed: 1,
      onProgress: ({ loss }) => losses.push(loss),
    });
    assert.ok(losses[0]! > 640, 'ten times the squared distance of 64 values');
    const kernel = parameters.subarray(0, 64);
    assert.ok(
      kernel.every((value) => Math.abs(value - 1) < 0.4),
      `${kernel.join(' ')}`,
    );
    const { loss } = await evaluate({ model, parameters, source });
    assert.ok(loss < 10 && evaluated > 0);
  });
});

describe('trainLocally on WebAssembly', () => {
  before(async () => {
    await useBackend('wasm');
  });
  after(async () => {
    await useBackend('cpu');
  });

  it('[TRN-9] gives the same bytes twice, and nearly those of the plain back end', async () => {
    const run = () => {
      const model = fakeClassifier({ pooling: 'mean' });
      const settings = { ...configuration, localEpochs: 1 };
      const start = model.initialise(1);
      return trainLocally({ model, start, source: fakeSource(40, 1), configuration: settings, seed: 3 });
    };
    const [first, again] = [await run(), await run()];
    assert.deepEqual(again.parameters, first.parameters);
    await useBackend('cpu');
    const plain = await run();
    assert.ok(Math.abs(plain.meanLoss - first.meanLoss) < 1e-4, `${plain.meanLoss} and ${first.meanLoss}`);
  });
});

describe('evaluate', () => {
  it('[TRN-10] gives the same metrics for sites pooled by counts as for all rows at once, at any batch size', async () => {
    const model = fakeClassifier({ pooling: 'last' });
    const parameters = model.initialise(1);
    const examples = fakeExamples(50, 9);
    const whole = await evaluate({ model, parameters, source: memorySource(examples), batchSize: 50 });
    const parts = [examples.slice(0, 7), examples.slice(7, 30), examples.slice(30)];
    const counts = await Promise.all(
      parts.map((part) => evaluateCounts({ model, parameters, source: memorySource(part), batchSize: 4 })),
    );
    const pooled = metricsOf(mergeCounts(counts, model.task.shape), model.task.metrics);
    for (const name of ['loss', 'brier', 'calibrationError'] as const)
      assert.ok(Math.abs(pooled[name] - whole[name]) < 1e-6);
    const sums = { loss: 0, brier: 0, calibrationError: 0 };
    assert.deepEqual({ ...pooled, ...sums }, { ...whole, ...sums });
  });
});
