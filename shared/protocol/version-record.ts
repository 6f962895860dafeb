/**
 * The record of one published version of a federation's adapter: what it is, what it came from, who made it. Signed by the coordinator
 * (type `VERSION`) over canonical bytes; the hash of the record is the `resultHash` of the round's result, so every client of the round can
 * hold the coordinator to it.
 */
import { utf8 } from '../core/bytes.ts';
import type { ClientId, Digest } from '../core/ids.ts';
import { cohortSizeMax } from '../core/limits.ts';
import type { Result } from '../core/result.ts';
import { refuse } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import type { Identity } from '../crypto/identity.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical, encodeCanonical, f64, u16, u32, u53, type ValueOf } from './canonical.ts';
import { ascending, clientId, digest, federationId, maybe, structure, text } from './canonical-compound.ts';
import { protocolVersion } from './version.ts';
import { type Violation, violation, violationCodes } from './violations.ts';

const clients = ascending(clientId, cohortSizeMax, (id) => id);

/** Measures of one rule: a handful. */
const measuresMax = 64;

const recordFormat = structure({
  protocol: u16,
  federationId,
  /** 0 for the adapter before the first round. */
  versionIndex: u32,
  /** The round that made it, its hash and its transcript; null for version 0. */
  round: maybe(structure({ roundIndex: u32, roundHash: digest, transcriptHash: digest })),
  modelHash: digest,
  /** The version that training started from; null for version 0. */
  parentModelHash: maybe(digest),
  baseDigest: digest,
  planHash: digest,
  layoutHash: digest,
  /** SHA-256 of the adapter's bytes: float32 little-endian in layout order. */
  adapterDigest: digest,
  /** Aggregation rule as the plan names it. */
  aggregationRule: text(64),
  /** Whose updates are in the adapter. */
  contributors: clients,
  /** Who was asked. */
  cohort: clients,
  /** Clients whose update arrived whole and in time. */
  survivorCount: u32,
  /** Refused messages of the round by violation code, codes ascending. */
  rejections: ascending(structure({ code: text(64), count: u32 }), violationCodes.length, ({ code }) => code),
  /** Sum of the contributors' weights. */
  totalWeight: f64,
  /** Metrics over the held-out rows of all sites that disclose theirs; null when nobody evaluated. */
  metrics: maybe(
    structure({
      exampleCount: u53,
      accuracy: f64,
      macroF1: maybe(f64),
      microF1: maybe(f64),
      entityF1: maybe(f64),
      auroc: maybe(f64),
      perplexity: maybe(f64),
      loss: f64,
      calibrationError: f64,
      brier: f64,
    }),
  ),
  /** What the aggregation rule measured, such as the bias of averaged factors, by name. */
  measures: ascending(structure({ name: text(64), value: f64 }), measuresMax, ({ name }) => name),
  /** What protects single clients in this version, in words; `none` says that nothing does. */
  privacy: text(1000),
  createdAtMs: u53,
});

/** One published version. Lists of clients are ascending. */
export type VersionRecord = ValueOf<typeof recordFormat>;

/** A record as it is stored and sent: canonical bytes and the coordinator's signature. */
export interface SignedVersionRecord {
  readonly record: Uint8Array;
  readonly signature: Uint8Array;
}

/** Signs a record. */
export function sealVersionRecord(identity: Identity, record: Omit<VersionRecord, 'protocol'>): SignedVersionRecord {
  const encoded = encodeCanonical(recordFormat, { protocol: protocolVersion, ...record });
  return { record: encoded, signature: identity.sign('VERSION', encoded) };
}

/** The record under the coordinator's key: else `wrong-signature`, `bad-frame` or `protocol-version`. */
export function openVersionRecord(
  coordinatorKey: Uint8Array,
  { record, signature }: SignedVersionRecord,
): Result<VersionRecord, Violation> {
  if (!verifyStrict(coordinatorKey, 'VERSION', record, signature)) {
    return refuse(violation('wrong-signature', 'the version record is not signed by the coordinator'));
  }
  const decoded = decodeCanonical(recordFormat, record, 'version record');
  if (!decoded.ok || decoded.value.protocol === protocolVersion) return decoded;
  return refuse(
    violation('protocol-version', `this side reads version ${protocolVersion}, found ${decoded.value.protocol}`),
  );
}

const resultPrefix = utf8('TRIB-VERSION');

/** Hash of a record: what the round's result announces. */
export function resultHashOf(record: Uint8Array): Digest {
  return digestOf(resultPrefix, record);
}

const transcriptPrefix = utf8('TRIB-TRANSCRIPT');
const transcriptFormat = structure({
  roundHash: digest,
  updates: ascending(structure({ clientId, bodyHash: digest }), cohortSizeMax, (update) => update.clientId),
});

/**
 * Hash over the signed bodies of all updates that a round aggregated, in any order: who keeps them can prove what went in.
 * `bodyHash` is that of the envelope.
 */
export function transcriptHashOf(
  roundHash: Digest,
  updates: readonly { readonly clientId: ClientId; readonly bodyHash: Digest }[],
): Digest {
  const ordered = [...updates].sort((left, right) => (left.clientId < right.clientId ? -1 : 1));
  return digestOf(transcriptPrefix, encodeCanonical(transcriptFormat, { roundHash, updates: ordered }));
}
