/** A site that protects its own records: what its log says, that it stops at its budget, and what it tells beside the update. */
import { strict as assert } from 'node:assert';
import { taskLearner } from '../../client/task-learner.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { readStatement, spentStatement } from '../../shared/plan/privacy.ts';
import { recordSpendingOf } from '../../shared/plan/record-privacy.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';

const files = tinyBaseFiles();
const rows = Array.from({ length: 16 }, (_, index) => {
  const label = index % 2 === 0 ? 'yes' : 'no';
  return { text: `${label} ${index}`, label, line: index + 1 };
});
const { signal } = new AbortController();
const dpDelta = 1e-4;

describe('privacy of records at a site', () => {
  before(() => useBackend('cpu'));

  it('[PRR-1] budget-stop: the log has epsilon, unit and against whom after every round, and the first round beyond the budget trains nothing', async () => {
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'records',
        base: { digest: describeFiles(files).digest },
        task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16 },
        adapter: { method: 'mixture', experts: 2, choices: 1, size: 2 },
        training: { localSteps: 1, batchSize: 4, learningRate: 0.01 },
        rounds: { count: 2, quorum: 3 },
        privacy: { unit: 'record', epsilon: 4, dpDelta },
      },
      'the test',
    );
    const said: string[] = [];
    const learner = taskLearner({
      train: viewsOf(rows),
      heldOut: viewsOf([]),
      backend: 'cpu',
      onPrivacy: (sentence) => said.push(sentence),
    });
    const learning = await learner.prepare(plan, files);
    const start = await learning.initialise!(1);
    const train = (roundIndex: number) =>
      learning.train({ start, frozen: null, roundIndex, signal, onProgress: () => undefined });
    const { epsilonAfter } = recordSpendingOf(plan, { recordCount: 16, batchSize: 4, stepsPerRound: 1, dpDelta })!;
    for (const roundIndex of [0, 1]) {
      const { meanLoss, counts, delta } = await train(roundIndex);
      assert.ok(delta.some((value) => value !== 0));
      // Neither a loss nor what the rows used leaves the site beside the noise.
      assert.equal(meanLoss, 0);
      assert.deepEqual([...(counts ?? [])], []);
      const found =
        /^every single record of this site: epsilon ([\d.]+) of 4 at delta 0\.0001 after round (\d), noise [\d.]+, against everybody else$/.exec(
          said[roundIndex]!,
        );
      assert.ok(found !== null, said[roundIndex]);
      assert.equal(Number(found[2]), roundIndex);
      assert.ok(Number(found[1]) >= epsilonAfter(roundIndex + 1) && Number(found[1]) <= 4, found[1]);
    }
    await assert.rejects(train(2), {
      code: 'privacy-budget-spent',
      message: /round 2 would bring .* the budget is 4; nothing was trained/,
    });
    assert.equal(said.length, 2);
    assert.ok(!learning.layout.tensors.some(({ aggregationClass }) => aggregationClass === 'count'));
    learning.dispose();

    const statement = spentStatement(plan, learning.layout.dim, 0)!;
    assert.match(statement, /what it counts on held-out rows are not protected/);
    assert.deepEqual(
      [readStatement(statement).unit, readStatement(statement).budget, readStatement(statement).dpDelta],
      ['record', 4, dpDelta],
    );
    assert.match(readStatement(statement).against, /^against everybody outside a site, the coordinator included/);
  });
});
