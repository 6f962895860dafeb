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

/** What the third site does: it adds 3, or its graphics device is lost before it trains. */
export type ThirdSite = 'federation' | 'lost-device';

/** Two sites add 1 and 2 to every value in each round. Pages of `origin` may connect. */
export async function openFederation(origin: string, third: ThirdSite): Promise<BrowserFederation> {
  const isMasked = third === 'federation';
  const world = await openWorld();
  const seconds = { recruitSeconds: 120, trainSeconds: 120, evaluateSeconds: 120 };
  const rounds = isMasked ? { count: 2, cohortSize: 3, quorum: 3 } : { count: 1, cohortSize: 3, quorum: 2 };
  const plan = federationPlan({ ...rounds, ...seconds }, { everyRounds: 1 }, { mode: isMasked ? 'auto' : 'off' });
  const transport = socketServer({ port: 0, origins: [origin] });
  const running = await world.startCoordinator(plan, { transport });
  const { coordinator, events } = running;
  const learnings = [1, 2].map((value) => ({ delta: () => new Float32Array(dim).fill(value) }));
  // The round is not to begin without the browser, which starts slowest.
  const starting = isMasked
    ? startClients(world, running, learnings)
    : events.wait('client-joined').then(() => startClients(world, running, learnings));

  async function checkMean(expected: number): Promise<void> {
    assert.equal((await coordinator.ended).status, 'completed');
    for (const { ended } of await starting) assert.equal((await ended).kind, 'completed');
    const version = (await coordinator.versions()).at(-1)!;
    const values = float32Of(await coordinator.adapter(version));
    assert.equal(onlyValue(values.map((one) => Math.round(100 * one))), 100 * expected);
  }
  const checkMasked = async (): Promise<void> => {
    await checkMean(4);
    assert.equal(events.all.filter(({ type }) => type === 'rejected').length, 0);
  };
  const checkLost = async (): Promise<void> => {
    await checkMean(1.5);
    const declined = events.all.filter((event) => event.type === 'client-declined');
    assert.deepEqual(
      declined.map(({ code, reason }) => [code, reason]),
      [['training-failed', 'the site could not do its part (device-lost)']],
    );
  };
  starting.catch(() => undefined);
  return {
    url: coordinator.url,
    invite: await coordinator.invite({ organisation: 'site-3' }),
    check: () =>
      runChecks([
        isMasked
          ? [
              '[BRW-7] the coordinator and the sites in Node completed both rounds with the exact mean of three',
              checkMasked,
            ]
          : ['[BRW-9] the coordinator heard why, and the round is the mean of the two others', checkLost],
      ]),
    close: () => world.close(),
  };
}
