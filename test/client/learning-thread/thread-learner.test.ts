import { strict as assert } from 'node:assert';
import type { LearningNote } from '../../../client/learning-thread/messages.ts';
import { siteLearner } from '../../../client/learning-thread/site-learner.node.ts';
import { openThreadLearner, type ThreadLearner } from '../../../client/learning-thread/thread-learner.node.ts';
import { taskLearner } from '../../../client/task-learner.ts';
import type { BackendName } from '../../../shared/compute/backend-names.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import { describeFiles } from '../../../shared/model/load.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { until } from '../../coordinator/harness.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';
import { requireNative } from '../../shared/compute/native/available.ts';
import { coordinatorDouble, dim } from '../coordinator-double.ts';
import { ones, startClient, stopClients } from '../running-client.ts';
import type { Script } from './scripted-learner.ts';

const files = tinyBaseFiles();
const plan = parsePlan(
  {
    format: 'tributary-plan-1',
    name: 'thread',
    base: { digest: describeFiles(files).digest },
    task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16 },
    adapter: { method: 'lora', rank: 2 },
    training: { localSteps: 3, batchSize: 4 },
    rounds: { count: 2, quorum: 1 },
  },
  'the test',
);
const rows = Array.from({ length: 12 }, (_, index) => ({
  text: index % 2 === 0 ? `yes ${index}` : `no ${index}`,
  label: index % 2 === 0 ? 'yes' : 'no',
}));
const records = { train: rows, heldOut: rows.slice(0, 4) };
const never = new AbortController().signal;
const quiet = () => undefined;

const open: ThreadLearner[] = [];
const opened = async (learner: Promise<ThreadLearner>): Promise<ThreadLearner> => {
  open.push(await learner);
  return open.at(-1)!;
};
/** A learner whose training does what the test says. */
const scripted = (does: Script['does'], dim = 3) =>
  opened(openThreadLearner<Script>({ module: new URL('./scripted-learner.ts', import.meta.url), data: { does, dim } }));

