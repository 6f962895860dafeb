/** A client's withdrawal: signed by its key, sent over HTTP so that it needs no session. From then on it is shut out for good; the answer says where its updates are. */
import * as z from 'zod/mini';
import { fromHex, toHex } from '../core/bytes.ts';
import type { ClientId, FederationId } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical, encodeCanonical, u53, type ValueOf } from '../protocol/canonical.ts';
import { federationId } from '../protocol/canonical-compound.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { clientId, structure } from './formats.ts';

const withdrawalFormat = structure({ federationId, clientId, timeMs: u53 });
/** What is signed. */
export type Withdrawal = ValueOf<typeof withdrawalFormat>;

const hex = (digitsMax: number) => z.string().check(z.regex(/^([0-9a-f]{2})+$/), z.maxLength(digitsMax));
const withdrawalSchema = z.strictObject({ withdrawal: hex(512), signature: hex(128) });

/** The JSON of `POST /v1/withdraw`. */
export function sealWithdrawal(
  identity: Identity,
  federation: FederationId,
  timeMs: number,
): Readonly<Record<string, string>> {
  const body = encodeCanonical(withdrawalFormat, { federationId: federation, clientId: identity.clientId, timeMs });
  return { withdrawal: toHex(body), signature: toHex(identity.sign('WITHDRAW', body)) };
}

/** A withdrawal, and what checks that its client signed it. */
export interface OpenedWithdrawal {
  readonly clientId: ClientId;
  /** Canonical bytes and signature, one after the other: what is kept. */
  readonly evidence: Uint8Array;
  isSignedBy(publicKey: Uint8Array): boolean;
}

/** Parses a withdrawal from this federation: else `bad-frame` or `wrong-federation`. Its signature is checked once the key is known. */
export function openWithdrawal(value: unknown, federation: FederationId): Result<OpenedWithdrawal, Violation> {
  const parsed = z.safeParse(withdrawalSchema, value);
  if (!parsed.success) return refuse(violation('bad-frame', 'a withdrawal has a body and a signature in hex'));
  const [body, signature] = [fromHex(parsed.data.withdrawal), fromHex(parsed.data.signature)];
  const decoded = decodeCanonical(withdrawalFormat, body, 'withdrawal');
  if (!decoded.ok) return decoded;
  if (decoded.value.federationId !== federation)
    return refuse(violation('wrong-federation', 'the withdrawal is from another federation'));
  return succeed({
    clientId: decoded.value.clientId,
    evidence: Uint8Array.from([...body, ...signature]),
    isSignedBy: (publicKey) => verifyStrict(publicKey, 'WITHDRAW', body, signature),
  });
}

/** The answer to a withdrawal. */
export const withdrawalAnswerSchema = z.strictObject({
  status: z.literal('withdrawn'),
  /** Versions that an update of this client went into. */
  direct: z.array(z.int()),
  /** These, and every version whose values were made of theirs. */
  all: z.array(z.int()),
  /** Names of the phases that versions of `all` are of, in their order; empty where the plan has none. */
  phases: z.array(z.string()),
  latest: z.int(),
  /** Rounds of which raw updates were retained, this client's among them, and are deleted now. */
  erased: z.array(z.int()),
});
/** What a client hears of its contributions. */
export type WithdrawalAnswer = z.output<typeof withdrawalAnswerSchema>;
