import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { taskLearner } from '../../client/task-learner.ts';
import type { Row } from '../../shared/data/row.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';

const rows: Row[] = Array.from({ length: 12 }, (_, index) => ({
  text: index % 2 === 0 ? `yes ${index}` : `no ${index}`,
  label: index % 2 === 0 ? 'yes' : 'no',
  line: index + 1,
}));
const files = tinyBaseFiles();
const planWith = (task: object = {}) =>
  parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'learner',
      base: { digest: describeFiles(files).digest },
      task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16, ...task },
      adapter: { method: 'lora', rank: 2 },
      training: { localSteps: 3, batchSize: 4 },
      rounds: { count: 2, quorum: 1 },
    },
    'the test',
  );
const signal = new AbortController().signal;
const learner = (train: Row[] = rows) =>
  taskLearner({ train: viewsOf(train), heldOut: viewsOf(rows.slice(0, 4)), backend: 'cpu' });

describe('task learner', () => {
  it('[CLI-60] trains the adapter of a plan on the base that it was given, the same every time', async () => {
    const prepared = await learner().prepare(planWith(), files);
    const start = new Float32Array(prepared.layout.dim).fill(0.01);
    const steps: number[] = [];
    const train = (roundIndex: number) =>
      prepared.train({ start, frozen: null, roundIndex, signal, onProgress: ({ stepsDone }) => steps.push(stepsDone) });
    const first = await train(0);
    assert.deepEqual(steps, [1, 2, 3]);
    assert.equal(first.exampleCount, rows.length);
    assert.equal(first.delta.length, prepared.layout.dim);
    assert.ok(first.delta.some((value) => value !== 0));
    assert.deepEqual((await train(0)).delta, first.delta);
    assert.notDeepEqual((await train(1)).delta, first.delta);
    // A round number beyond the plan's count still trains: void rounds use numbers up.
    assert.ok((await train(7)).delta.some((value) => value !== 0));
    assert.equal(prepared.baseDigest, planWith().base.digest);
    const counts = await prepared.evaluate(start, signal);
    assert.deepEqual([prepared.heldOutCount, counts.exampleCount, counts.labels.truth], [4, 4, [2, 2]]);
    prepared.dispose();
  });

  it('[CLI-61] refuses what does not fit and frees the base', async () => {
    const tensors = memory().numTensors;
    await assert.rejects(learner().prepare(planWith({ lengthMax: 33 }), files), { code: 'bad-plan' });
    const strange = [{ text: 'perhaps', label: 'perhaps', line: 1 }];
    await assert.rejects(learner(strange).prepare(planWith(), files), { code: 'unknown-label' });
    await assert.rejects(learner([]).prepare(planWith(), files), { code: 'no-rows' });
    assert.equal(memory().numTensors, tensors);
  });
});
