import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import type { RunningCoordinator, World } from './world.ts';
import { dim, federationPlan, onlyValue, openWorld, startClients } from './world.ts';

const filled = (value: number) => new Float32Array(dim).fill(value);
const latest = async ({ coordinator }: RunningCoordinator): Promise<Float32Array> => {
  const version = (await coordinator.versions()).at(-1)!;
  return float32Of(await coordinator.adapter(version));
};

describe('federation over sockets', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  it('[E2E-1] runs all rounds with every client; versions, results and metrics agree on both sides', async () => {
    const plan = federationPlan({ count: 2, cohortSize: 3, quorum: 3 });
    const running = await world.startCoordinator(plan);
    const clients = await startClients(world, running, [
      { delta: () => filled(1), exampleCount: 10 },
      { delta: () => filled(2), exampleCount: 10 },
      { delta: () => filled(4), exampleCount: 20 },
    ]);
    assert.deepEqual(await running.coordinator.ended, {
      status: 'completed',
      detail: '2 of 2 rounds published, all clients that were asked contributed',
    });
    for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
    // (10 * 1 + 10 * 2 + 20 * 4) / 40 in each of two rounds.
    assert.equal(onlyValue(await latest(running)), 5.5);
    const versions = await running.coordinator.versions();
    assert.equal(versions.length, 3);
    for (const { client, events } of clients) {
      const results = events.all.filter((event) => event.type === 'result');
      assert.deepEqual(
        results.map(({ newModelHash }) => newModelHash),
        versions.slice(1).map(({ modelHash }) => modelHash),
      );
      assert.equal(events.all.filter(({ type }) => type === 'uploaded').length, 2);
      assert.equal(events.all.filter(({ type }) => type === 'evaluated').length, 2);
      assert.deepEqual(
        events.all.filter(({ type }) => type === 'problem'),
        [],
      );
      // Two updates of 600 kB up; the adapter of each round, and each candidate is the start of the next round.
      const { bytesUp, bytesDown } = client.traffic();
      assert.ok(bytesUp > 2 * 4 * dim && bytesUp < 2.1 * 4 * dim, `${bytesUp} bytes up`);
      assert.ok(bytesDown > 3 * 4 * dim && bytesDown < 3.1 * 4 * dim, `${bytesDown} bytes down`);
    }
    const published = running.events.all.filter((event) => event.type === 'published');
    assert.equal(published[1]?.metrics?.exampleCount, 30);
    assert.equal(published[1]?.metrics?.accuracy, 0.8);
  });
});
