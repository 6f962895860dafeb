/** Whole federations without sockets whose masked rounds have groups: real coordinator, real clients, learners of the test. */
import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLayout, fixedLearner } from '../client/fixed-learner.ts';
import { closeWorlds, settled, startWorld, testPlan } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 9;

interface Options {
  readonly clientCount: number;
  readonly rounds?: object;
  readonly aggregation?: object;
  readonly secureAggregation?: object;
  readonly policyOf?: (index: number) => object;
  readonly deltaOf?: (index: number) => Float32Array;
}

async function federate({ clientCount, rounds = {}, aggregation = {}, secureAggregation = {}, ...options }: Options) {
  const { policyOf = () => ({}), deltaOf = (index: number) => new Float32Array(dim).fill((index + 1) / 10) } = options;
  const plan = parsePlan(
    {
      ...testPlan({
        rounds: { count: 1, cohortSize: clientCount, quorum: clientCount - 3, voidsMax: 1, ...rounds },
        aggregation: { weighting: 'equal', ...aggregation },
        evaluation: { everyRounds: 1 },
        secureAggregation: { mode: 'on', groupSize: 5, ...secureAggregation },
      }),
      base: { digest: fixedBaseDigest(fixedBase) },
    },
    'the test',
  );
  const world = await startWorld({
    plan,
    baseFiles: fixedBase,
    baseDigest: fixedBaseDigest(fixedBase),
    layout: fixedLayout(dim),
    initialAdapter: new Float32Array(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (let index = 0; index < clientCount; index++) {
    const policy = parsePolicy({ organisationsMin: 1, ...policyOf(index) }, 'the test');
    const learner = fixedLearner({ dim, exampleCount: 10, delta: () => deltaOf(index) });
    clients.push(await runClient(world, { platform: platformIn(world, 300 + index), learner, policy }));
  }
  for (let turn = 0; turn < 60 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const library = await world.coordinator.library();
  const adapters = await Promise.all(library.map(async ({ row }) => float32Of(await world.coordinator.adapter(row))));
  return { world, library, adapters, problems: clients.flatMap(({ problems }) => problems) };
}

describe('masked federation in groups', () => {
  afterEach(closeWorlds);

  it('[GFD-1] the sums of all groups make the mean of all clients, and their counts the evaluation', async () => {
    const { library, adapters, problems, world } = await federate({ clientCount: 12 });
    assert.deepEqual(problems, []);
    assert.equal(library.length, 2);
    const { record } = library[1]!;
    for (const value of adapters[1]!) assert.ok(Math.abs(value - 0.65) < 1e-5, String(value));
    assert.deepEqual(
      record.measures.filter(({ name }) => name.startsWith('groups')),
      [
        { name: 'groups', value: 2 },
        { name: 'groups-counted', value: 2 },
      ],
    );
    assert.equal(record.contributors.length, 12);
    assert.equal(record.totalWeight, 12);
    assert.equal(record.metrics?.exampleCount, 120);
    const stages = world.events.flatMap((event) => (event.type === 'masking' ? [`${event.of} ${event.stage}`] : []));
    assert.ok(stages.includes('update drawn') && stages.includes('evaluation drawn'), stages.join());
  });
});
