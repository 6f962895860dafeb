/**
 * How both sides prove who they are: enrolment over HTTP with a one-time token, then for every connection a challenge, an answer in
 * socket.io's `auth`, and the coordinator's welcome over both nonces. JSON, bytes as lower-case hex. Every signature names the coordinator's
 * key or the federation, so that none is good for another coordinator.
 *
 * Pure: who is enrolled, which nonce was issued and not yet used, and the time are facts that the caller brings.
 */
import * as z from 'zod/mini';
import { equalBytes, fromHex, toHex } from '../core/bytes.ts';
import type { ClientId, Digest, FederationId } from '../core/ids.ts';
import { envelopeWindowMs } from '../core/limits.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import type { Identity } from '../crypto/identity.ts';
import { isSoundPublicKey, verifyStrict } from '../crypto/verify.ts';
import { authFormat, challengeFormat, enrolFormat, type Welcome, welcomeFormat } from './bodies.ts';
import { encodeCanonical } from './canonical.ts';
import { clientIdSchema, federationIdSchema } from './messages.ts';
import { openSigned, sealSigned } from './signed.ts';
import { protocolVersion, socketNamespace } from './version.ts';
import { type Violation, violation } from './violations.ts';

/** Bytes of a nonce and of an invite token. */
export const nonceBytes = 32;
/** Characters of a client's name: a line in a list. */
export const nameCharactersMax = 200;

const hexBytes = (count: number) =>
  z.pipe(z.string().check(z.regex(new RegExp(`^[0-9a-f]{${2 * count}}$`))), z.transform(fromHex));
const milliseconds = z.int().check(z.nonnegative());

const challengeSchema = z.strictObject({
  serverNonce: hexBytes(nonceBytes),
  serverTimeMs: milliseconds,
  federationId: federationIdSchema,
  coordinatorKey: hexBytes(32),
  signature: hexBytes(64),
});
/** Answer to `GET /v1/challenge`. */
export type Challenge = z.output<typeof challengeSchema>;

const enrolmentSchema = z.strictObject({
  token: hexBytes(nonceBytes),
  name: z.string().check(z.minLength(1), z.maxLength(nameCharactersMax)),
  publicKey: hexBytes(32),
  signature: hexBytes(64),
});
/** Content of `POST /v1/enrol` after its checks; the token itself is not kept. */
export interface Enrolment {
  readonly tokenHash: Digest;
  readonly name: string;
  readonly publicKey: Uint8Array;
}

/** Answer to `POST /v1/enrol`. */
export const enrolmentAnswerSchema = z.strictObject({
  status: z.enum(['approved', 'pending']),
  clientId: clientIdSchema,
  federationId: federationIdSchema,
  coordinatorKey: hexBytes(32),
});

const authSchema = z.strictObject({
  clientId: clientIdSchema,
  clientNonce: hexBytes(nonceBytes),
  serverNonce: hexBytes(nonceBytes),
  timestampMs: milliseconds,
  protocol: z.int(),
  signature: hexBytes(64),
});
/** What a client puts into socket.io's `auth`. */
export type Auth = z.output<typeof authSchema>;

function parse<Schema extends z.ZodMiniType>(
  schema: Schema,
  value: unknown,
  what: string,
): Result<z.output<Schema>, Violation> {
  const parsed = z.safeParse(schema, value);
  if (parsed.success) return succeed(parsed.data);
  const [issue] = parsed.error.issues;
  return refuse(
    violation('bad-frame', `${what}: ${issue?.path.join('.') || 'value'}: ${issue?.message ?? issue?.code}`),
  );
}

/** The JSON of a challenge. The nonce is fresh, is kept for `challengeLifetimeMs`, and is good for one connection. */
export function sealChallenge(
  identity: Identity,
  { serverNonce, serverTimeMs, federationId }: Pick<Challenge, 'serverNonce' | 'serverTimeMs' | 'federationId'>,
): Readonly<Record<string, string | number>> {
  const signature = identity.sign(
    'CHALLENGE',
    encodeCanonical(challengeFormat, { serverNonce, serverTimeMs, federationId }),
  );
  return {
    serverNonce: toHex(serverNonce),
    serverTimeMs,
    federationId,
    coordinatorKey: toHex(identity.publicKey),
    signature: toHex(signature),
  };
}

/** A challenge of the pinned coordinator: else `bad-frame`, `wrong-federation` or `wrong-signature`. */
export function openChallenge(
  value: unknown,
  pinned: { readonly coordinatorKey: Uint8Array; readonly federationId: FederationId },
): Result<Challenge, Violation> {
  const parsed = parse(challengeSchema, value, 'challenge');
  if (!parsed.ok) return parsed;
  const { serverNonce, serverTimeMs, federationId, coordinatorKey, signature } = parsed.value;
  if (federationId !== pinned.federationId) {
    return refuse(violation('wrong-federation', `expected ${pinned.federationId}, found ${federationId}`));
  }
  const body = encodeCanonical(challengeFormat, { serverNonce, serverTimeMs, federationId });
  if (
    !equalBytes(coordinatorKey, pinned.coordinatorKey) ||
    !verifyStrict(coordinatorKey, 'CHALLENGE', body, signature)
  ) {
    return refuse(violation('wrong-signature', 'the challenge is not signed by the key that was pinned at enrolment'));
  }
  return parsed;
}

