/**
 * The driver of a client: performs the effects of the session machine (`session/machine.ts`) with the ports it was given and answers them
 * with events. What is decided is decided there; here is only who does what.
 */
import { assert } from '../shared/core/assert.ts';
import { errorMessage, FederationError, TransportError, UsageError } from '../shared/core/errors.ts';
import type { Digest } from '../shared/core/ids.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import { fingerprint, identityFromSeed } from '../shared/crypto/identity.ts';
import type { Policy } from '../shared/plan/policy.ts';
import type { Evaluate, Offer } from '../shared/protocol/messages.ts';
import { enrol } from './enrolment.ts';
import type { ClientListener } from './events.ts';
import type { LearnedUpdate, Learner } from './learner.ts';
import type { Credentials, Platform } from './platform/ports.ts';
import { createRoundWork } from './round-work.ts';
import { backoffMs } from './session/backoff.ts';
import type { Ledger } from './session/ledger.ts';
import { openLedger } from './session/ledger.ts';
import type { FinishReason, SessionEffect, SessionEvent, SessionState } from './session/machine.ts';
import { receive, startSession } from './session/machine.ts';
import { createCalls } from './transport/calls.ts';
import { createHandshake } from './transport/handshake.ts';
import { readIncoming } from './transport/incoming.ts';
import { createLink } from './transport/link.ts';
import { socketTransport } from './transport/socket-transport.ts';
import type { Transport } from './transport/transport.ts';

/** What {@link createClient} needs. */
export interface ClientOptions {
  /** Keys, journal, cache, time and HTTP of the place that the client runs in, for example `nodePlatform(folder)`. */
  readonly platform: Platform;
  /** Trains and evaluates on this site's data. */
  readonly learner: Learner;
  /** What this site agrees to. */
  readonly policy: Policy;
  /** Enrolment code; needed once, afterwards the stored credentials count. */
  readonly invite?: string;
  /** Name shown to the coordinator's operator; default `client`. */
  readonly name?: string;
  /** Hears everything that happens. */
  readonly onEvent?: ClientListener;
  /** Another transport than socket.io, for tests and benchmarks. */
  readonly transportOf?: (credentials: Credentials, identity: Identity) => Transport;
}

/** A client of one federation. */
export interface Client {
  /** Short form of the public key, for checking by telephone. */
  readonly fingerprint: string;
  /** Takes part until the federation is finished or `signal` is aborted. @throws FederationError when it cannot go on at all. */
  run(signal?: AbortSignal): Promise<FinishReason>;
}

