/**
 * What the coordinator signs when a round ends without a version (type `VOID`, amendment 2): which round, why, that the model stays, and the next number.
 * It stands in the log, and goes to everybody who is connected, so that nobody can make anything of a round afterwards that failed.
 */
import type { Result } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import { u32, u53, type ValueOf } from './canonical.ts';
import { digest, federationId, structure, text } from './canonical-compound.ts';
import { openSigned, sealSigned } from './signed.ts';
import type { Violation } from './violations.ts';

/** Characters of a reason. */
const reasonMax = 1000;

const recordFormat = structure({
  federationId,
  roundHash: digest,
  roundIndex: u32,
  /** The number of the next round that may be offered. */
  nextRoundIndex: u32,
  /** Of the version that stays. */
  modelHash: digest,
  /** For people. */
  reason: text(4 * reasonMax),
  createdAtMs: u53,
});
/** One void round. */
export type VoidRecord = ValueOf<typeof recordFormat>;

/** The frame of a record. A longer reason is cut. */
export function sealVoid(identity: Identity, record: VoidRecord): Uint8Array {
  return sealSigned(identity, 'VOID', recordFormat, { ...record, reason: record.reason.slice(0, reasonMax) });
}

/** The record of a frame under the coordinator's key: else `bad-frame` or `wrong-signature`. */
export function openVoid(coordinatorKey: Uint8Array, frame: Uint8Array): Result<VoidRecord, Violation> {
  return openSigned(coordinatorKey, 'VOID', recordFormat, frame);
}
