import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { dim, federationPlan, onlyValue, openWorld, startClients, type World } from './world.ts';

describe('masked federation over sockets', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  it('[MSO-1] three sites of three organisations: the mean of all, by the default policy of organisations, with nothing refused', async () => {
    const rounds = { count: 2, cohortSize: 3, quorum: 3 };
    const running = await world.startCoordinator(federationPlan(rounds, { everyRounds: 1 }, { mode: 'auto' }));
    const learnings = [1, 2, 3].map((value) => ({ delta: () => new Float32Array(dim).fill(value) }));
    const clients = await startClients(world, running, learnings);
    const { status } = await running.coordinator.ended;
    assert.equal(status, 'completed');
    for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
    const version = (await running.coordinator.versions()).at(-1)!;
    const value = onlyValue(float32Of(await running.coordinator.adapter(version)).map((one) => Math.round(100 * one)));
    assert.equal(value, 400);
    const { all } = running.events;
    assert.equal(all.filter(({ type }) => type === 'rejected').length, 0);
    assert.equal(all.filter(({ type }) => type === 'client-finished').length, 0);
    const problems = clients.flatMap(({ events }) => events.all.filter(({ type }) => type === 'problem'));
    assert.deepEqual(problems, []);
  });

  it('[MSO-2] ten sites in two groups: by the default policy of organisations in each, with nothing refused; the version says how many groups', async () => {
    const rounds = { count: 1, cohortSize: 10, quorum: 10 };
    const masks = { mode: 'auto', groupSize: 5 };
    const running = await world.startCoordinator(federationPlan(rounds, { everyRounds: 1 }, masks));
    const learnings = Array.from({ length: 10 }, (_, index) => ({
      delta: () => new Float32Array(dim).fill(index / 2),
    }));
    const clients = await startClients(world, running, learnings);
    const { status } = await running.coordinator.ended;
    assert.equal(status, 'completed');
    for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
    const version = (await running.coordinator.versions()).at(-1)!;
    const value = onlyValue(float32Of(await running.coordinator.adapter(version)).map((one) => Math.round(100 * one)));
    assert.equal(value, 225);
    const { all } = running.events;
    assert.equal(all.filter(({ type }) => type === 'rejected').length, 0);
    const done = all.find((event) => event.type === 'published');
    const groups = done?.type === 'published' ? done.measures.filter(({ name }) => name.startsWith('groups')) : [];
    assert.deepEqual(
      groups.map(({ value: count }) => count),
      [2, 2],
    );
    const problems = clients.flatMap(({ events }) => events.all.filter(({ type }) => type === 'problem'));
    assert.deepEqual(problems, []);
  });
});
