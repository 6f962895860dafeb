/**
 * The driver of a client: performs the effects of the session machine (`session/machine.ts`) with the ports it was given and answers them
 * with events. What is decided is decided there; who does what stands in `presence.ts` and `round-effects.ts`.
 */
import { errorMessage, TransportError } from '../shared/core/errors.ts';
import type { Policy } from '../shared/plan/policy.ts';
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
import { createTrust } from './trust.ts';

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
  const trust = createTrust({ ...ports, calls: createCalls({ ...ports, clock }), signal });
  const { calls } = trust;
  const cache = cautiousCache(platform.cache, (detail) => onEvent({ type: 'problem', code: 'cache', detail }));
  const member = {
    identity,
    federationId,
    get certificate() {
      return trust.certificate();
    },
    judgeCertificate: trust.judgeCertificate,
    logHead: trust.head,
    roundingSecret: ports.roundingSecret,
  };
  const work = createRoundWork({ ...ports, ...platform, calls, cache, clock, member });
  const tasks = createTasks();

  const lastRoundIndex = ledger.lastContribution(federationId)?.roundIndex ?? -1;
  const lastResult = ledger.lastEnd(federationId);
  const first = startSession({ federationId, lastRoundIndex, lastResult }, ports.code === null);
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
    // The last result is looked up while the coordinator is still there to be asked; one that has left does not come back to answer.
    if (reason.kind === 'completed' || reason.kind === 'federation-stopped')
      await Promise.race([trust.settled(), ports.link.lost()]);
    await tearDown(new TransportError('closed', reason.detail));
    onEvent({ type: 'finished', reason });
    done.resolve(reason);
  };
  const stop = (): void => dispatch({ type: 'stop' });

  const presence = createPresence({ ...ports, knows: work.knows, dispatch, fail, signal });
  const performInRound = createRoundEffects({
    ...ports,
    work,
    tasks,
    calls,
    trust,
    federationId,
    dispatch,
    fail,
    signal,
  });
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
