/**
 * The driver of a client: performs the effects of the session machine (`session/machine.ts`) with the ports it was given and answers them
 * with events. What is decided is decided there; here is only who does what.
 */
import { assert } from '../shared/core/assert.ts';
import { fromHex } from '../shared/core/bytes.ts';
import { errorMessage, FederationError, StoreError, TransportError } from '../shared/core/errors.ts';
import type { Digest } from '../shared/core/ids.ts';
import type { Result } from '../shared/core/result.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import { fingerprint } from '../shared/crypto/identity.ts';
import type { Policy } from '../shared/plan/policy.ts';
import type { EnrolmentCode } from '../shared/protocol/enrolment-code.ts';
import type { Evaluate, Offer } from '../shared/protocol/messages.ts';
import { describe, type Violation } from '../shared/protocol/violations.ts';
import { enrol } from './enrolment.ts';
import type { ClientListener } from './events.ts';
import type { LearnedUpdate, Learner } from './learner.ts';
import { cautiousCache } from './platform/cautious-cache.ts';
import type { Credentials, Platform } from './platform/ports.ts';
import { createRoundWork, roundNameOf } from './round-work.ts';
import { backoffMs, jitter } from './session/backoff.ts';
import type { Ledger } from './session/ledger.ts';
import type { FinishReason, SessionEffect, SessionEvent } from './session/machine.ts';
import { receive, startSession } from './session/machine.ts';
import { createCalls } from './transport/calls.ts';
import { readIncoming } from './transport/incoming.ts';
import type { Link } from './transport/link.ts';
import type { Transport } from './transport/transport.ts';

/** Everything a session works with. */
export interface SessionPorts {
  readonly platform: Platform;
  readonly learner: Learner;
  readonly policy: Policy;
  readonly identity: Identity;
  readonly ledger: Ledger;
  readonly credentials: Credentials;
  /** The code to redeem first, or null for a client that is enrolled. */
  readonly code: EnrolmentCode | null;
  readonly name: string;
  readonly transport: Transport;
  readonly link: Link;
  readonly onEvent: ClientListener;
  readonly signal: AbortSignal;
}

