/**
 * The client's half of the handshake of every connection: fetches a challenge, holds it to the key that was pinned at enrolment, answers it,
 * and judges the welcome. What is signed stands in `shared/protocol/handshake.ts`.
 */
import { fromHex } from '../../shared/core/bytes.ts';
import { TransportError } from '../../shared/core/errors.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { nonceBytes, openChallenge, openWelcome, sealAuth } from '../../shared/protocol/handshake.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import type { Credentials, Platform } from '../platform/ports.ts';

/** One answered challenge: good for one connection, within the lifetime of its nonce. */
export interface Opening {
  /** What the connection brings as socket.io's `auth`. */
  readonly auth: Readonly<Record<string, string | number>>;
  /** The coordinator's clock minus ours, in milliseconds; wrong by at most half the time that the challenge took. */
  readonly clockOffsetMs: number;
  /** What is wrong with the coordinator's welcome to this very connection, or null. */
  checkWelcome(frame: Uint8Array): Violation | null;
}

/** Makes openings. */
export interface Handshake {
  /** @throws TransportError; code `admission-refused` when the address belongs to another coordinator than the pinned one. */
  begin(): Promise<Opening>;
}

/** Milliseconds for the answer to a request for a challenge. */
const challengeTimeoutMs = 10_000;

/** A handshake with the coordinator of these credentials. */
export function createHandshake(options: {
  readonly platform: Pick<Platform, 'clock' | 'entropy' | 'requestJson'>;
  readonly identity: Identity;
  readonly credentials: Credentials;
}): Handshake {
  const { platform, identity, credentials } = options;
  const { clock, entropy } = platform;
  const { url, federationId, clientId } = credentials;
  const coordinatorKey = fromHex(credentials.coordinatorKey);
  return {
    begin: async () => {
      const startMs = clock.nowMs();
      const { status, body } = await platform.requestJson(`${url}/v1/challenge`, challengeTimeoutMs);
      const endMs = clock.nowMs();
      if (status !== 200) {
        throw new TransportError(
          'connection-failed',
          `${url} answered the request for a challenge with status ${status}, expected 200; is this the address of a coordinator?`,
        );
      }
      const opened = openChallenge(body, { coordinatorKey, federationId });
      if (!opened.ok) throw challengeError(url, opened.error);
      const { serverNonce, serverTimeMs } = opened.value;
      const clockOffsetMs = Math.round(serverTimeMs - (startMs + endMs) / 2);
      const clientNonce = entropy.bytes(nonceBytes);
      const timestampMs = Math.max(0, clock.nowMs() + clockOffsetMs);
      return {
        auth: sealAuth(identity, { serverNonce, clientNonce, coordinatorKey, timestampMs }),
        clockOffsetMs,
        checkWelcome: (frame) => {
          const welcome = openWelcome(coordinatorKey, frame, { serverNonce, clientNonce, federationId, clientId });
          return welcome.ok ? null : welcome.error;
        },
      };
    },
  };
}

/** A challenge of somebody else is final; one that cannot be read may be the work of a proxy and is asked for again. */
function challengeError(url: string, { code, detail }: Violation): TransportError {
  if (code !== 'wrong-federation' && code !== 'wrong-signature') {
    return new TransportError('connection-failed', `the challenge of ${url} cannot be read: ${detail}`);
  }
  return new TransportError(
    'admission-refused',
    `${url} is not the coordinator that this site enrolled with (${code}): ${detail}; ask its operator, and enrol again with a new invite in a new state folder if it was set up anew`,
    { context: { reason: code } },
  );
}
