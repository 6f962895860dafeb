/** Whole federations with masked rounds without sockets: real coordinator, real clients, learners of the test. */
import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, startWorld, testPlan } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 70_001;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const plan = (changes: object = {}, secureAggregation: object = {}) => ({
  ...testPlan({
    rounds: { count: 2, cohortSize: 4, quorum: 3 },
    ...changes,
    secureAggregation: { mode: 'on', ...secureAggregation },
  }),
  base: { digest: fixedBaseDigest(fixedBase) },
});

/** The delta of a client: every value its own. */
const deltaOf = (index: number) => (roundIndex: number) =>
  Float32Array.from({ length: dim }, (_, place) => Math.sin(place + 10 * index) * (roundIndex + 1) * 0.1);
const exampleCounts = [10, 20, 30, 40];

async function federate(secureAggregation: object = {}) {
  const world = await startWorld({
    plan: plan({}, secureAggregation),
    ...fixedStart(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (const [index, exampleCount] of exampleCounts.entries()) {
    const learner = fixedLearner({ dim, exampleCount, delta: deltaOf(index) });
    clients.push(await runClient(world, { platform: platformIn(world, 900 + index), learner, policy }));
  }
  await world.coordinator.ended;
  await Promise.all(clients.map(({ ended }) => ended));
  return { world, problems: clients.flatMap(({ problems }) => problems) };
}

describe('masked federation', () => {
  afterEach(closeWorlds);

  it('[MSK-1] four clients: every version is the weighted mean within quantisation, nothing of a single client is seen', async () => {
    const { world, problems } = await federate();
    assert.deepEqual(problems, []);
    const library = await world.coordinator.library();
    assert.equal(library.length, 3);
    const expected = new Float64Array(dim);
    for (const [round, { row, record }] of library.slice(1).entries()) {
      for (const [index, exampleCount] of exampleCounts.entries())
        deltaOf(index)(round).forEach((value, place) => {
          expected[place]! += (value * exampleCount) / 100;
        });
      const values = float32Of(await world.coordinator.adapter(row));
      const worst = values.reduce((most, value, place) => Math.max(most, Math.abs(value - expected[place]!)), 0);
      assert.ok(worst < 1e-4, `version ${round + 1} is ${worst} off`);
      assert.equal(record.totalWeight, 100);
      assert.match(record.privacy, /saw the sum of the updates alone \(honest-but-curious coordinator, which vouches/);
      assert.equal(record.contributors.length, 4);
      assert.equal(record.metrics?.exampleCount, 40);
      assert.ok(Math.abs(record.measures.find(({ name }) => name === 'train-loss')!.value - 0.5) < 1e-6);
    }
    assert.equal(world.events.filter(({ type }) => type === 'client-finished').length, 0);
  });
});
