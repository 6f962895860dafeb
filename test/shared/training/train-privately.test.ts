import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { randomIntegers } from '../../../shared/privacy/random-integers.ts';
import { recordEpsilon } from '../../../shared/privacy/record-accounting.ts';
import { affordable, leastNoise } from '../../../shared/privacy/sizing.ts';
import { defaultTraining, type TrainingConfiguration } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import { privateGradient } from '../../../shared/training/private-gradient.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { trainPrivately } from '../../../shared/training/train-privately.ts';
import { fakeClassifier, fakeExamples, fakeSource, noAdapter } from './fake-base.ts';

const seeded = (seed: number) => randomIntegers(createKeyStream(1, new Uint8Array(32).fill(seed)));
const configuration: TrainingConfiguration = {
  ...defaultTraining,
  localEpochs: 1,
  batchSize: 8,
  learningRate: 0.02,
  gradientClipNorm: 0,
};
async function* listed(gradients: readonly Float32Array[]) {
  yield* gradients;
}

describe('training that protects single records', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[DPR-1] the private gradient is the sum of clipped gradients over the expected count, and noise of the right size', async () => {
    const gradients = [Float32Array.of(3, 4, 9), Float32Array.of(0.3, 0, 9), Float32Array.of(Number.NaN, 0.1, 9)];
    const step = { dim: 3, clipNorm: 1, noiseMultiplier: 1e-4, expectedCount: 2, random: seeded(1) };
    const found = await privateGradient(step, listed(gradients), (index) => index < 2);
    assert.ok(Math.abs(found[0]! - 0.45) < 1e-3 && Math.abs(found[1]! - 0.45) < 1e-3, String(found));
    assert.equal(found[2], 0);
    const noise = await privateGradient({ ...step, dim: 4000, noiseMultiplier: 3 }, listed([]), () => true);
    const deviation = Math.sqrt(noise.reduce((sum, value) => sum + value * value, 0) / noise.length);
    assert.ok(Math.abs(deviation - 1.5) < 0.1, `deviation ${deviation}`);
  });

  it('[DPR-2] with all records, a wide norm and hardly any noise a step is that of plain training', async () => {
    const examples = fakeExamples(6, 1);
    const source = memorySource(examples);
    const settings = { ...configuration, localEpochs: undefined, localSteps: 3, batchSize: 6 };
    // The head alone has no dropout, whose draws differ between one batch and six examples.
    const model = fakeClassifier({ adapter: noAdapter });
    const start = model.initialise(1);
    const plain = await trainLocally({ model, start, source, configuration: settings, seed: 1 });
    const privacy = { clipNorm: 100, noiseMultiplier: 1e-6 };
    const found = await trainPrivately({
      model,
      start,
      source,
      configuration: settings,
      seed: 1,
      privacy,
      random: seeded(2),
    });
    for (const [index, value] of plain.delta.entries())
      assert.ok(Math.abs(value - found.delta[index]!) < 2e-3, `${index}: ${value} and ${found.delta[index]}`);
    assert.equal(found.meanLoss, 0);
  });

  it('[DPR-3] learns under real noise, leaves frozen tensors alone and no tensor behind', async () => {
    const model = fakeClassifier();
    const start = model.initialise(1);
    const held = fakeSource(60, 2);
    const source = fakeSource(80, 1);
    const before = memory().numTensors;
    const settings = { ...configuration, localEpochs: 4, batchSize: 20, learningRate: 0.05 };
    const privacy = { clipNorm: 1, noiseMultiplier: 1 };
    const { parameters, delta } = await trainPrivately({
      model,
      start,
      source,
      configuration: settings,
      seed: 1,
      privacy,
      random: seeded(3),
    });
    assert.equal(memory().numTensors, before);
    const { accuracy } = await evaluate({ model, parameters, source: held });
    assert.ok(accuracy > 0.75, `accuracy ${accuracy}`);
    for (const { aggregationClass, offset, size } of model.layout.tensors)
      if (aggregationClass === 'frozen') assert.ok(delta.subarray(offset, offset + size).every((value) => value === 0));
  });

  it('[DPR-4] other coins give other steps from the same seed of the plan', async () => {
    const model = fakeClassifier({ adapter: noAdapter });
    const start = model.initialise(1);
    const privacy = { clipNorm: 1, noiseMultiplier: 1 };
    const run = (coins: number) =>
      trainPrivately({
        model,
        start,
        source: fakeSource(16, 1),
        configuration,
        seed: 1,
        privacy,
        random: seeded(coins),
      });
    assert.deepEqual((await run(4)).delta, (await run(4)).delta);
    assert.notDeepEqual((await run(4)).delta, (await run(5)).delta);
  });

  it('[DPR-5] settings that look at records beside their clipped gradients are refused', async () => {
    const model = fakeClassifier();
    const options = { model, start: model.initialise(1), source: fakeSource(8, 1), seed: 1, random: seeded(6) };
    const privacy = { clipNorm: 1, noiseMultiplier: 1 };
    const settings = { ...configuration, samplingTemperature: 2 };
    await assert.rejects(trainPrivately({ ...options, privacy, configuration: settings }), { code: 'bad-training' });
  });

  it('[DPR-6] noise is sized for the budget, and the budget ends where the next round would exceed it', () => {
    const mechanism = { recordCount: 2000, batchSize: 50, stepsPerRound: 40, dpDelta: 1e-5 };
    const noise = leastNoise((z) => recordEpsilon(mechanism, z, 10), 3);
    assert.ok(noise !== null);
    const spent = recordEpsilon(mechanism, noise, 10);
    assert.ok(spent <= 3 && spent > 2.98, `spent ${spent}`);
    assert.equal(
      affordable((rounds) => recordEpsilon(mechanism, noise, rounds), 3, 100),
      10,
    );
    assert.equal(
      leastNoise(() => 5, 3),
      null,
    );
    assert.equal(recordEpsilon(mechanism, noise, 0), 0);
  });
});
