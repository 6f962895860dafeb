/**
 * Evidence of a client that signed two different submissions for one round: both as it signed them, so that whoever reads the log can check them again.
 * The first counts; what the second held is not kept. Neither holds anything secret: an announcement names its vector by hash.
 */
import type { Happening } from '../../shared/audit/entry.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { clientIdOf } from '../../shared/crypto/identity.ts';
import { verifyStrict } from '../../shared/crypto/verify.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import { envelopeFormat } from '../../shared/protocol/envelope.ts';
import { maskedFormat } from '../../shared/secure-aggregation/messages.ts';

/** Canonical bytes that a client signed, and its signature. */
export interface Statement {
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** Two submissions of one client for one round: the envelopes of two updates, or two M3. */
export interface Contradiction {
  readonly publicKey: Uint8Array;
  readonly roundHash: Digest;
  readonly kind: 'UPDATE' | 'MASKED';
  readonly first: Statement;
  readonly second: Statement;
}

/** The entry about it; one for every client, round and kind. */
export function contradicted({ publicKey, roundHash, kind, first, second }: Contradiction): Happening {
  const clientId = clientIdOf(publicKey);
  const hexOf = ({ signed, signature }: Statement) => ({ signed: toHex(signed), signature: toHex(signature) });
  return {
    type: 'client-contradicted',
    subject: `${roundHash}/${clientId}/${kind}`,
    payload: { clientId, publicKey: toHex(publicKey), roundHash, kind, first: hexOf(first), second: hexOf(second) },
  };
}

/** Why the details of such an entry prove nothing against the client that they name, or null. */
export function judgeContradiction(payload: Readonly<Record<string, unknown>>): string | null {
  const { clientId, kind } = payload;
  const publicKey = bytesIn(payload.publicKey);
  if (publicKey.length !== 32 || clientIdOf(publicKey) !== clientId) return 'the key is not that of the client';
  const subjects: string[] = [];
  const bodies = new Set<string>();
  for (const statement of [payload.first, payload.second]) {
    const { signed, signature } = (statement ?? {}) as Readonly<Record<string, unknown>>;
    const bytes = bytesIn(signed);
    const said = kind === 'UPDATE' ? updateIn(bytes) : kind === 'MASKED' ? vectorIn(bytes) : null;
    if (said === null || !verifyStrict(publicKey, kind as Contradiction['kind'], bytes, bytesIn(signature)))
      return 'a submission is not one that the client signed';
    subjects.push(said.subject);
    bodies.add(said.body);
  }
  const isOfRound = kind !== 'UPDATE' || subjects[0] === payload.roundHash;
  if (!isOfRound || subjects[0] !== subjects[1]) return 'the submissions are of different rounds';
  return bodies.size === 2 ? null : 'both submissions are the same';
}

/** What a submission is for, and what it says. */
interface Said {
  readonly subject: string;
  readonly body: string;
}

function updateIn(bytes: Uint8Array): Said | null {
  const read = decodeCanonical(envelopeFormat, bytes, 'envelope');
  return read.ok && read.value.type === 'UPDATE' ? { subject: read.value.roundHash, body: read.value.bodyHash } : null;
}

function vectorIn(bytes: Uint8Array): Said | null {
  const read = decodeCanonical(maskedFormat, bytes, 'M3');
  if (!read.ok) return null;
  const { rosterHash, dealersHash, place, vecRoot } = read.value;
  return { subject: `${rosterHash} ${dealersHash} ${place}`, body: vecRoot };
}

/** Bytes of hex in details that anybody may have written; none where it is no hex. */
export function bytesIn(value: unknown): Uint8Array {
  return typeof value === 'string' && /^(?:[0-9a-f]{2})*$/.test(value) ? fromHex(value) : new Uint8Array(0);
}