/** The JSON of an enrolment: proves that whoever redeems the token holds the key. */
export function sealEnrolment(
  identity: Identity,
  {
    token,
    name,
    federationId,
  }: { readonly token: Uint8Array; readonly name: string; readonly federationId: FederationId },
): Readonly<Record<string, string>> {
  const { publicKey } = identity;
  const body = encodeCanonical(enrolFormat, { tokenHash: digestOf(token), publicKey, federationId });
  return { token: toHex(token), name, publicKey: toHex(publicKey), signature: toHex(identity.sign('ENROL', body)) };
}

/** An enrolment whose key is sound and signed it: else `bad-frame` or `wrong-signature`. Whether its token is good is the caller's check. */
export function openEnrolment(value: unknown, federationId: FederationId): Result<Enrolment, Violation> {
  const parsed = parse(enrolmentSchema, value, 'enrolment');
  if (!parsed.ok) return parsed;
  const { token, name, publicKey, signature } = parsed.value;
  const tokenHash = digestOf(token);
  const body = encodeCanonical(enrolFormat, { tokenHash, publicKey, federationId });
  if (!isSoundPublicKey(publicKey) || !verifyStrict(publicKey, 'ENROL', body, signature)) {
    return refuse(violation('wrong-signature', 'the enrolment is not signed by the key that it brings'));
  }
  return succeed({ tokenHash, name, publicKey });
}

/** What an AUTH signature binds beside the fields that travel. */
function authBody(auth: Omit<Auth, 'signature'>, coordinatorKey: Uint8Array): Uint8Array {
  return encodeCanonical(authFormat, { ...auth, coordinatorKey, namespace: socketNamespace });
}

/** The JSON for socket.io's `auth`. `timestampMs` is our clock plus its offset to the challenge's server time. */
export function sealAuth(
  identity: Identity,
  answer: {
    readonly serverNonce: Uint8Array;
    readonly clientNonce: Uint8Array;
    readonly coordinatorKey: Uint8Array;
    readonly timestampMs: number;
  },
): Readonly<Record<string, string | number>> {
  const { serverNonce, clientNonce, coordinatorKey, timestampMs } = answer;
  const { clientId } = identity;
  const auth = { clientId, clientNonce, serverNonce, timestampMs, protocol: protocolVersion };
  return {
    ...auth,
    clientNonce: toHex(clientNonce),
    serverNonce: toHex(serverNonce),
    signature: toHex(identity.sign('AUTH', authBody(auth, coordinatorKey))),
  };
}

/** Parses `auth`: else `bad-frame` or `protocol-version`. The caller finds the client, uses up the nonce, then calls {@link checkAuth}. */
export function openAuth(value: unknown): Result<Auth, Violation> {
  const parsed = parse(authSchema, value, 'auth');
  if (!parsed.ok || parsed.value.protocol === protocolVersion) return parsed;
  return refuse(
    violation('protocol-version', `this side speaks version ${protocolVersion}, found ${parsed.value.protocol}`),
  );
}

/** The first thing that is wrong with an answer to a challenge: `wrong-signature`, `stale-time`, or null. */
export function checkAuth(
  { signature, ...auth }: Auth,
  facts: {
    readonly publicKey: Uint8Array;
    readonly coordinatorKey: Uint8Array;
    readonly nowMs: number;
    readonly windowMs?: number;
  },
): Violation | null {
  const { publicKey, coordinatorKey, nowMs, windowMs = envelopeWindowMs } = facts;
  if (!verifyStrict(publicKey, 'AUTH', authBody(auth, coordinatorKey), signature)) {
    return violation('wrong-signature', `the answer to the challenge is not signed by ${auth.clientId}`);
  }
  const differenceMs = Math.abs(auth.timestampMs - nowMs);
  return differenceMs > windowMs
    ? violation('stale-time', `the clocks differ by ${differenceMs} ms, allowed are ${windowMs} ms`)
    : null;
}

/** The frame of the coordinator's first event on a connection. */
export function sealWelcome(identity: Identity, welcome: Welcome): Uint8Array {
  return sealSigned(identity, 'WELCOME', welcomeFormat, welcome);
}

/** The welcome of the pinned coordinator to this very connection: else `bad-frame`, `wrong-signature` or `wrong-federation`. */
export function openWelcome(
  coordinatorKey: Uint8Array,
  frame: Uint8Array,
  expected: {
    readonly serverNonce: Uint8Array;
    readonly clientNonce: Uint8Array;
    readonly federationId: FederationId;
    readonly clientId: ClientId;
  },
): Result<Welcome, Violation> {
  const opened = openSigned(coordinatorKey, 'WELCOME', welcomeFormat, frame);
  if (!opened.ok) return opened;
  const { serverNonce, clientNonce, federationId, clientId } = opened.value;
  if (federationId !== expected.federationId) {
    return refuse(violation('wrong-federation', `expected ${expected.federationId}, found ${federationId}`));
  }
  const isOurs =
    equalBytes(serverNonce, expected.serverNonce) &&
    equalBytes(clientNonce, expected.clientNonce) &&
    clientId === expected.clientId;
  return isOurs ? opened : refuse(violation('wrong-signature', 'the welcome was signed for another connection'));
}
