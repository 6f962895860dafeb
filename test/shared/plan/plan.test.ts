import { strict as assert } from 'node:assert';
import { UsageError } from '../../../shared/core/errors.ts';
import { parsePlan, planBytes, planHashOf } from '../../../shared/plan/plan.ts';
import { describeMasking } from '../../../shared/plan/secure-aggregation.ts';
import { minimalPlan } from './minimal-plan.ts';

/** The lines of the error for a plan with one part replaced. */
function faultsOf(changes: Record<string, unknown>): string[] {
  try {
    parsePlan({ ...minimalPlan(), ...changes }, 'plan.yaml');
  } catch (thrown) {
    assert(thrown instanceof UsageError);
    assert.equal(thrown.code, 'bad-plan');
    return thrown.message.split('\n');
  }
  return [];
}

describe('parsePlan', () => {
  it('[PLN-1] fills in the defaults that the documentation names', () => {
    const plan = parsePlan(minimalPlan(), 'plan.yaml');
    assert.deepEqual(plan, {
      format: 'tributary-plan-1',
      name: 'Example',
      base: { digest: 'ab'.repeat(32) },
      task: { kind: 'classification', labels: ['a', 'b'], pooling: 'first', lengthMax: 128 },
      adapter: { method: 'lora' },
      training: {
        localEpochs: 1,
        batchSize: 16,
        learningRate: 0.001,
        schedule: 'linear',
        warmupFraction: 0.06,
        weightDecay: 0.01,
        gradientClipNorm: 1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        proximalMu: 0,
        seed: 1,
      },
      rounds: {
        count: 3,
        cohortSize: 'all',
        quorum: 2,
        recruitSeconds: 600,
        trainSeconds: 3600,
        evaluateSeconds: 600,
        waitSeconds: 3600,
        voidsMax: 3,
      },
      aggregation: {
        rule: 'fedavg',
        weighting: 'examples',
        serverLearningRate: 1,
        momentum: 0.9,
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
        lowRank: 'factor-avg',
        head: 'mean',
        personal: [],
        frozen: [],
        robust: 'none',
        hostileMax: 1,
        bucketSize: 1,
      },
      evaluation: { everyRounds: 1 },
      audit: { retainUpdates: false },
      canary: { by: 'none', metric: 'accuracy', drop: 0.05, failuresMax: 3 },
      quarantine: { marks: 3, rounds: 10 },
      secureAggregation: {
        mode: 'auto',
        profile: 'active',
        ringBits: 32,
        coordBound: 8,
        clipNorm: 'none',
        weightMax: 65_536,
        organisationsMin: 1,
        phaseSeconds: 60,
      },
      privacy: { unit: 'none', mechanism: 'central', clipNorm: 1, epsilon: 8, dpDelta: 1e-5 },
    });
  });

  it('[PLN-2] does not change its argument and shares no default between plans', () => {
    const value = minimalPlan();
    const before = structuredClone(value);
    const first = parsePlan(value, 'a');
    assert.deepEqual(value, before);
    assert.notEqual(first.training, parsePlan(value, 'b').training);
  });

  it('[PLN-3] names place, field, what is allowed and what was found', () => {
    assert.deepEqual(faultsOf({ training: { learningRate: 'fast' } }), [
      'plan.yaml: training.learningRate must be a number above 0 and at most 1, found "fast"',
    ]);
    assert.deepEqual(faultsOf({ training: { learningRate: 0 } }), [
      'plan.yaml: training.learningRate must be a number above 0 and at most 1, found 0',
    ]);
    assert.deepEqual(faultsOf({ base: {} }), [
      'plan.yaml: base.digest must be a digest of 64 lower-case hex digits (write 64 zeros, and tributary plan check --base says which it is), found nothing',
    ]);
    assert.deepEqual(faultsOf({ rounds: [] }), [
      'plan.yaml: rounds must be a section with the fields count, cohortSize, quorum, recruitSeconds, trainSeconds, evaluateSeconds, waitSeconds, voidsMax, found []',
    ]);
    assert.deepEqual(faultsOf({ rounds: { count: 3, quorum: 2, cohortSize: 'some' } }), [
      'plan.yaml: rounds.cohortSize must be all, or a whole number from 1 to 10000, found "some"',
    ]);
  });

  it('[PLN-4] refuses an unknown field with the nearest known name', () => {
    assert.match(
      faultsOf({ training: { learningrate: 0.1 } })[0]!,
      /^plan\.yaml: training\.learningrate is not a known field; did you mean learningRate\? \(known here: localEpochs, /,
    );
    assert.match(faultsOf({ wholly: 1 })[0]!, /^plan\.yaml: wholly is not a known field \(known here: format, name, /);
  });

  it('[PLN-5] suggests the nearest of several words', () => {
    assert.deepEqual(faultsOf({ aggregation: { rule: 'fedadan' } }), [
      'plan.yaml: aggregation.rule must be one of fedavg, fedavgm, fedadagrad, fedadam, fedyogi (did you mean fedadam?), found "fedadan"',
    ]);
  });

  it('[PLN-6] lists several faults at once, one per field', () => {
    const faults = faultsOf({ training: { batchSize: 1.5, beta1: 1 }, task: { labels: ['a'], pooling: 'middle' } });
    assert.deepEqual(
      faults.map((line) => line.split(' ')[1]),
      ['task.labels', 'task.pooling', 'training.batchSize', 'training.beta1'],
    );
  });

  it('[PLN-7] checks fields against each other', () => {
    assert.deepEqual(faultsOf({ rounds: { count: 3, cohortSize: 4, quorum: 5 } }), [
      'plan.yaml: rounds.quorum must be at most rounds.cohortSize, which is 4, found 5',
    ]);
    assert.deepEqual(faultsOf({ rounds: { count: 3, cohortSize: 5, quorum: 5 } }), []);
    assert.deepEqual(faultsOf({ training: { localEpochs: 1, localSteps: 10 } }), [
      'plan.yaml: training must have one of localEpochs and localSteps, found both; leave one of them out',
    ]);
    assert.deepEqual(faultsOf({ task: { labels: ['a', 'b', 'a'], pooling: 'first' } }), [
      'plan.yaml: task.labels[2] must differ from all labels before it, found "a" twice',
    ]);
    assert.match(
      faultsOf({ training: { warmupFraction: 1 } })[0]!,
      /warmupFraction must be a number at least 0 and below 1, found 1/,
    );
  });

  it('[PLN-8] takes labels as text only', () => {
    assert.deepEqual(faultsOf({ task: { labels: [0, 'b'], pooling: 'first' } }), [
      'plan.yaml: task.labels[0] must be text (in quotes if it looks like a number) of 1 to 200 characters, found 0',
    ]);
  });

  it('[PLN-9] refuses masks with which a plan cannot work, and names what can', () => {
    const masked = (changes: object, secureAggregation: object = {}) =>
      faultsOf({
        rounds: { count: 1, quorum: 3 },
        ...changes,
        secureAggregation: { mode: 'on', ...secureAggregation },
      }).join();
    assert.equal(masked({}), '');
    assert.match(
      masked({ rounds: { count: 1, quorum: 2 } }),
      /rounds.quorum must be at least 3 with masked rounds, found 2/,
    );
    assert.equal(masked({ rounds: { count: 1, quorum: 3, cohortSize: 200 } }), '');
    assert.match(masked({ rounds: { count: 1, quorum: 3, cohortSize: 2000 } }), /cohortSize must be at most 1000/);
    assert.match(
      masked({ aggregation: { lowRank: 'svd' } }),
      /the rule svd reads single updates, which masked rounds hide; sketch with aggregation.sketchSize is the nearest that works on sums/,
    );
    for (const changes of [
      { aggregation: { head: 'by-label' } },
      { aggregation: { weighting: 'given' } },
      { task: { kind: 'several', pooling: 'first', tasks: ['x', 'y'].map((name) => ({ name, labels: ['a', 'b'] })) } },
    ]) {
      assert.match(
        masked(changes, { coordBound: 0.5 }),
        /coordBound must be at least 1, found 0\.5: shares from 0 to 1/,
      );
      assert.equal(masked(changes, { coordBound: 1 }), '');
    }
    assert.equal(masked({}, { coordBound: 0.5 }), '');
    assert.match(masked({}, { ringBits: 16, coordBound: 2 ** 20 }), /coordBound must be smaller, or ringBits larger/);
    assert.equal(masked({ aggregation: { lowRank: 'svd' } }, { mode: 'off' }), '');
    assert.equal(masked({ rounds: { count: 1, quorum: 2 }, aggregation: { lowRank: 'svd' } }, { mode: 'auto' }), '');
    assert.match(masked({ aggregation: { lowRank: 'svd' } }, { mode: 'auto' }), /single updates/);
  });

  it('[PLN-15] says of masked rounds what is seen, how many may vanish and among whom one is hidden, by groups where there are some', () => {
    const described = (rounds: object, secureAggregation: object = {}): string =>
      describeMasking(
        parsePlan(
          {
            ...minimalPlan(),
            rounds: { count: 1, ...rounds },
            secureAggregation: { mode: 'on', ...secureAggregation },
          },
          'the test',
        ),
      );
    assert.match(
      described({ quorum: 10 }),
      /sees sums alone; of 10 clients 0 may vanish, each is hidden among at least 7 honest ones if 3 collude/,
    );
    const groups = described({ quorum: 60, cohortSize: 100 }, { groupSize: 10 });
    assert.match(
      groups,
      /sees the sums of groups of 10 to 19 alone; of 10 clients 3 may vanish, each is hidden among at least 4 honest ones if 3/,
    );
    assert.match(groups, /a group that more leave is left out, and the round goes on/);
    assert.match(described({ quorum: 120, cohortSize: 130 }), /the sums of groups of 64 to 127 alone/);
    assert.match(
      described({ quorum: 129 }),
      /the sums of groups of 64 to 127 alone/,
      'all means more than one sum holds',
    );
    assert.match(described({ quorum: 128 }), /sees sums alone/);
    assert.match(
      groups,
      /where no consortium certifies the clients, this holds against an honest-but-curious coordinator$/,
    );
    assert.match(described({ quorum: 10 }, { profile: 'semi-honest' }), /a coordinator that follows the protocol sees/);
    assert.throws(
      () => described({ quorum: 1001 }),
      /rounds\.quorum must be at most 1000, found 1001.*or set secureAggregation\.mode to off/,
    );
  });

  it("[PLN-10] leaves an adapter's own settings open but plain", () => {
    const plan = parsePlan(
      { ...minimalPlan(), adapter: { method: 'lora', rank: 8, targets: ['q', 'v'] } },
      'plan.yaml',
    );
    assert.deepEqual(plan.adapter, { method: 'lora', rank: 8, targets: ['q', 'v'] });
    assert.deepEqual(faultsOf({ adapter: { method: 'lora', alpha: Number.NaN } }), [
      'plan.yaml: adapter.alpha must be plain data with finite numbers, found NaN',
    ]);
    assert.match(faultsOf({ adapter: 'lora' })[0]!, /adapter must be a section with the field method/);
  });

  it('[PLN-11] refuses what is no section at all', () => {
    for (const value of [null, undefined, 3, 'text', []])
      assert.throws(() => parsePlan(value, 'x.json'), /^UsageError: x\.json: the plan must be/);
  });
});

describe('planHashOf', () => {
  it('[PLN-12] is frozen for the minimal plan: a change breaks every federation that runs', () => {
    const plan = parsePlan(minimalPlan(), 'plan.yaml');
    assert.equal(planHashOf(plan), '790c26376b0c11595e98ed1e4cf1d266293662524605694123600111b9594cd4');
  });

  it('[PLN-13] does not depend on the order of fields or on defaults being written out', () => {
    const plan = parsePlan(minimalPlan(), 'a');
    const reversed = Object.fromEntries(Object.entries(plan).reverse());
    assert.equal(planHashOf(parsePlan(reversed, 'b')), planHashOf(plan));
    assert.equal(planHashOf(parsePlan(JSON.parse(new TextDecoder().decode(planBytes(plan))), 'c')), planHashOf(plan));
  });

  it('[PLN-14] depends on every value', () => {
    const plan = parsePlan(minimalPlan(), 'a');
    const other = parsePlan({ ...minimalPlan(), training: { seed: 2 } }, 'a');
    assert.notEqual(planHashOf(other), planHashOf(plan));
  });
});
