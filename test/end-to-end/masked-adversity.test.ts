import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { closeWorlds, type World } from '../coordinator/harness.ts';
import { checkDivided, checkLedger, finish, spokenKinds, start, startClients } from './masked-adversity.ts';

const minute = 60_000;

describe('masked federations in adversity', () => {
  afterEach(closeWorlds);

  const check = async (world: World): Promise<void> => {
    assert.equal(await checkLedger(world), 2);
    const { row } = (await world.coordinator.library()).at(-1)!;
    for (const value of float32Of(await world.coordinator.adapter(row))) assert.ok(Math.abs(value - 2) < 1e-3);
  };

  it('[clock-skew] ±10 min between sites and coordinator: every round is published with everybody', async () => {
    const world = await start(3, 3);
    const clients = await startClients(world, [() => -10 * minute, () => 0, () => 10 * minute]);
    await finish(world);
    await check(world);
    assert.deepEqual(
      clients.flatMap(({ problems }) => problems),
      [],
    );
    for (const client of clients) client.stop();
  });

  it('[backward clock] of a site that jumps back between two rounds: nothing of it is taken for a replay', async () => {
    const world = await start(3, 3);
    let jumped = 0;
    const clients = await startClients(world, [() => -jumped, () => 0, () => 0]);
    await finish(world, () => {
      if (world.events.some(({ type }) => type === 'published')) jumped = 1.5 * minute;
    });
    await check(world);
    for (const client of clients) client.stop();
  });

  for (const kind of spokenKinds)
    it(`[network-partition] two of seven before ${kind}: the round ends by its deadlines, history is one line`, async () => {
      await checkDivided(kind);
    });
});
