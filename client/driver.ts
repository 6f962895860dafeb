/**
 * The driver of a client: performs the effects of the session machine (`session/machine.ts`) with the ports it was given and answers them
 * with events. What is decided is decided there; who does what stands in `presence.ts` and `round-effects.ts`.
 */
import { fromHex } from '../shared/core/bytes.ts';
import { errorMessage, TransportError } from '../shared/core/errors.ts';
import type { Policy } from '../shared/plan/policy.ts';
import { judgeVouchers } from '../shared/secure-aggregation/voucher.ts';
import type { Learner } from './learner.ts';
import { cautiousCache } from './platform/cautious-cache.ts';
import type { PresenceOptions } from './presence.ts';
import { createPresence } from './presence.ts';
import { createRoundEffects } from './round-effects.ts';
import { createRoundWork } from './round-work.ts';
import { receive, startSession } from './session/machine.ts';
import type { FinishReason, SessionEffect, SessionEvent } from './session/state.ts';
import { createTasks } from './tasks.ts';
import { createCalls } from './transport/calls.ts';

/** Everything a session works with; a client that is enrolled needs no code. `signal` stops it. */
export interface SessionPorts extends Omit<PresenceOptions, 'knows' | 'dispatch' | 'fail'> {
  readonly learner: Learner;
  readonly policy: Policy;
  /** Secret bytes of this client, from which it rounds in masked rounds. */
  readonly roundingSecret: Uint8Array;
}

/** Runs a session to its end. @throws StoreError on a broken disk; whatever a bug or the listener throws. */
export function runSession(ports: SessionPorts): Promise<FinishReason> {
  const { platform, ledger, credentials, identity, onEvent, signal: stopSignal } = ports;
  const { clock } = platform;
  const { federationId } = credentials;
  const session = new AbortController();
  const { signal } = session;
  const done = Promise.withResolvers<FinishReason>();
  const calls = createCalls({ ...ports, clock });
  const cache = cautiousCache(platform.cache, (detail) => onEvent({ type: 'problem', code: 'cache', detail }));
  const member = {
    identity,
    federationId,
    certificate: new Uint8Array(0),
    judgeCertificate: judgeVouchers(fromHex(credentials.coordinatorKey), federationId),
    roundingSecret: ports.roundingSecret,
  };
  const work = createRoundWork({ ...ports, ...platform, calls, cache, clock, member });
  const tasks = createTasks();

  const lastRoundIndex = ledger.lastContribution(federationId)?.roundIndex ?? -1;
  const first = startSession({ federationId, lastRoundIndex, lastResult: null }, ports.code === null);
  let { state } = first;

  const dispatch = (event: SessionEvent): void => {
    if (signal.aborted) return;
    try {
      const step = receive(state, event);
      state = step.state;
      for (const effect of step.effects) perform(effect);
    } catch (thrown) {
      fail(thrown);
    }
  };
  /** Stops everything; the base is freed when nothing computes on it any more. */
  const tearDown = async (reason: Error): Promise<void> => {
    session.abort(reason);
    tasks.abandon(reason);
    presence.end();
    stopSignal.removeEventListener('abort', stop);
    await tasks.settled();
    work.dispose();
  };
  /** A bug or a broken disk: ends the session, unlike anything that a peer does. */
  const fail = (thrown: unknown): void => {
    if (signal.aborted) return;
    const error = thrown instanceof Error ? thrown : new Error(errorMessage(thrown));
    tearDown(error).then(() => done.reject(error), done.reject);
  };
  const close = async (reason: FinishReason): Promise<void> => {
    await tearDown(new TransportError('closed', reason.detail));
    onEvent({ type: 'finished', reason });
    done.resolve(reason);
  };
  const stop = (): void => dispatch({ type: 'stop' });

  const presence = createPresence({ ...ports, knows: work.knows, dispatch, fail, signal });
  const performInRound = createRoundEffects({ ...ports, work, tasks, calls, federationId, dispatch, fail, signal });
  const perform = (effect: SessionEffect): void => {
    switch (effect.type) {
      case 'enrol':
      case 'connect':
      case 'schedule-reconnect':
        presence.perform(effect);
        break;
      case 'report':
        onEvent({ type: 'problem', code: effect.code, detail: effect.detail });
        break;
      case 'close':
        close(effect.reason).catch(done.reject);
        break;
      default:
        performInRound(effect);
    }
  };

  stopSignal.addEventListener('abort', stop, { once: true });
  try {
    for (const effect of first.effects) perform(effect);
    if (stopSignal.aborted) stop();
  } catch (thrown) {
    fail(thrown);
  }
  return done.promise;
}
