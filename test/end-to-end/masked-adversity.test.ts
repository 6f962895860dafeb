import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { closeWorlds, type World } from '../coordinator/harness.ts';
import { checkLedger, finish, start, startClients } from './masked-adversity.ts';

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

  type When = 'published' | 'client-accepted';
  const has = (world: World | null, when: When): boolean => world?.events.some(({ type }) => type === when) ?? false;
  // More than the time within which a message is new: who does not measure the clocks again is refused from then on.
  for (const [name, jump] of [
    ['backward clock', -10 * minute],
    ['clock-skew', 10 * minute],
  ] as const)
    for (const when of ['published', 'client-accepted'] as const)
      it(`[${name}] of a site and of the coordinator, set by ${jump / minute} minutes once a round was ${when === 'published' ? when : 'begun'}: everybody is in every round`, async () => {
        for (const who of ['site', 'coordinator']) {
          const jumped = (world: World | null, whose: string): number => (who === whose && has(world, when) ? jump : 0);
          const world = await start(3, 3, (seen) => jumped(seen, 'coordinator'));
          const clients = await startClients(world, [() => jumped(world, 'site'), () => 0, () => 0]);
          await finish(world);
          await check(world);
          const refused = world.events.flatMap((event) => (event.type === 'rejected' ? [event.code] : []));
          assert.ok(refused.length > 0 && refused.every((code) => code === 'stale-time'), `${who}: ${refused.join()}`);
          for (const client of clients) client.stop();
        }
      });
});
