/** A site that protects its own records: what its log says, that it stops at its budget, and what it tells beside the update. */
import { strict as assert } from 'node:assert';
import { taskLearner } from '../../client/task-learner.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { readStatement, spendingOf, spentStatement } from '../../shared/plan/privacy.ts';
import { type RecordCharge, recordSpendingOf } from '../../shared/plan/record-privacy.ts';
import { epsilonOfRdp } from '../../shared/privacy/rdp-accountant.ts';
import { recordRdp } from '../../shared/privacy/record-accounting.ts';
import { wholeOrders } from '../../shared/privacy/skellam-accountant.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';

const files = tinyBaseFiles();
const rowsOf = (count: number) =>
  Array.from({ length: count }, (_, index) => {
    const label = index % 2 === 0 ? 'yes' : 'no';
    return { text: `${label} ${index}`, label, line: index + 1 };
  });
const { signal } = new AbortController();
const dpDelta = 1e-4;
const planWith = (count: number, privacy: object, further: object = {}) =>
  parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'records',
      base: { digest: describeFiles(files).digest },
      task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16 },
      adapter: { method: 'mixture', experts: 2, choices: 1, size: 2 },
      training: { localSteps: 1, batchSize: 4, learningRate: 0.01 },
      rounds: { count, quorum: 3 },
      privacy: { unit: 'record', epsilon: 4, dpDelta, ...privacy },
      ...further,
    },
    'the test',
  );
/** A site of so many records, and what its log says. */
async function siteOf(plan: Plan, recordCount: number) {
  const said: string[] = [];
  const learner = taskLearner({
    train: viewsOf(rowsOf(recordCount)),
    heldOut: viewsOf([]),
    backend: 'cpu',
    onPrivacy: (sentence) => said.push(sentence),
  });
  const learning = await learner.prepare(plan, files);
  const start = await learning.initialise!(1);
  const train = (roundIndex: number, charges: readonly RecordCharge[] = [], onProgress = (): unknown => undefined) =>
    learning.train({ start, frozen: null, roundIndex, charges, signal, onProgress });
  return { learning, said, train };
}

describe('privacy of records at a site', () => {
  before(() => useBackend('cpu'));

  it('[PRR-1] budget-stop: the log has epsilon, unit and against whom after every round, and the first round beyond the budget trains nothing', async () => {
    const plan = planWith(2, {});
    const { learning, said, train } = await siteOf(plan, 16);
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

  it('[PRR-2] budget-stop: who changes its records goes on paying for the rounds before, whose charges are in epsilon and in the noise', async () => {
    // Noise of the plan: as if all rounds had been on the many records, epsilon would stay far below the budget.
    const plan = planWith(8, { noiseMultiplier: 2.5 });
    const few = await siteOf(plan, 8);
    const { charges: first } = await few.train(0);
    const { charges } = await few.train(1, first);
    assert.deepEqual(charges, [{ recordCount: 8, stepsPerRound: 1, noiseMultiplier: 2.5, numbers: 2 }]);
    const many = await siteOf(plan, 64);
    const after = await many.train(2, charges);
    assert.deepEqual(after.charges, [
      ...charges,
      { recordCount: 64, stepsPerRound: 1, noiseMultiplier: 2.5, numbers: 1 },
    ]);
    const curve = (recordCount: number) => recordRdp({ recordCount, batchSize: 4, stepsPerRound: 1 }, 2.5);
    const truth = epsilonOfRdp((order) => 2 * curve(8)(order) + curve(64)(order), dpDelta, wholeOrders).epsilon;
    const own = recordSpendingOf(plan, { recordCount: 64, batchSize: 4, stepsPerRound: 1, dpDelta })!.epsilonAfter(3);
    const told = Number(/epsilon ([\d.]+) of 4/.exec(many.said[0]!)?.[1]);
    assert.ok(told >= truth && told < truth * 1.001 && told > 1.2 * own, `${told}, truly ${truth}, alone ${own}`);
    const spentBefore = [{ recordCount: 4, stepsPerRound: 30, noiseMultiplier: 2.5, numbers: 2 }];
    await assert.rejects(many.train(3, spentBefore), {
      code: 'privacy-budget-spent',
      message: /round 3 would bring .* the budget is 4; nothing was trained/,
    });
    const left = planWith(8, {});
    const noNoise = await siteOf(left, 64);
    await assert.rejects(noNoise.train(3, spentBefore), {
      code: 'privacy-budget-spent',
      message: /no noise on 64 records is enough for what is left of 4 in round 3; nothing was trained/,
    });
    for (const { learning } of [few, many, noNoise]) learning.dispose();
  });

  for (const mechanism of ['central', 'distributed'] as const)
    it(`[PRR-3/${mechanism}] where all of a client is protected, its log has what the version of the round will say, before it trains`, async () => {
      const privacy = { unit: 'client', mechanism, noiseMultiplier: 2 };
      const plan = planWith(3, privacy, {
        adapter: { method: 'none' },
        aggregation: { weighting: 'equal' },
        secureAggregation: { mode: mechanism === 'central' ? 'off' : 'on' },
      });
      const { learning, said, train } = await siteOf(plan, 8);
      for (const roundIndex of [0, 1]) {
        const before: number[] = [];
        await train(roundIndex, [], () => before.push(said.length));
        assert.deepEqual(before, [roundIndex + 1], 'it is told before the first step ends');
        assert.equal(said[roundIndex], spentStatement(plan, learning.layout.dim, roundIndex));
      }
      const told = readStatement(said[1]!);
      const charged = spendingOf(plan, learning.layout.dim)!.epsilonAfter(2);
      assert.ok(told.epsilon! >= charged && told.epsilon! < charged * 1.001);
      assert.deepEqual([told.unit, told.budget, told.dpDelta], ['client', 4, dpDelta]);
      assert.match(told.against, mechanism === 'central' ? /everybody who sees versions/ : /the coordinator included/);
      learning.dispose();
      const nobody = await siteOf(planWith(3, { unit: 'none' }), 8);
      await nobody.train(0);
      assert.deepEqual(nobody.said, []);
      nobody.learning.dispose();
    });
});
