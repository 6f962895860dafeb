/** A masked federation of two sites in Node and one in a browser, over real sockets. */
import { socketServer } from '../../coordinator/transport/socket-server.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import { dim, federationPlan, onlyValue, openWorld, startClients } from '../end-to-end/world.ts';
import { type CheckResult, runChecks } from './page/results.ts';
import { strict as assert } from './stand-ins/assert.ts';

/** A federation that waits for its third site. */
export interface BrowserFederation {
  /** Where the coordinator listens. */
  readonly url: string;
  /** Enrolment code of the site in the browser. */
  readonly invite: string;
  /** What has to hold when that site has finished. */
  check(): Promise<CheckResult[]>;
  close(): Promise<void>;
}

/** Two sites add 1 and 2 to every value, in each of two rounds; the third is to add 3. Pages of `origin` may connect. */
export async function openFederation(origin: string): Promise<BrowserFederation> {
  const world = await openWorld();
  const rounds = { count: 2, cohortSize: 3, quorum: 3, recruitSeconds: 120, trainSeconds: 120, evaluateSeconds: 120 };
  const plan = federationPlan(rounds, { everyRounds: 1 }, { mode: 'auto' });
  const transport = socketServer({ port: 0, origins: [origin] });
  const running = await world.startCoordinator(plan, { transport });
  const { coordinator, events } = running;
  const learnings = [1, 2].map((value) => ({ delta: () => new Float32Array(dim).fill(value) }));
  const clients = await startClients(world, running, learnings);
  return {
    url: coordinator.url,
    invite: await coordinator.invite({ organisation: 'site-3' }),
    check: () =>
      runChecks([
        [
          '[BRW-7] the coordinator and the sites in Node completed both rounds with the exact mean of three',
          async () => {
            assert.equal((await coordinator.ended).status, 'completed');
            for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
            const version = (await coordinator.versions()).at(-1)!;
            const values = float32Of(await coordinator.adapter(version));
            assert.equal(onlyValue(values.map((one) => Math.round(100 * one))), 400);
            assert.equal(events.all.filter(({ type }) => type === 'rejected').length, 0);
          },
        ],
      ]),
    close: () => world.close(),
  };
}
