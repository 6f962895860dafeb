/** A client of the coordinator double that tests watch and stop. */
import type { ClientOptions } from '../../client/client.ts';
import { createClient } from '../../client/client.ts';
import type { ClientEvent } from '../../client/events.ts';
import type { FinishReason } from '../../client/session/machine.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { settled } from '../coordinator/harness.ts';
import type { CoordinatorDouble } from './coordinator-double.ts';
import { dim } from './coordinator-double.ts';
import type { FixedLearning } from './fixed-learner.ts';
import { fixedLearner } from './fixed-learner.ts';

/** What the sites of these tests agree to. */
const policy = parsePolicy({ cohortMin: 2, quorumMin: 2, discloseMetrics: true }, 'the test');
/** A delta of ones. */
export const ones = () => new Float32Array(dim).fill(1);

/** Training that never ends by itself. */
export const untilAborted: FixedLearning['delta'] = (_roundIndex, _start, signal) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });

/** Clients of the test that runs. */
const running: (() => Promise<unknown>)[] = [];

/** Starts a client of the double and waits until it is connected. */
export async function startClient(
  double: CoordinatorDouble,
  delta: FixedLearning['delta'] = ones,
  options: Partial<ClientOptions> = {},
) {
  const events: ClientEvent[] = [];
  const controller = new AbortController();
  const client = await createClient({
    platform: double.platform,
    learner: fixedLearner({ dim, delta }),
    policy,
    invite: double.invite,
    onEvent: (event) => events.push(event),
    transportOf: double.transportOf,
    ...options,
  });
  let outcome: FinishReason | Error | null = null;
  const ended = client.run(controller.signal).then(
    (reason) => {
      outcome = reason;
    },
    (thrown: Error) => {
      outcome = thrown;
    },
  );
  running.push(() => {
    controller.abort();
    return ended;
  });
  await settled();
  const of = <Type extends ClientEvent['type']>(type: Type) =>
    events.filter((event): event is Extract<ClientEvent, { type: Type }> => event.type === type);
  return { events, of, ended, outcome: () => outcome, stop: () => controller.abort() };
}

/** Stops the clients of a test; for `afterEach`. */
export async function stopClients(): Promise<void> {
  for (const stop of running.splice(0)) await stop();
}
