/**
 * Processes of clients that are killed in each state of a masked round, over real sockets, with their state on a disk (security specification, section
 * 2.6); started again at once on what they left, they are in the next round.
 */
import { strict as assert } from 'node:assert';
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { float32Of } from '../../shared/core/bytes.ts';
import type { ClientRequest } from './client-process.ts';
import { dim, federationPlan, onlyValue, openWorld, policyWith, type World } from './world.ts';

/** By state the moment of its end, and whether its update is in the sum: who is killed while the others train trains again. */
const states = [
  ['training', 'training', true],
  ['READY', 'ADVERT', false],
  ['ADVERTISED', 'SHARES', false],
  ['SHARED', 'MASKED', false],
  ['MASKED', 'AGREE', true],
  ['AGREED', 'UNMASK', true],
  ['REVEALED', 'end', true],
] as const satisfies readonly (readonly [string, ClientRequest['moment'], boolean])[];

/** What the clients add to every value: each sum of them is another. */
const values = [1, 2, 4, 8] as const;

describe('clients whose process is killed', function () {
  this.timeout(60_000);
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  for (const [state, moment, isIn] of states)
    it(`[CKL-1] client-crash each state: killed in ${state}, and started again at once: the sum is of ${isIn ? 'all' : 'the others'}, the next of all`, async () => {
      const rounds = { count: 2, cohortSize: 4, quorum: 3, recruitSeconds: 5, trainSeconds: 20 };
      const { coordinator } = await world.startCoordinator(
        federationPlan(rounds, { everyRounds: 0 }, { mode: 'on', phaseSeconds: 20 }),
      );
      const inviteOf = () => coordinator.invite({ organisation: 'site' });
      const policy = policyWith({ organisationsMin: 1 });
      const dying = fork(join(import.meta.dirname, 'client-process.ts'));
      const died = new Promise<string | null>((resolve) => dying.once('exit', (_code, signal) => resolve(signal)));
      const stateFolder = join(world.folder, 'site-0');
      dying.send({ stateFolder, invite: await inviteOf(), value: values[0], moment } satisfies ClientRequest);
      const clients = [];
      for (const [index, value] of values.entries())
        if (index > 0) {
          const learning = { delta: () => new Float32Array(dim).fill(value) };
          clients.push(await world.startClient(`site-${index}`, learning, { invite: await inviteOf(), policy }));
        }
      assert.equal(await died, 'SIGKILL');
      clients.push(await world.startClient('site-0', { delta: () => new Float32Array(dim).fill(1) }, { policy }));
      assert.equal((await coordinator.ended).status, 'completed');
      for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
      const sums = [];
      let before = 0;
      for (const { row, record } of (await coordinator.library()).slice(1)) {
        const value = onlyValue(float32Of(await coordinator.adapter(row)).map((one) => Math.round(1000 * one) / 1000));
        sums.push(Math.round((value - before) * record.contributors.length));
        before = value;
      }
      assert.deepEqual(sums, [isIn ? 15 : 14, 15]);
    });
});
