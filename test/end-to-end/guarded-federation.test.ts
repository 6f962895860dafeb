/** Whole federations without sockets whose mean is not taken as it is: with noise of clients or of the coordinator, or by a robust rule. */
import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { spendingOf } from '../../shared/plan/privacy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, startWorld, testPlan } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 2000;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const planWith = (changes: {
  readonly privacy?: object;
  readonly aggregation?: object;
  readonly secureAggregation?: object;
  readonly cohortSize?: number;
}) => {
  const { privacy = {}, aggregation = {}, secureAggregation = {}, cohortSize = 4 } = changes;
  const rounds = { count: 2, cohortSize, quorum: 4 };
  const base = testPlan({ rounds, aggregation: { weighting: 'equal', ...aggregation }, secureAggregation });
  return parsePlan({ ...base, base: { digest: fixedBaseDigest(fixedBase) }, privacy }, 'the test');
};

/** The delta of a client: norm 2 for even ones, ½ for odd ones. */
const deltaOf = (index: number): Float32Array => {
  const values = Float32Array.from({ length: dim }, (_, place) => Math.sin(place + 10 * index));
  const norm = Math.hypot(...values);
  return values.map((value) => (value / norm) * (index % 2 === 0 ? 2 : 0.5));
};

async function federate(plan: ReturnType<typeof planWith>, deltas: readonly Float32Array[]) {
  const world = await startWorld({
    plan,
    ...fixedStart(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (const [index, delta] of deltas.entries()) {
    const learner = fixedLearner({ dim, exampleCount: 10 + index, delta: () => delta });
    clients.push(await runClient(world, { platform: platformIn(world, 700 + index), learner, policy }));
  }
  const end = await world.coordinator.ended;
  await Promise.all(clients.map(({ ended }) => ended));
  // Who has no finite update says so, and nobody says anything else.
  for (const [index, { problems }] of clients.entries())
    assert.ok(
      deltas[index]!.every(Number.isFinite) ? problems.length === 0 : problems.every((one) => /diverged/.test(one)),
      problems.join(),
    );
  const library = await world.coordinator.library();
  const adapters = await Promise.all(library.map(async ({ row }) => float32Of(await world.coordinator.adapter(row))));
  return { end, library, adapters };
}

/** Deviation of the noise in a version's step, in multiples of what is expected of a mean over four. */
function noiseIn(adapter: Float32Array, expected: Float64Array): number {
  return Math.sqrt(adapter.reduce((sum, value, place) => sum + (value - expected[place]!) ** 2, 0) / dim);
}

const deltas = [0, 1, 2, 3].map(deltaOf);
/** The mean of the deltas when each is cut to norm 1. */
const clippedMean = new Float64Array(dim);
for (const [index, delta] of deltas.entries())
  delta.forEach((value, place) => {
    clippedMean[place]! += (value * (index % 2 === 0 ? 0.5 : 1)) / 4;
  });

describe('guarded federation', () => {
  afterEach(closeWorlds);

  for (const mechanism of ['distributed', 'central'] as const) {
    const mode = mechanism === 'distributed' ? 'on' : 'off';
    const privacy = { unit: 'client', mechanism, clipNorm: 1, noiseMultiplier: 0.8, epsilon: 50 };
    it(`[GRD-1/${mechanism}] ${mechanism} noise: versions are the clipped mean with the noise, and say what they promise`, async () => {
      const plan = planWith({ privacy, secureAggregation: { mode } });
      const { library, adapters, end } = await federate(plan, deltas);
      assert.equal(end.status, 'completed');
      const noise = noiseIn(adapters[1]!, clippedMean) * 4;
      // All four have to arrive, of whom three are honest at worst and bring the noise alone; all four bring 4/3 of its variance.
      const expected = mechanism === 'distributed' ? 0.8 * Math.sqrt(4 / 3) : 0.8;
      assert.ok(Math.abs(noise / expected - 1) < 0.1, `noise ${noise}, expected ${expected}`);
      const spending = spendingOf(plan, dim)!;
      for (const [round, { record }] of library.slice(1).entries()) {
        const epsilon = Number(/epsilon ([\d.]+) of 50/.exec(record.privacy)?.[1]);
        assert.ok(Math.abs(epsilon / spending.epsilonAfter(round + 1) - 1) < 1e-3, record.privacy);
        assert.match(record.privacy, mechanism === 'central' ? /trusts the coordinator/ : /the coordinator included/);
        assert.match(record.privacy, /fewer than 50 clients/);
        assert.doesNotMatch(record.privacy, /^none/);
        assert.equal(record.measures.length, 0);
      }
    });

    it(`[GRD-2/${mechanism}] budget-stop: the federation stops before the round that the budget does not pay`, async () => {
      const once = spendingOf(planWith({ privacy, secureAggregation: { mode } }), dim)!.epsilonAfter(1);
      const plan = planWith({ privacy: { ...privacy, epsilon: once * 1.01 }, secureAggregation: { mode } });
      const { library, end } = await federate(plan, deltas);
      assert.equal(end.status, 'stopped');
      assert.match(end.detail, /privacy budget is spent: it pays 1 rounds/);
      assert.equal(library.length, 2);
    });
  }

  it('[GRD-3] the median of four holds against one that sends anything, and the mean does not', async () => {
    const honest = [1, 3, 5].map(deltaOf);
    const hostile = new Float32Array(dim).fill(1e6);
    const secureAggregation = { mode: 'off' };
    const guarded = await federate(planWith({ aggregation: { robust: 'median', hostileMax: 1 }, secureAggregation }), [
      hostile,
      ...honest,
    ]);
    assert.ok(guarded.adapters[1]!.every((value) => Math.abs(value) < 1));
    const plain = await federate(planWith({ secureAggregation }), [hostile, ...honest]);
    assert.ok(plain.adapters[1]!.every((value) => value > 1e5));
  });

  it('[GRD-4] a robust rule without its condition makes a round void, and says what it needs', async () => {
    const krum = { aggregation: { robust: 'krum', hostileMax: 1 }, secureAggregation: { mode: 'off' } };
    assert.throws(() => planWith(krum), /cohortSize must be at least 5, found 4/);
    const plan = planWith({ ...krum, cohortSize: 5 });
    // One of the five has no update.
    const diverged = new Float32Array(dim).fill(Number.NaN);
    const voidsMax = { ...plan, rounds: { ...plan.rounds, voidsMax: 1 } };
    const { end, library } = await federate(voidsMax, [...deltas, diverged]);
    assert.equal(end.status, 'stopped');
    assert.match(end.detail, /krum needs 5 of them/);
    assert.equal(library.length, 1);
  });
});
