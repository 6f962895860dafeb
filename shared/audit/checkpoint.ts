/**
 * Checkpoints of the log: its size and root at a time, signed by the coordinator. Two of one size with different roots prove that the
 * coordinator shows different logs to different people (`log-fork`), and so do two without a proof that one begins the other.
 */
import { fromHex } from '../core/bytes.ts';
import type { Digest, FederationId } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { bytes, decodeCanonical, encodeCanonical, raw, u53, type ValueOf } from '../protocol/canonical.ts';
import { digest, federationId, structure } from '../protocol/canonical-compound.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { isConsistent } from './merkle.ts';

const checkpointFormat = structure({ federationId, size: u53, root: digest, timeMs: u53 });
/** What a checkpoint says. */
export type Checkpoint = ValueOf<typeof checkpointFormat>;

/** A checkpoint as it is kept and shown: canonical bytes and the coordinator's signature. */
export const signedCheckpointFormat = structure({ checkpoint: bytes(256), signature: raw(64) });
/** A signed checkpoint. */
export type SignedCheckpoint = ValueOf<typeof signedCheckpointFormat>;

/** A head of the log as clients name it in M1. */
export type LogHead = Pick<Checkpoint, 'size' | 'root'>;

/** Where a client stands that saw no checkpoint yet. */
export const noHead: LogHead = { size: 0, root: '00'.repeat(32) as Digest };

/** Signs a checkpoint. */
export function sealCheckpoint(identity: Identity, checkpoint: Checkpoint): SignedCheckpoint {
  const encoded = encodeCanonical(checkpointFormat, checkpoint);
  return { checkpoint: encoded, signature: identity.sign('CHECKPOINT', encoded) };
}

/** The checkpoint under the coordinator's key: else `wrong-signature`, `wrong-federation` or `bad-frame`. */
export function openCheckpoint(
  { checkpoint, signature }: SignedCheckpoint,
  pinned: { readonly coordinatorKey: Uint8Array; readonly federationId: FederationId },
): Result<Checkpoint, Violation> {
  if (!verifyStrict(pinned.coordinatorKey, 'CHECKPOINT', checkpoint, signature))
    return refuse(violation('wrong-signature', 'the checkpoint is not signed by the coordinator'));
  const decoded = decodeCanonical(checkpointFormat, checkpoint, 'checkpoint');
  if (!decoded.ok) return decoded;
  return decoded.value.federationId === pinned.federationId
    ? succeed(decoded.value)
    : refuse(violation('wrong-federation', 'the checkpoint is of another federation'));
}

/** Whether the log of `later` goes on from that of `earlier`. */
export function goesOn(earlier: LogHead, later: LogHead, proof: readonly Uint8Array[]): boolean {
  const head = ({ size, root }: LogHead) => ({ size, root: fromHex(root) });
  return isConsistent(head(earlier), head(later), proof);
}

/** Two heads of one size with different roots, or null: what the roster of a masked round shows (amendment 8). */
export function forkAmong(heads: readonly LogHead[]): readonly [LogHead, LogHead] | null {
  const bySize = new Map<number, LogHead>();
  for (const head of heads) {
    const known = bySize.get(head.size) ?? head;
    if (known.root !== head.root) return [known, head];
    bySize.set(head.size, head);
  }
  return null;
}
