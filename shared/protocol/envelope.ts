/**
 * The envelope around everything that a client says in a round: who, which attempt of which round, when, with a number that only grows. It
 * holds the hash of the body, and the signature covers the envelope; so the signature binds the body, the sender and the round, and a copy
 * of a message is recognised. Frame: `{ envelope, body, signature }`, the first two in canonical bytes.
 */
import * as z from 'zod/mini';
import type { ClientId, Digest, SessionId } from '../core/ids.ts';
import { envelopeWindowMs } from '../core/limits.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import type { Identity } from '../crypto/identity.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical, encodeCanonical, type Format, u16, u53, u64, type ValueOf } from './canonical.ts';
import { clientId, digest, oneOf, sessionId, structure } from './canonical-compound.ts';
import { decodeMessage, encodeMessage } from './codec.ts';
import { protocolVersion } from './version.ts';
import { type Violation, violation } from './violations.ts';

/** Messages of a client that travel in an envelope. */
export const envelopeTypes = ['ACCEPT', 'DECLINE', 'UPDATE', 'EVALUATION', 'READY'] as const;
/** Kind of a message in an envelope, also the domain of its signature. */
export type EnvelopeType = (typeof envelopeTypes)[number];

/** Canonical bytes of an envelope: what its signature covers. */
export const envelopeFormat = structure({
  protocol: u16,
  type: oneOf(envelopeTypes),
  clientId,
  sessionId,
  roundHash: digest,
  /** Strictly greater than in every earlier envelope of this client. */
  sequence: u64,
  /** When it was sealed, in the coordinator's time. */
  timeMs: u53,
  bodyHash: digest,
});
/** Facts about a message that its signature binds. */
export type Envelope = ValueOf<typeof envelopeFormat>;

const frameSchema = z.strictObject({
  envelope: z.instanceof(Uint8Array),
  body: z.instanceof(Uint8Array),
  signature: z.instanceof(Uint8Array),
});

/** What {@link sealEnvelope} needs. */
export interface SealOptions<Body extends { readonly roundHash: Digest }> {
  readonly identity: Identity;
  readonly type: EnvelopeType;
  readonly sessionId: SessionId;
  /** Durable before it is used: a crash must not bring it back. */
  readonly sequence: bigint;
  /** Our clock plus its offset to the coordinator's, milliseconds. */
  readonly timeMs: number;
  readonly format: Format<Body>;
  readonly body: Body;
}

/** Signs a message of a client: the frame to send. */
export function sealEnvelope<Body extends { readonly roundHash: Digest }>(options: SealOptions<Body>): Uint8Array {
  const { identity, type, sessionId: session, sequence, timeMs: sealedMs, format, body } = options;
  const encodedBody = encodeCanonical(format, body);
  const envelope = encodeCanonical(envelopeFormat, {
    protocol: protocolVersion,
    type,
    clientId: identity.clientId,
    sessionId: session,
    roundHash: body.roundHash,
    sequence,
    timeMs: sealedMs,
    bodyHash: digestOf(encodedBody),
  });
  return encodeMessage({ envelope, body: encodedBody, signature: identity.sign(type, envelope) });
}

/** What a receiver knows about the sender before it opens an envelope. */
export interface OpenOptions<Body extends { readonly roundHash: Digest }> {
  readonly type: EnvelopeType;
  readonly format: Format<Body>;
  /** Whose connection it came from. */
  readonly clientId: ClientId;
  readonly publicKey: Uint8Array;
  readonly nowMs: number;
  /** Highest sequence number that was taken from this client, 0 before the first. */
  readonly lastSequence: bigint;
  /** Milliseconds that `timeMs` may differ from `nowMs`; default {@link envelopeWindowMs}. */
  readonly windowMs?: number;
}

/** An envelope that passed every check. */
export interface OpenedEnvelope<Body> {
  readonly envelope: Envelope;
  readonly body: Body;
  /** What was signed and by which signature: evidence that can be checked again. */
  readonly evidence: { readonly envelope: Uint8Array; readonly body: Uint8Array; readonly signature: Uint8Array };
}

/**
 * Opens an envelope. Checks, in this order: frame (`bad-frame`), version (`protocol-version`), kind, round and body hash (`bad-envelope`),
 * sender (`wrong-sender`), signature (`wrong-signature`), time (`stale-time`), sequence number (`replayed-sequence`), body (`bad-frame`).
 * Pure: the caller makes `envelope.sequence` durable before it acts, and judges round and session.
 */
export function openEnvelope<Body extends { readonly roundHash: Digest }>(
  frame: Uint8Array,
  options: OpenOptions<Body>,
): Result<OpenedEnvelope<Body>, Violation> {
  const { type, format, publicKey, nowMs, lastSequence, windowMs = envelopeWindowMs } = options;
  const decoded = decodeMessage(frameSchema, frame);
  if (!decoded.ok) return decoded;
  const { envelope: encoded, body: encodedBody, signature } = decoded.value;
  const opened = decodeCanonical(envelopeFormat, encoded, 'envelope');
  if (!opened.ok) return opened;
  const envelope = opened.value;
  const wrong = (code: Violation['code'], detail: string) => refuse(violation(code, detail));
  if (envelope.protocol !== protocolVersion) {
    return wrong('protocol-version', `this side speaks version ${protocolVersion}, the envelope ${envelope.protocol}`);
  }
  if (envelope.type !== type) return wrong('bad-envelope', `expected ${type}, found ${envelope.type}`);
  if (envelope.bodyHash !== digestOf(encodedBody))
    return wrong('bad-envelope', 'the body has another hash than the envelope says');
  if (envelope.clientId !== options.clientId) {
    return wrong('wrong-sender', `connected as ${options.clientId}, the envelope names ${envelope.clientId}`);
  }
  if (!verifyStrict(publicKey, type, encoded, signature))
    return wrong('wrong-signature', `${type} is not signed by ${envelope.clientId}`);
  const differenceMs = envelope.timeMs - nowMs;
  if (Math.abs(differenceMs) > windowMs) {
    return wrong(
      'stale-time',
      `sealed ${Math.abs(differenceMs)} ms ${differenceMs < 0 ? 'ago' : 'ahead'}, allowed are ${windowMs} ms`,
    );
  }
  if (envelope.sequence <= lastSequence) {
    return wrong('replayed-sequence', `expected a number above ${lastSequence}, found ${envelope.sequence}`);
  }
  const body = decodeCanonical(format, encodedBody, type);
  if (!body.ok) return body;
  if (body.value.roundHash !== envelope.roundHash)
    return wrong('bad-envelope', 'envelope and body name different rounds');
  return succeed({ envelope, body: body.value, evidence: { envelope: encoded, body: encodedBody, signature } });
}
