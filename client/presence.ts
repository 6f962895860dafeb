/** How a client gets to its coordinator and comes back to it: enrolment, connections, and when to try again. Performs effects, decides nothing. */
import { assert } from '../shared/core/assert.ts';
import { fromHex } from '../shared/core/bytes.ts';
import { TransportError } from '../shared/core/errors.ts';
import type { Digest } from '../shared/core/ids.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import { fingerprint } from '../shared/crypto/identity.ts';
import type { EnrolmentCode } from '../shared/protocol/enrolment-code.ts';
import { describe } from '../shared/protocol/violations.ts';
import { enrol } from './enrolment.ts';
import type { ClientListener } from './events.ts';
import type { Credentials, Platform } from './platform/ports.ts';
import { backoffMs, jitter } from './session/backoff.ts';
import type { Ledger } from './session/ledger.ts';
import type { PresenceEffect, SessionEvent } from './session/state.ts';
import { readIncoming } from './transport/incoming.ts';
import type { Link } from './transport/link.ts';
import type { Transport } from './transport/transport.ts';

/** What a presence works with. */
export interface PresenceOptions {
  readonly platform: Platform;
  readonly identity: Identity;
  readonly ledger: Ledger;
  readonly credentials: Credentials;
  readonly code: EnrolmentCode | null;
  readonly name: string;
  readonly transport: Transport;
  readonly link: Link;
  /** Whether this client prepared a round, so that it can evaluate for it. */
  readonly knows: (roundHash: Digest) => boolean;
  readonly onEvent: ClientListener;
  readonly dispatch: (event: SessionEvent) => void;
  /** Takes what ends the session: a broken disk, a bug. */
  readonly fail: (thrown: unknown) => void;
  /** Aborted when the session is over. */
  readonly signal: AbortSignal;
}

/** Performs effects of the connection. */
export interface Presence {
  perform(effect: PresenceEffect): void;
  /** Hangs up, and does not come back. */
  end(): void;
}

/** Not connected yet. */
export function createPresence(options: PresenceOptions): Presence {
  const { platform, identity, credentials, transport, link, onEvent, dispatch, fail, signal } = options;
  const coordinatorKey = fromHex(credentials.coordinatorKey);
  let cancelReconnect = (): void => undefined;
  const tellFingerprint = (): void =>
    onEvent({ type: 'waiting-for-approval', fingerprint: fingerprint(identity.publicKey) });

  const enrolNow = async (): Promise<void> => {
    const { code, name, ledger } = options;
    assert(code !== null, 'enrolment needs a code');
    const outcome = await enrol({
      platform,
      identity,
      code,
      name,
      signal,
      onRedeemed: () => ledger.enrol(credentials),
      onPending: tellFingerprint,
      onUnanswered: (detail, retryMs) => onEvent({ type: 'disconnected', detail, retryMs }),
    });
    if (!outcome.ok) {
      dispatch({ type: 'enrolment-refused', detail: describe(outcome.error) });
      return;
    }
    onEvent({ type: 'enrolled', url: credentials.url });
    dispatch({ type: 'enrolled' });
  };

  /** A transport calls from anywhere: what its listener throws must end the session, not the process. */
  const guarded =
    <Values extends readonly unknown[]>(action: (...values: Values) => void) =>
    (...values: Values): void => {
      try {
        action(...values);
      } catch (thrown) {
        fail(thrown);
      }
    };
  const lost = (detail: string): void => {
    link.down();
    dispatch({ type: 'connection-lost', detail });
  };
  const connectNow = async (): Promise<void> => {
    try {
      await transport.connect({
        onConnected: guarded(() => {
          link.up();
          onEvent({ type: 'connected' });
          dispatch({ type: 'connected' });
        }),
        onMessage: guarded((event, frame) => {
          const message = readIncoming(event, frame, { coordinatorKey, knows: options.knows });
          if (message.ok) dispatch(message.value);
          else onEvent({ type: 'problem', code: message.error.code, detail: describe(message.error) });
        }),
        onLost: lost,
      });
    } catch (thrown) {
      if (signal.aborted) return;
      if (!(thrown instanceof TransportError)) throw thrown;
      if (thrown.code === 'admission-refused') dispatch({ type: 'admission-refused', detail: thrown.message });
      else {
        if (thrown.code === 'approval-pending') tellFingerprint();
        lost(thrown.message);
      }
    }
  };

  return {
    perform: (effect) => {
      switch (effect.type) {
        case 'enrol':
          enrolNow().catch(fail);
          break;
        case 'connect':
          connectNow().catch(fail);
          break;
        case 'schedule-reconnect': {
          const retryMs = backoffMs(effect.attempt, jitter(platform.entropy));
          onEvent({ type: 'disconnected', detail: effect.detail, retryMs });
          cancelReconnect();
          cancelReconnect = platform.clock.after(retryMs, () => dispatch({ type: 'reconnect-due' }));
          break;
        }
        default:
          effect satisfies never;
      }
    },
    end: () => {
      cancelReconnect();
      transport.close();
    },
  };
}
