/**
 * One entry of the coordinator's log: what happened, when, to what, and the hash of its details. The canonical bytes are a leaf of the Merkle
 * tree; the details are canonical JSON beside it. No details hold a vector, share, seed, token, key that is secret, or name of a person or site.
 */
import type { Digest } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';
import { canonicalJson } from '../plan/canonical-json.ts';
import { encodeCanonical, u53, type ValueOf } from '../protocol/canonical.ts';
import { digest, oneOf, structure, text } from '../protocol/canonical-compound.ts';

/** Everything that is logged, with what it says. */
const entryMeanings = {
  'federation-created': 'plan, base and layout of the federation',
  'coordinator-started': 'a coordinator took the state into use: its key, its program and its settings',
  'key-changed': 'the coordinator has another key than before',
  'configuration-changed': 'an operator changed what the coordinator holds clients to',
  'invite-made': 'an enrolment code was made; its token is not logged',
  'client-enrolled': 'a key redeemed a code',
  'client-approved': 'an operator let a client in',
  'client-revoked': 'an operator shut a client out',
  'client-withdrew': 'a client withdrew its consent, signed by its key',
  'client-quarantined': 'a client was set aside by the rule of the plan, with its marks',
  'client-ejected': 'a client broke a masked round, whose void record says how; it sits out the next ones',
  'client-contradicted': 'a client signed two different submissions for one round; the first counts, both are shown',
  'client-released': 'an operator let a client take part again that was set aside',
  'certificate-taken': 'a certificate of the consortium was put to use',
  'revocations-taken': 'a list of revocations of the consortium was put to use',
  'round-opened': 'a round number was used up',
  'noise-committed':
    'hash of the seed of the noise that the coordinator will add to a round, where it is kept for an auditor',
  'round-reopened': 'a masked round began anew with new keys',
  'update-stored': 'an update is durable and was acknowledged',
  'round-void': 'a round ended without a version',
  'candidate-refused': 'the gate of the plan refused what a round made; the version before stays',
  'round-published': 'a version: its record with cohort, contributors, rejections and privacy',
  'phase-started': 'a version that begins the next phase of a plan of phases',
  'version-withdrawn': 'an operator took versions back; a later start goes on from an earlier one',
} as const;

/** Kind of an entry. */
export type EntryType = keyof typeof entryMeanings;
/** Every kind. */
export const entryTypes = Object.keys(entryMeanings) as readonly EntryType[];

/** Bytes of the subject of an entry. */
const subjectBytesMax = 200;

/** The canonical form of a leaf. */
export const entryFormat = structure({
  /** Position in the log, from 0. */
  sequence: u53,
  timeMs: u53,
  type: oneOf(entryTypes),
  /** What it is about; with the type it is unique in the log, so that nothing is logged twice. */
  subject: text(subjectBytesMax),
  /** SHA-256 of the details. */
  payloadHash: digest,
  /** Hash of the leaf before, zeros for the first: every entry binds all before it, also outside the tree. */
  previous: digest,
});
/** One entry without its details. */
export type Entry = ValueOf<typeof entryFormat>;

/** Details of an entry: plain JSON. */
export type Payload = { readonly [key: string]: unknown };

/** What happened, before it has a place in the log. */
export interface Happening {
  readonly type: EntryType;
  readonly subject: string;
  readonly payload: Payload;
}

/** The hash before the first entry. */
export const noEntry = '00'.repeat(32) as Digest;

/** The text of details and its hash. */
export function encodePayload(payload: Payload): { readonly text: string; readonly hash: Digest } {
  const bytes = canonicalJson(payload);
  return { text: new TextDecoder().decode(bytes), hash: digestOf(bytes) };
}

/** The leaf of an entry. */
export function encodeEntry(entry: Entry): Uint8Array {
  return encodeCanonical(entryFormat, entry);
}
