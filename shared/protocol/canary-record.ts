/**
 * What the coordinator signs when the gate of a plan refuses a candidate (type `CANARY`): which candidate of which round, what was measured, and
 * which version stays. It stands in the log, so that nobody can say afterwards that there was no such candidate.
 */
import type { Result } from '../core/result.ts';
import { refuse } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical, encodeCanonical, f64, u32, u53, type ValueOf } from './canonical.ts';
import { digest, federationId, maybe, structure, text } from './canonical-compound.ts';
import { type Violation, violation } from './violations.ts';

const recordFormat = structure({
  federationId,
  roundIndex: u32,
  roundHash: digest,
  planHash: digest,
  /** Of the candidate. */
  modelHash: digest,
  /** Of the version that stays. */
  parentModelHash: digest,
  metric: text(32),
  /** Null where nobody could measure. */
  candidate: maybe(f64),
  before: maybe(f64),
  drop: f64,
  least: maybe(f64),
  /** For people. */
  reason: text(1000),
  createdAtMs: u53,
});

/** One refused candidate. */
export type CanaryRecord = ValueOf<typeof recordFormat>;

/** A record as it is logged. */
export interface SignedCanaryRecord {
  readonly record: Uint8Array;
  readonly signature: Uint8Array;
}

/** Signs a record. */
export function sealCanaryRecord(identity: Identity, value: CanaryRecord): SignedCanaryRecord {
  const record = encodeCanonical(recordFormat, value);
  return { record, signature: identity.sign('CANARY', record) };
}

/** The record under the coordinator's key: else `wrong-signature` or `bad-frame`. */
export function openCanaryRecord(
  coordinatorKey: Uint8Array,
  { record, signature }: SignedCanaryRecord,
): Result<CanaryRecord, Violation> {
  if (verifyStrict(coordinatorKey, 'CANARY', record, signature)) return decodeCanonical(recordFormat, record, 'CANARY');
  return refuse(violation('wrong-signature', 'the record of a refused candidate is not signed by the coordinator'));
}