/** Runs a session to its end. @throws StoreError on a broken disk; whatever a bug or the listener throws. */
export function runSession(ports: SessionPorts): Promise<FinishReason> {
  const { platform, identity, ledger, credentials, transport, link, onEvent, signal } = ports;
  const { federationId } = credentials;
  const coordinatorKey = fromHex(credentials.coordinatorKey);
  const calls = createCalls({ link, transport, identity, ledger, clock: platform.clock });
  const cache = cautiousCache(platform.cache, (detail) => onEvent({ type: 'problem', code: 'cache', detail }));
  const work = createRoundWork({ ...ports, calls, cache, clock: platform.clock });
  const done = Promise.withResolvers<FinishReason>();
  /** Ends everything that the session does beside the work of a round. */
  const session = new AbortController();
  let underWay = new AbortController();
  let lastTask: Promise<void> = Promise.resolve();
  let update: LearnedUpdate | null = null;
  let cancelReconnect = (): void => undefined;

  const memory = {
    federationId,
    lastRoundIndex: ledger.lastContribution(federationId)?.roundIndex ?? -1,
    lastResult: null,
  };
  const first = startSession(memory, ports.code === null);
  let { state } = first;

  const dispatch = (event: SessionEvent): void => {
    if (session.signal.aborted) return;
    try {
      const step = receive(state, event);
      state = step.state;
      for (const effect of step.effects) perform(effect);
    } catch (thrown) {
      fail(thrown);
    }
  };
  /** Stops everything; the base is freed when nothing computes on it any more. */
  const tearDown = (reason: Error): Promise<void> => {
    session.abort(reason);
    underWay.abort(reason);
    cancelReconnect();
    signal.removeEventListener('abort', stop);
    transport.close();
    return lastTask.then(work.dispose);
  };
  /** A bug or a broken disk: ends the session, unlike anything that a peer does. */
  const fail = (thrown: unknown): void => {
    if (session.signal.aborted) return;
    const error = thrown instanceof Error ? thrown : new Error(errorMessage(thrown));
    tearDown(error).then(() => done.reject(error), done.reject);
  };
  const stop = (): void => dispatch({ type: 'stop' });

  /** Tells the coordinator something that no phase waits for. */
  const say = (call: Promise<Result<null, Violation>>): void => {
    call
      .then(
        (reply) => {
          if (!reply.ok) onEvent({ type: 'problem', code: reply.error.code, detail: describe(reply.error) });
        },
        (thrown: unknown) => {
          if (session.signal.aborted) return;
          if (thrown instanceof TransportError) {
            onEvent({ type: 'problem', code: thrown.code, detail: thrown.message });
          } else fail(thrown);
        },
      )
      .catch(fail);
  };
  /** Runs one piece of work after the one before it; faults of data, base and network are told to the machine. */
  const start = (roundHash: Digest, task: (signal: AbortSignal) => Promise<SessionEvent>): void => {
    const taskSignal = underWay.signal;
    const run = async (): Promise<void> => {
      try {
        taskSignal.throwIfAborted();
        dispatch(await task(taskSignal));
      } catch (thrown) {
        if (taskSignal.aborted) return;
        if (!(thrown instanceof FederationError) || thrown instanceof StoreError) fail(thrown);
        else {
          onEvent({ type: 'problem', code: thrown.code, detail: thrown.message });
          // The message may quote the site's data or paths, so only its code leaves the site.
          dispatch({ type: 'work-failed', roundHash, detail: `the site could not do its part (${thrown.code})` });
        }
      }
    };
    lastTask = lastTask.then(run).catch(fail);
  };

  const startEnrolment = (code: EnrolmentCode): void => {
    const enrolled = enrol({
      platform,
      identity,
      code,
      name: ports.name,
      signal: session.signal,
      onRedeemed: () => ledger.enrol(credentials),
      onPending: () => onEvent({ type: 'waiting-for-approval', fingerprint: fingerprint(identity.publicKey) }),
      onUnanswered: (detail, retryMs) => onEvent({ type: 'disconnected', detail, retryMs }),
    });
    enrolled
      .then((outcome) => {
        if (!outcome.ok) dispatch({ type: 'enrolment-refused', detail: describe(outcome.error) });
        else {
          onEvent({ type: 'enrolled', url: credentials.url });
          dispatch({ type: 'enrolled' });
        }
      })
      .catch(fail);
  };
  const connect = (): void => {
    const lost = (detail: string): void => {
      link.down();
      dispatch({ type: 'connection-lost', detail });
    };
    const connected = transport.connect({
      onConnected: () => {
        link.up();
        onEvent({ type: 'connected' });
        dispatch({ type: 'connected' });
      },
      onMessage: (event, frame) => {
        const message = readIncoming(event, frame, { coordinatorKey, knows: work.knows });
        if (message.ok) dispatch(message.value);
        else onEvent({ type: 'problem', code: message.error.code, detail: describe(message.error) });
      },
      onLost: lost,
    });
    connected.catch((thrown: unknown) => {
      if (session.signal.aborted) return;
      if (!(thrown instanceof TransportError)) fail(thrown);
      else if (thrown.code === 'admission-refused') dispatch({ type: 'admission-refused', detail: thrown.message });
      else {
        if (thrown.code === 'approval-pending')
          onEvent({ type: 'waiting-for-approval', fingerprint: fingerprint(identity.publicKey) });
        lost(thrown.message);
      }
    });
  };

  const prepare = (offer: Offer): void => {
    const { roundHash, roundParams } = offer;
    onEvent({ type: 'offered', roundIndex: roundParams.roundIndex });
    start(roundHash, async (taskSignal) => {
      const outcome = await work.prepare(offer, taskSignal);
      return outcome.ok
        ? { type: 'prepared', roundHash, facts: outcome.value }
        : { type: 'plan-refused', roundHash, reason: outcome.error };
    });
  };
  const train = ({ roundHash }: Offer): void =>
    start(roundHash, async (taskSignal) => {
      const learned = await work.train(taskSignal);
      if (!learned.ok) return { type: 'round-refused', roundHash, refused: learned.error };
      update = learned.value;
      return { type: 'trained', roundHash };
    });
  const contribute = ({ roundHash, roundParams }: Offer): void =>
    start(roundHash, async (taskSignal) => {
      assert(update !== null, 'a contribution follows training');
      const { roundIndex, sessionId } = roundParams;
      await ledger.recordContribution(federationId, { roundIndex, roundHash, sessionId });
      const receipt = await work.upload(update, taskSignal);
      return receipt.ok
        ? { type: 'uploaded', roundHash }
        : { type: 'round-refused', roundHash, refused: receipt.error };
    });
  const evaluate = (request: Evaluate): void =>
    start(request.roundHash, async (taskSignal) => {
      const { roundHash, modelHash } = request;
      const sent = await work.evaluate(request, taskSignal);
      if (!sent.ok) return { type: 'round-refused', roundHash, refused: sent.error };
      onEvent({ type: 'evaluated', modelHash, disclosed: sent.value });
      return { type: 'evaluated', roundHash };
    });

  const perform = (effect: SessionEffect): void => {
    switch (effect.type) {
      case 'enrol':
        assert(ports.code !== null, 'enrolment needs a code');
        startEnrolment(ports.code);
        break;
      case 'connect':
        connect();
        break;
      case 'schedule-reconnect': {
        const retryMs = backoffMs(effect.attempt, jitter(platform.entropy));
        onEvent({ type: 'disconnected', detail: effect.detail, retryMs });
        cancelReconnect();
        cancelReconnect = platform.clock.after(retryMs, () => dispatch({ type: 'reconnect-due' }));
        break;
      }
      case 'prepare':
        prepare(effect.offer);
        break;
      case 'decline': {
        const { offer, refusal } = effect;
        onEvent({ type: 'declined', roundIndex: offer.roundParams.roundIndex, ...refusal });
        say(calls.decline(roundNameOf(offer), refusal.code, refusal.detail, session.signal));
        break;
      }
      case 'train':
        train(effect.offer);
        break;
      case 'contribute':
        contribute(effect.offer);
        break;
      case 'note-contribution': {
        assert(update !== null, 'a contribution follows training');
        const { roundIndex } = effect.offer.roundParams;
        onEvent({ type: 'uploaded', roundIndex, bytes: update.delta.byteLength, exampleCount: update.exampleCount });
        update = null;
        break;
      }
      case 'abandon-work':
        underWay.abort(new TransportError('abandoned', effect.detail));
        underWay = new AbortController();
        break;
      case 'evaluate':
        evaluate(effect.request);
        break;
      case 'skip-evaluation': {
        const { roundHash, modelHash } = effect.request;
        const contribution = ledger.lastContribution(federationId);
        if (contribution?.roundHash !== roundHash) break;
        const nothing = { modelHash, exampleCount: 0, metrics: null };
        say(calls.sendEvaluation(contribution, nothing, session.signal));
        break;
      }
      case 'accept-result': {
        const { roundIndex, newModelHash, contributorCount } = effect.result;
        onEvent({ type: 'result', roundIndex, newModelHash, contributorCount });
        break;
      }
      case 'report':
        onEvent({ type: 'problem', code: effect.code, detail: effect.detail });
        break;
      case 'close': {
        const { reason } = effect;
        tearDown(new TransportError('closed', reason.detail))
          .then(() => {
            onEvent({ type: 'finished', reason });
            done.resolve(reason);
          })
          .catch(done.reject);
        break;
      }
      default:
        effect satisfies never;
    }
  };

  signal.addEventListener('abort', stop, { once: true });
  try {
    for (const effect of first.effects) perform(effect);
    if (signal.aborted) stop();
  } catch (thrown) {
    fail(thrown);
  }
  return done.promise;
}