describe('learner in a thread', function () {
  this.timeout(60_000);
  afterEach(async () => {
    for (const learner of open.splice(0)) await learner.close();
  });

  for (const backend of ['cpu', 'wasm', 'native'] satisfies BackendName[])
    it(`[LTH-1] gives what the same learner gives on this thread: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      const notes: LearningNote[] = [];
      const onNote = (note: LearningNote): void => void notes.push(note);
      const there = await opened(siteLearner({ records, backend, onNote }));
      const here = taskLearner({ train: viewsOf(records.train), heldOut: viewsOf(records.heldOut), backend });
      assert.equal(there.exampleCount, here.exampleCount);
      const [away, near] = [await there.prepare(plan, files), await here.prepare(plan, files)];
      assert.deepEqual(away.layout, near.layout);
      assert.deepEqual([away.baseDigest, away.heldOutCount], [near.baseDigest, 4]);
      const start = await away.initialise!(5);
      assert.deepEqual(start, await near.initialise!(5));
      const steps: number[] = [];
      const options = { start, frozen: null, roundIndex: 1, signal: never };
      const learned = await away.train({ ...options, onProgress: ({ stepsDone }) => steps.push(stepsDone) });
      const expected = await near.train({ ...options, onProgress: quiet });
      assert.deepEqual(steps, [1, 2, 3]);
      assert.deepEqual(learned.delta, expected.delta);
      assert.deepEqual([learned.exampleCount, learned.meanLoss], [12, expected.meanLoss]);
      assert.deepEqual(await away.evaluate(start, never), await near.evaluate(start, never));
      assert.deepEqual(
        notes.map(({ about }) => about),
        ['rows', 'backend', 'encoded'],
      );
      near.dispose();
      away.dispose();
    });

  it('[LTH-9] what records were charged goes to the thread and comes back', async () => {
    const prepared = await (await scripted('charge')).prepare(plan, files);
    const options = { start: new Float32Array(3), frozen: null, signal: never, onProgress: quiet };
    const one = (recordCount: number) => ({ recordCount, stepsPerRound: 3, noiseMultiplier: 2, numbers: 1 });
    assert.deepEqual((await prepared.train({ ...options, roundIndex: 8 })).charges, [one(8)]);
    const before = [one(5), one(6)];
    assert.deepEqual((await prepared.train({ ...options, roundIndex: 9, charges: before })).charges, [
      ...before,
      one(9),
    ]);
  });

  it('[LTH-2] an error of the learner is the same error here', async () => {
    const strange = { train: [{ text: 'perhaps', label: 'perhaps' }], heldOut: [] };
    const learner = await opened(siteLearner({ records: strange, backend: 'cpu' }));
    await assert.rejects(learner.prepare(plan, files), { name: 'UsageError', code: 'unknown-label' });
    const missing = { train: '/nowhere/rows.jsonl', memoryRows: 10 };
    await assert.rejects(siteLearner({ records: missing, backend: 'cpu' }), UsageError);
  });

  it('[LTH-3] a thread that dies fails its call with the reason, and the next plan gets a new one', async () => {
    const learner = await scripted('die');
    const prepared = await learner.prepare(plan, files);
    const start = new Float32Array(3);
    const options = { start, frozen: null, roundIndex: 0, signal: never, onProgress: quiet };
    assert.equal(prepared.isLost!(), false);
    await assert.rejects(prepared.train(options), { code: 'learner-died', message: /the engine broke/ });
    assert.equal(prepared.isLost!(), true);
    await assert.rejects(prepared.evaluate(start, never), { code: 'learner-died' });
    const again = await learner.prepare(plan, files);
    assert.equal(again.isLost!(), false);
    await assert.rejects(again.train(options), { code: 'learner-died' });
  });

  it('[LTH-4] cancelling reaches training between two steps, and ends it with the reason given', async () => {
    const learner = await scripted('wait');
    const prepared = await learner.prepare(plan, files);
    const controller = new AbortController();
    const reason = new Error('the round is over');
    const options = { start: new Float32Array(3), frozen: null, roundIndex: 0, signal: controller.signal };
    const training = prepared.train({ ...options, onProgress: () => controller.abort(reason) });
    await assert.rejects(training, (thrown) => thrown === reason);
    await assert.rejects(prepared.train({ ...options, onProgress: quiet }), (thrown) => thrown === reason);
    assert.equal((await prepared.evaluate(new Float32Array(3), never)).exampleCount, 10);
  });

  it('[LTH-5] what is lent stays with the lender; closing waits for what computes', async () => {
    const learner = await scripted('wait');
    const prepared = await learner.prepare(plan, files);
    const start = Float32Array.of(1, 2, 3);
    const started = Promise.withResolvers<void>();
    const options = { start, frozen: start, roundIndex: 0, signal: never };
    const training = prepared.train({ ...options, onProgress: () => started.resolve() });
    training.catch(quiet);
    await started.promise;
    await learner.close();
    await assert.rejects(training, (thrown: Error) => /asked to end/.test(thrown.message));
    assert.deepEqual([...start], [1, 2, 3]);
    await assert.rejects(learner.prepare(plan, files), { name: 'InvariantError' });
  });

  it('[LTH-6] a client leaves the round when its thread dies, with the reason, and takes part in the next', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double, ones, { learner: await scripted('die-first', dim) });
    try {
      const { roundHash } = double.offer(0);
      await until(() => double.names().includes('decline'));
      const [problem] = client.of('problem');
      assert.equal(problem!.code, 'learner-died');
      assert.match(problem!.detail, /the engine broke/);
      const declined = double.heard.find(({ name }) => name === 'decline')!.body;
      assert.equal(declined.roundHash, roundHash);
      assert.equal(client.outcome(), null);
      double.offer(1);
      await until(() => client.of('uploaded').length === 1);
    } finally {
      await stopClients();
    }
  });
});
