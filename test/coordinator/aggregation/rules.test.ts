import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import type { Contribution } from '../../../coordinator/aggregation/fold.ts';
import { foldMean } from '../../../coordinator/aggregation/fold.ts';
import type { RuleOptions } from '../../../coordinator/aggregation/rules.ts';
import {
  applyRule,
  decodeRuleState,
  encodeRuleState,
  localNotes,
  ruleNameOf,
  ruleOf,
} from '../../../coordinator/aggregation/rules.ts';
import { bytesOf } from '../../../shared/core/bytes.ts';
import type { ClientId } from '../../../shared/core/ids.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { weightOf } from '../../../shared/update/weight.ts';

const base: RuleOptions = { rule: 'fedavg', serverLearningRate: 1, momentum: 0.9, beta1: 0.9, beta2: 0.99, tau: 1e-3 };
const rules = ['fedavg', 'fedavgm', 'fedadagrad', 'fedadam', 'fedyogi'] as const;
const clientOf = (index: number): ClientId => index.toString(16).padStart(64, '0') as ClientId;
const contribution = (index: number, weight: number, delta: readonly number[]): Contribution => ({
  clientId: clientOf(index),
  weight,
  scan: async (take) => take(bytesOf(Float32Array.from(delta))),
});
const deltas = fc.array(fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 3, maxLength: 3 }), {
  minLength: 1,
  maxLength: 8,
});
const run = (property: fc.IAsyncProperty<unknown>): Promise<void> =>
  fc.assert(property as fc.IAsyncProperty<[unknown]>, { seed: 20, numRuns: 60 });

/** One round of `rule` from the zero adapter. */
async function oneRound(options: RuleOptions, contributions: readonly Contribution[], rounds = 1): Promise<number[]> {
  const rule = ruleOf(options);
  const state = rule.init(3);
  let adapter: Float32Array = new Float32Array(3);
  for (let round = 0; round < rounds; round++)
    adapter = applyRule(rule, state, adapter, await foldMean(contributions, 3));
  return [...adapter];
}