/**
 * Makes a client; nothing is sent before `run`.
 * @throws StoreError when the state cannot be read; UsageError without credentials and without an invite.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const identity = identityFromSeed(await options.platform.identitySeed());
  const ledger = await openLedger(options.platform.journal);
  if (ledger.credentials === null && options.invite === undefined) {
    throw new UsageError(
      'not-enrolled',
      'this state folder is not enrolled yet: give the enrolment code with --invite',
    );
  }
  return {
    fingerprint: fingerprint(identity.publicKey),
    run: async (signal = new AbortController().signal) => {
      const onEvent = options.onEvent ?? (() => undefined);
      const credentials =
        ledger.credentials ?? (await enrol({ ...options, invite: options.invite!, identity, ledger, onEvent, signal }));
      return runSession(options, identity, ledger, credentials, signal);
    },
  };
}

/** The session after enrolment, until it is finished. */
function runSession(
  { platform, learner, policy, onEvent = () => undefined, transportOf }: ClientOptions,
  identity: Identity,
  ledger: Ledger,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<FinishReason> {
  const handshake = createHandshake({ platform, identity, credentials });
  const transport = transportOf?.(credentials, identity) ?? socketTransport({ url: credentials.url, handshake });
  const link = createLink(transport);
  const calls = createCalls({ link, transport, identity, credentials, ledger, clock: platform.clock });
  const work = createRoundWork({ calls, cache: platform.cache, learner, policy, onEvent });
  const done = Promise.withResolvers<FinishReason>();
  const offers = new Map<Digest, Offer>();
  let evaluation: Evaluate | null = null;
  let update: LearnedUpdate | null = null;
  let underWay = new AbortController();
  let cancelReconnect = (): void => undefined;
  const { federationId, clientId } = credentials;
  const memory = { clientId, federationId, lastRoundIndex: ledger.lastRoundIndex(federationId), lastResult: null };
  let { state, effects } = startSession(memory, true) as { state: SessionState; effects: readonly SessionEffect[] };

  /** A bug or a broken disk: ends everything, unlike what a peer does. */
  const fail = (thrown: unknown): void => {
    underWay.abort(thrown);
    cancelReconnect();
    transport.close();
    done.reject(thrown instanceof Error ? thrown : new Error(errorMessage(thrown)));
  };
  const dispatch = (event: SessionEvent): void => {
    try {
      const step = receive(state, event);
      state = step.state;
      for (const effect of step.effects) perform(effect);
    } catch (thrown) {
      fail(thrown);
    }
  };
  /** Runs one piece of work of a round; faults of data, base and network are told to the machine. */
  const start = (roundHash: Digest, task: (signal: AbortSignal) => Promise<SessionEvent>): void => {
    const { signal: taskSignal } = underWay;
    task(taskSignal).then(dispatch, (thrown: unknown) => {
      if (taskSignal.aborted) return;
      if (thrown instanceof FederationError && thrown.code !== 'journal-not-written') {
        dispatch({ type: 'work-failed', roundHash, detail: errorMessage(thrown) });
      } else fail(thrown);
    });
  };
  const connect = (): void => {
    transport
      .connect({
        onConnected: () => {
          link.up();
          onEvent({ type: 'connected' });
          dispatch({ type: 'connected' });
        },
        onMessage: (name, body) => {
          const message = readIncoming(name, body, credentials);
          if (!message.ok) onEvent({ type: 'problem', code: message.error.code, detail: message.error.detail });
          else if (message.value.type === 'offer') {
            offers.set(message.value.facts.roundHash, message.value.offer);
            dispatch({ type: 'offer', offer: message.value.facts });
          } else if (message.value.type === 'evaluate') {
            evaluation = message.value.request;
            const { roundHash, signatureValid } = message.value;
            dispatch({ type: 'evaluate', roundHash, signatureValid, known: work.knows() });
          } else dispatch(message.value);
        },
        onLost: (detail) => {
          link.down();
          dispatch({ type: 'connection-lost', detail });
        },
      })
      .catch((thrown: unknown) => {
        link.down();
        if (!(thrown instanceof TransportError)) fail(thrown);
        else if (thrown.code === 'admission-refused') dispatch({ type: 'admission-refused', detail: thrown.message });
        else dispatch({ type: 'connection-lost', detail: thrown.message });
      });
  };

  const perform = (effect: SessionEffect): void => {
    switch (effect.type) {
      case 'enrol':
        assert(false, 'a session starts after enrolment');
        break;
      case 'connect':
        connect();
        break;
      case 'schedule-reconnect': {
        const [byte] = platform.entropy.bytes(1);
        const retryMs = backoffMs(effect.attempt, byte! / 256);
        onEvent({ type: 'disconnected', detail: 'the connection to the coordinator is lost', retryMs });
        cancelReconnect = platform.clock.after(retryMs, () => dispatch({ type: 'reconnect-due' }));
        break;
      }
      case 'prepare': {
        const { roundHash, roundIndex } = effect.offer;
        onEvent({ type: 'offered', roundIndex });
        const offer = offers.get(roundHash);
        assert(offer !== undefined, 'an offer is kept when it arrives');
        offers.clear();
        offers.set(roundHash, offer);
        start(roundHash, async (taskSignal) => {
          const outcome = await work.prepare(offer, taskSignal);
          if ('refusedByPolicy' in outcome) return { type: 'plan-refused', roundHash, reason: outcome.refusedByPolicy };
          return { type: 'prepared', roundHash, facts: outcome.facts };
        });
        break;
      }
      case 'decline': {
        const { roundHash, roundIndex } = effect.offer;
        onEvent({ type: 'declined', roundIndex, ...effect.refusal });
        calls.decline(roundHash, effect.refusal, signal).catch(reportProblem);
        break;
      }
      case 'train': {
        const { roundHash, roundIndex } = effect.offer;
        start(roundHash, async (taskSignal) => {
          await calls.accept(roundHash, taskSignal);
          update = await work.train(roundHash, roundIndex, taskSignal);
          return { type: 'trained', roundHash };
        });
        break;
      }
      case 'contribute': {
        const { roundHash, roundIndex } = effect.offer;
        assert(update !== null, 'a contribution follows training');
        const contribution = update;
        start(roundHash, async (taskSignal) => {
          await ledger.recordContribution(federationId, roundIndex, roundHash);
          const refusal = await work.upload(roundHash, contribution, taskSignal);
          if (refusal !== null)
            return { type: 'upload-refused', roundHash, detail: `${refusal.code}: ${refusal.detail}` };
          const { exampleCount, delta } = contribution;
          onEvent({ type: 'uploaded', roundIndex, bytes: delta.byteLength, exampleCount });
          return { type: 'uploaded', roundHash };
        });
        break;
      }
      case 'abandon-work':
        underWay.abort(new TransportError('abandoned', effect.detail));
        underWay = new AbortController();
        break;
      case 'evaluate': {
        const request = evaluation;
        assert(request !== null, 'a request is kept when it arrives');
        const { roundHash } = effect;
        start(roundHash, async (taskSignal) => {
          const disclosed = await work.evaluate(request, taskSignal);
          onEvent({ type: 'evaluated', roundHash, disclosed });
          return { type: 'evaluated', roundHash };
        });
        break;
      }
      case 'accept-result':
        onEvent({ type: 'result', roundIndex: effect.roundIndex, ...effect.result });
        break;
      case 'report':
        onEvent({ type: 'problem', code: effect.refusal.code, detail: effect.refusal.detail });
        break;
      case 'close':
        cancelReconnect();
        underWay.abort(new TransportError('closed', effect.reason.detail));
        transport.close();
        work.dispose();
        onEvent({ type: 'finished', reason: effect.reason });
        done.resolve(effect.reason);
        break;
      default:
        effect satisfies never;
    }
  };
  const reportProblem = (thrown: unknown): void => {
    if (!signal.aborted) onEvent({ type: 'problem', code: 'not-delivered', detail: errorMessage(thrown) });
  };
  signal.addEventListener('abort', () => dispatch({ type: 'stop' }), { once: true });
  if (signal.aborted) dispatch({ type: 'stop' });
  else for (const effect of effects) perform(effect);
  return done.promise;
}
