import { strict as assert } from 'node:assert';
import { taskLearner } from '../../client/task-learner.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { until } from '../coordinator/harness.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';
import { computeWrong } from '../helpers/wrong-products.ts';
import { coordinatorDouble } from './coordinator-double.ts';
import { ones, startClient, stopClients } from './running-client.ts';

const files = tinyBaseFiles();
const { digest: baseDigest } = describeFiles(files);
const plan = parsePlan(
  {
    format: 'tributary-plan-1',
    name: 'device check',
    base: { digest: baseDigest },
    task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16 },
    adapter: { method: 'lora', rank: 2 },
    training: { localSteps: 2, batchSize: 4 },
    rounds: { count: 3, quorum: 2 },
  },
  'the test',
);
const rows = ['yes', 'no', 'yes', 'no'].map((label, index) => ({ text: `${label} ${index}`, label, line: index + 1 }));

describe('a client whose device computes wrong', () => {
  afterEach(stopClients);

  it('[CNY-3] leaves the round with the reason and sends nothing, and takes part again when the device computes right', async () => {
    let mend = (): void => undefined;
    const learner = taskLearner({
      train: viewsOf(rows),
      heldOut: viewsOf(rows),
      backend: 'cpu',
      // The device was right when it was taken, and goes wrong before the round.
      onBackend: () => {
        mend = computeWrong(1);
      },
    });
    const prepared = await learner.prepare(plan, files);
    const { layout } = prepared;
    prepared.dispose();
    mend();
    const double = coordinatorDouble({ files, baseDigest, layout });
    const client = await startClient(double, ones, { learner });
    try {
      double.offer(0, { plan, value: 0.01 });
      await until(() => double.names().includes('decline'));
    } finally {
      mend();
    }
    const { code, reason } = double.heard.at(-1)!.body;
    assert.deepEqual([code, reason], ['training-failed', 'the site could not do its part (device-computes-wrong)']);
    assert.deepEqual(double.names(), ['accept', 'decline']);
    assert.deepEqual(double.platform.entry().contributions, {});
    const [problem] = client.of('problem');
    assert.equal(problem?.code, 'device-computes-wrong');
    assert.match(
      problem.detail,
      /^this device computes wrong: value \d+ of a product .*, expected .*; restart the client/,
    );
    double.offer(1, { plan, value: 0.01 });
    await until(() => client.of('uploaded').length === 1);
    assert.deepEqual(double.names().slice(2), ['accept', 'update', 'upload-chunk', 'commit']);
  });
});