describe('aggregation', () => {
  for (const rule of rules) {
    const options = { ...base, rule };
    it(`[AGG-a] ${rule}: identical clients give what any one of them gives`, () =>
      run(
        fc.asyncProperty(deltas, fc.integer({ min: 1, max: 9 }), async (all, count) => {
          const many = Array.from({ length: count }, (_, index) => contribution(index, 10 + index, all[0]!));
          assert.deepEqual(await oneRound(options, many), await oneRound(options, many.slice(0, 1)));
        }),
      ));

    it(`[AGG-b] ${rule}: the order of clients leaves the bytes unchanged`, () =>
      run(
        fc.asyncProperty(deltas, async (all) => {
          const ordered = all.map((delta, index) => contribution(index, 1 + index, delta));
          assert.deepEqual(await oneRound(options, [...ordered].reverse()), await oneRound(options, ordered));
        }),
      ));

    it(`[AGG-e] ${rule}: a client of weight 0 changes nothing`, () =>
      run(
        fc.asyncProperty(deltas, async (all) => {
          const some = all.map((delta, index) => contribution(index, 3, delta));
          const idle = contribution(99, 0, [5, 5, 5]);
          assert.deepEqual(await oneRound(options, [...some, idle]), await oneRound(options, some));
        }),
      ));

    it(`[AGG-g] ${rule}: a client twice with half its weight is the client once`, () =>
      run(
        fc.asyncProperty(deltas, async (all) => {
          const whole = all.map((delta, index) => contribution(2 * index, 4, delta));
          const halves = all.flatMap((delta, index) => [
            contribution(2 * index, 2, delta),
            contribution(2 * index + 1, 2, delta),
          ]);
          assert.deepEqual(await oneRound(options, halves), await oneRound(options, whole));
        }),
      ));
  }

  it('[AGG-c] FedAvg of one client adds its delta', () =>
    run(
      fc.asyncProperty(deltas, async (all) =>
        assert.deepEqual(
          await oneRound(base, [contribution(1, 17, all[0]!)]),
          [...Float32Array.from(all[0]!)].map((x) => x + 0),
        ),
      ),
    ));

  it('[AGG-1] weights by examples: (1*1 + 3*5) / 4 = 4; equal: 3; nobody with examples: nothing moves', async () => {
    const of = (weighting: 'examples' | 'equal', counts: number[]): Promise<number[]> =>
      oneRound(base, [
        contribution(1, weightOf(weighting, counts[0]!), [1, 0, 2]),
        contribution(2, weightOf(weighting, counts[1]!), [5, 0, 4]),
      ]);
    assert.deepEqual(await of('examples', [1, 3]), [4, 0, 3.5]);
    assert.deepEqual(await of('equal', [1, 3]), [3, 0, 3]);
    assert.deepEqual(await of('equal', [0, 3]), [5, 0, 4]);
    assert.deepEqual(await of('examples', [0, 0]), [0, 0, 0]);
  });

  it('[AGG-2] accumulates in float64: 2^25 + 1 - 2^25 keeps its 1', async () => {
    const three = [2 ** 25, 1, -(2 ** 25)].map((value, index) => contribution(index, 1, [value, 0, 0]));
    assert.equal((await oneRound(base, three))[0], Math.fround(1 / 3));
  });

  // Two rounds with mean delta 0.5, beta1 0.9, beta2 0.99, tau 0.001, eta 0.1; m: 0.05, 0.095.
  const known = {
    fedavg: 0.1 * 0.5 + 0.1 * 0.5,
    fedavgm: 0.1 * 0.5 + 0.1 * (0.45 + 0.5),
    fedadagrad: (0.1 * 0.05) / (Math.sqrt(1e-6 + 0.25) + 1e-3) + (0.1 * 0.095) / (Math.sqrt(1e-6 + 0.5) + 1e-3),
    fedadam:
      (0.1 * 0.05) / (Math.sqrt(0.99e-6 + 0.0025) + 1e-3) +
      (0.1 * 0.095) / (Math.sqrt(0.99 * (0.99e-6 + 0.0025) + 0.0025) + 1e-3),
    fedyogi: (0.1 * 0.05) / (Math.sqrt(1e-6 + 0.0025) + 1e-3) + (0.1 * 0.095) / (Math.sqrt(1e-6 + 0.005) + 1e-3),
  };
  for (const rule of rules) {
    it(`[AGG-3] ${rule}: known answer after two rounds`, async () => {
      const found = await oneRound(
        { ...base, rule, serverLearningRate: 0.1 },
        [contribution(1, 1, [0.5, 0.5, 0.5])],
        2,
      );
      for (const value of found) assert.ok(Math.abs(value - known[rule]) < 1e-7, `${value} is not ${known[rule]}`);
    });
  }

  it('[AGG-4] FedAvgM without momentum and with rate 1 is FedAvg', () =>
    run(
      fc.asyncProperty(deltas, async (all) => {
        const some = all.map((delta, index) => contribution(index, 1 + index, delta));
        assert.deepEqual(
          await oneRound({ ...base, rule: 'fedavgm', momentum: 0 }, some, 2),
          await oneRound(base, some, 2),
        );
      }),
    ));

  it('[AGG-5] state goes through bytes unchanged, and a wrong length is refused', async () => {
    const rule = ruleOf({ ...base, rule: 'fedyogi' });
    const state = rule.init(3);
    applyRule(rule, state, new Float32Array(3), Float64Array.of(1, 2, 3));
    assert.deepEqual(decodeRuleState(rule, 3, encodeRuleState(state)), state);
    assert.throws(() => decodeRuleState(rule, 4, encodeRuleState(state)), { code: 'bad-rule-state' });
  });

  it('[AGG-6] the name of the rules in a record, and the note on parts that never leave clients', () => {
    assert.equal(ruleNameOf({ rule: 'fedavg', lowRank: 'factor-avg' }), 'fedavg');
    assert.equal(ruleNameOf({ rule: 'fedadam', lowRank: 'svd' }), 'fedadam, svd');
    const tensor = { shape: [1], decays: false } as const;
    const shared = { ...tensor, name: 'a', aggregationClass: 'mean' } as const;
    const own = ['b', 'c'].map((name) => ({ ...tensor, name, aggregationClass: 'local' }) as const);
    assert.deepEqual(localNotes(layoutOf([shared])), []);
    assert.match(localNotes(layoutOf([shared, own[0]!]))[0]!, /^b never leave/);
    assert.match(localNotes(layoutOf([shared, ...own]))[0]!, /^b and 1 more never leave the clients/);
  });
});
