import { strict as assert } from 'node:assert';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { createParts, partsOf } from '../../../shared/data/parts.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import type { TaskAdapter } from '../../../shared/training/task-model.ts';
import { sampledBatches, sortedPartBatches, temperatureShares } from '../../../shared/training/task-sampling.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fakeAdapter, fakeClassifier, fakeExamples } from './fake-base.ts';

/** 90 examples of `large`, 9 of `middle`, 1 of `small`, in turns. */
function parted() {
  const parts = createParts();
  const examples = fakeExamples(100, 1).flatMap((example, index) => {
    const part = index === 50 ? 'small' : index % 10 === 0 ? 'middle' : 'large';
    return parts.tag(part, [example]);
  });
  return parts.label(memorySource(examples));
}

describe('sampling of parts', () => {
  it('[TSM-1] shares are n^(1/T): in proportion at 1, alike at large T, and as the published example has them', () => {
    const near = (found: readonly number[], expected: readonly number[]) => {
      for (const [index, share] of found.entries()) assert.ok(Math.abs(share - expected[index]!) < 1e-6, found.join());
    };
    near(temperatureShares([90, 9, 1], 1), [0.9, 0.09, 0.01]);
    near(temperatureShares([90, 9, 1], 1e6), [1 / 3, 1 / 3, 1 / 3]);
    near(temperatureShares([16, 4, 1], 2), [4 / 7, 2 / 7, 1 / 7]);
    // T below 1 sharpens, and does not overflow.
    near(temperatureShares([1e6, 1], 0.01), [1, 0]);
  });

  it('[TSM-2] batches are of one part each, drawn by their shares, and an epoch of a part leaves nothing out', () => {
    const source = parted();
    const parts = partsOf(source)!;
    assert.deepEqual(parts.names, ['middle', 'large', 'small']);
    const stream = sampledBatches({
      parts,
      lengths: source.lengths,
      batchSize: 4,
      temperature: 2,
      random: seededRandom(3, 'sampling'),
    });
    const counts = new Map<string, number>();
    const seen: number[] = [];
    for (let draw = 0; draw < 3000; draw++) {
      const { indices, part } = stream.next().value;
      assert.ok(indices.every((index) => parts.names[parts.of[index]!] === part));
      counts.set(part, (counts.get(part) ?? 0) + 1);
      if (part === 'large' && seen.length < 90) seen.push(...indices);
    }
    assert.equal(new Set(seen).size, 90);
    const shares = temperatureShares([9, 90, 1], 2);
    for (const [index, name] of parts.names.entries()) {
      const found = (counts.get(name) ?? 0) / 3000;
      assert.ok(Math.abs(found - shares[index]!) < 0.03, `${name}: ${found}, expected ${shares[index]}`);
    }
    const sorted = sortedPartBatches(source.lengths, parts, 32).flatMap(({ indices }) => indices);
    assert.deepEqual(
      [...sorted].sort((left, right) => left - right),
      Array.from({ length: 100 }, (_, index) => index),
    );
  });

  it('[TSM-3] rows without parts leave a source as it is; some make it parted', () => {
    const source = memorySource(fakeExamples(2, 1));
    const none = createParts();
    none.tag(undefined, fakeExamples(2, 1));
    assert.equal(none.label(source), source);
    const some = createParts();
    some.tag(undefined, fakeExamples(1, 1));
    some.tag('de', fakeExamples(1, 1));
    assert.deepEqual(partsOf(some.label(source))?.names, ['', 'de']);
  });

  it('[TSM-4] training and evaluation tell an adapter that serves tasks which one a batch is of', async () => {
    await useBackend('cpu');
    const tasks: (string | undefined)[] = [];
    const adapter: TaskAdapter = {
      ...fakeAdapter,
      configuration: { tasks: ['large', 'middle'] },
      hooks: (context) => {
        tasks.push(context.task as string | undefined);
        return fakeAdapter.hooks(context);
      },
    };
    const model = fakeClassifier({ adapter });
    const source = parted();
    const configuration = { ...defaultTraining, localEpochs: undefined, localSteps: 40, samplingTemperature: 1e6 };
    const { parameters } = await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
    const count = (wanted: string | undefined) => tasks.filter((task) => task === wanted).length;
    for (const task of ['large', 'middle', undefined]) assert.ok(count(task) > 5, `${task}: ${count(task)} of 40`);
    tasks.length = 0;
    const metrics = await evaluate({ model, parameters, source });
    assert.equal(metrics.exampleCount, 100);
    assert.deepEqual(new Set(tasks), new Set(['middle', 'large', undefined]));
  });

  it('[TSM-5] a small part is learned where sampling makes it count', async () => {
    await useBackend('cpu');
    // The small part contradicts the large one on tokens that only it has.
    const example = (id: number, label: number) => ({ ids: Int32Array.of(id, id), targets: Int32Array.of(label) });
    const large = Array.from({ length: 120 }, (_, index) => example(index % 4, index % 2));
    const small = Array.from({ length: 4 }, (_, index) => example(10 + index, (index + 1) % 2));
    const parts = createParts();
    const all = [...parts.tag('large', large), ...parts.tag('small', small)];
    const source = parts.label(memorySource(all));
    const lossOn = async (samplingTemperature: number) => {
      const model = fakeClassifier();
      const configuration = {
        ...defaultTraining,
        localEpochs: undefined,
        localSteps: 30,
        learningRate: 0.02,
        samplingTemperature,
      };
      const { parameters } = await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
      return (await evaluate({ model, parameters, source: memorySource(small) })).loss;
    };
    const [proportional, alike] = [await lossOn(1), await lossOn(100)];
    assert.ok(alike < proportional, `${proportional} in proportion, ${alike} alike`);
  });
});
