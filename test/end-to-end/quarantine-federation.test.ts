/** A whole federation without sockets in which one client sends updates that are much longer than the others': it is set aside, and released. */
import { strict as assert } from 'node:assert';
import { releaseClient } from '../../coordinator/enrolment/quarantine.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan, until } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 8;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const base = { digest: fixedBaseDigest(fixedBase) };
const plan = parsePlan(
  {
    ...testPlan({ rounds: { count: 5, cohortSize: 4, quorum: 3 }, evaluation: { everyRounds: 0 } }),
    base,
    quarantine: { marks: 2, rounds: 5, lengthFactor: 10 },
  },
  'the test',
);

describe('quarantine in a federation', () => {
  afterEach(closeWorlds);

  it('[QUF-1] a client with too many marks is asked no more, by name in the log, until it is released', async () => {
    const state = memoryState(seededEntropy(1));
    const world = await startWorld({
      plan,
      state,
      ...fixedStart(dim),
    });
    const published = (count: number) =>
      until(() => world.events.filter(({ type }) => type === 'published').length >= count, `${count} versions`);
    /** Clients wait before their fourth update, so that the operator has a quiet moment. */
    const gate = Promise.withResolvers<void>();
    const ends = [];
    for (let index = 0; index < 4; index++) {
      const delta = async (round: number) => {
        if (round === 3 && index > 0) await gate.promise;
        return new Float32Array(dim).fill(index === 0 ? 1e3 : 1);
      };
      const learner = fixedLearner({ dim, delta });
      ends.push((await runClient(world, { platform: platformIn(world, 800 + index), learner, policy })).ended);
    }
    await published(3);
    const aside = world.events.find((event) => event.type === 'client-quarantined');
    assert.ok(aside !== undefined);
    assert.deepEqual(
      aside.marks.map(({ roundIndex, reason }) => [roundIndex, reason]),
      [
        [0, 'long'],
        [1, 'long'],
      ],
    );
    assert.equal(aside.name, 'client');
    const rows = await state.store.log.rows(0);
    assert.ok(rows.some(({ payload }) => payload.includes(aside.clientId) && payload.includes('"marks"')));
    assert.equal(await releaseClient(state.store, aside.clientId, async () => undefined), true);
    gate.resolve();
    const end = await world.coordinator.ended;
    await Promise.all(ends);
    assert.equal(end.status, 'completed', end.detail);
    const cohorts = (await world.coordinator.library())
      .slice(1)
      .map(({ record }) => record.cohort.includes(aside.clientId));
    assert.deepEqual(cohorts, [true, true, false, false, true]);
  });
});
