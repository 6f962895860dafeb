/** The plans of a run and the policies that its sites write for them. */
import { strict as assert } from 'node:assert';
import { describeFiles } from '../../../shared/model/load.ts';
import { judgePlan, parsePolicy } from '../../../shared/plan/policy.ts';
import { type AdapterName, adapterNames } from '../../../simulations/quickstart/options.ts';
import { makePlan, makeTask, policyDocument } from '../../../simulations/quickstart/plans.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

const base = describeFiles(tinyBaseFiles());
const planOf = (adapter: AdapterName, clientCount: number, seed = 1) =>
  makePlan({
    name: 'test',
    adapter,
    trainer: 'federation',
    base,
    task: makeTask('classification', ['a', 'b'], base),
    options: { rounds: 3, localEpochs: 2, clientCount, seed },
  });

describe('quickstart plans', () => {
  it('[QPL-1] ask every site in every round and fit the base', () => {
    for (const adapter of adapterNames) {
      const plan = planOf(adapter, 4);
      assert.equal(plan.adapter.method, adapter);
      assert.deepEqual([plan.rounds.count, plan.rounds.cohortSize, plan.rounds.quorum], [3, 4, 4]);
      assert.equal(plan.training.localEpochs, 2);
      assert.equal(plan.task.lengthMax, base.positionsMax);
      assert.equal(plan.base.digest, base.digest);
    }
  });

  it('[QPL-2] a policy approves its plans and no other, whatever the number of sites', () => {
    for (const clientCount of [1, 2, 3, 9]) {
      const plans = [planOf('lora', clientCount), planOf('none', clientCount)];
      const policy = parsePolicy(policyDocument(plans, { clientCount }), 'policy');
      for (const plan of plans) assert.ok(judgePlan(policy, plan, { exampleCount: 1 }).ok);
      const other = judgePlan(policy, planOf('lora', clientCount, 2));
      assert.ok(!other.ok && other.error.code === 'plan-not-approved');
      assert.equal(policy.cohortMin, Math.min(3, clientCount));
    }
  });
});
