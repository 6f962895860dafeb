/**
 * The log in use: appends what happened, signs checkpoints, proves entries. Whoever appends waits until the entry is durable. Several processes
 * may append; the tree follows what is in the store.
 */

import { type SignedCheckpoint, sealCheckpoint } from '../../shared/audit/checkpoint.ts';
import type { Happening } from '../../shared/audit/entry.ts';
import { createMerkleTree, leafHashOf } from '../../shared/audit/merkle.ts';
import { encodeLogProof, type ProvenEntry } from '../../shared/audit/proof.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import type { LogRow, LogStore } from './log-store.ts';

/** What a log works with. */
export interface AuditLogPorts {
  readonly store: LogStore;
  readonly identity: Identity;
  readonly clock: Clock;
}

/** The log of one federation. @throws StoreError from every method when storage fails. */
export interface AuditLog {
  /** Appends what is not in the log yet; durable when it resolves. */
  record(...happenings: readonly Happening[]): Promise<void>;
  /** Signs the log as it is, durably. */
  checkpoint(federationId: FederationId): Promise<SignedCheckpoint>;
  /**
   * Bytes of a proof for somebody who knows the first `knownSize` entries: the newest checkpoint, that it goes on from there, and the entries of
   * these types and subjects, as far as they are there.
   */
  prove(
    federationId: FederationId,
    knownSize: number,
    wanted: readonly Pick<Happening, 'type' | 'subject'>[],
  ): Promise<Uint8Array>;
}

/** A log over a store. */
export function createAuditLog({ store, identity, clock }: AuditLogPorts): AuditLog {
  const tree = createMerkleTree();
  let newest: { readonly size: number; readonly signed: SignedCheckpoint } | null = null;

  /** Brings the tree up to what is durable. */
  const follow = async (): Promise<void> => {
    for (const { sequence, entry } of await store.rows(tree.size())) {
      // Two that read at the same time got the same lines.
      if (sequence === tree.size()) tree.append(leafHashOf(fromHex(entry)));
    }
  };
  const checkpoint = async (federationId: FederationId): Promise<SignedCheckpoint> => {
    await follow();
    const size = tree.size();
    if (newest?.size === size) return newest.signed;
    const root = toHex(tree.root(size)) as Digest;
    const signed = sealCheckpoint(identity, { federationId, size, root, timeMs: clock.nowMs() });
    newest = { size, signed };
    await store.addCheckpoint({
      size,
      checkpoint: toHex(signed.checkpoint),
      signature: toHex(signed.signature),
    });
    return signed;
  };
  const proven = ({ sequence, entry, payload }: LogRow, size: number): ProvenEntry => ({
    entry: fromHex(entry),
    payload,
    path: tree.inclusion(sequence, size),
  });

  return {
    record: (...happenings) => store.append(happenings, clock.nowMs()),
    checkpoint,
    prove: async (federationId, knownSize, wanted) => {
      const found: LogRow[] = [];
      for (const { type, subject } of wanted) {
        const row = await store.find(type, subject);
        if (row !== null) found.push(row);
      }
      const signed = await checkpoint(federationId);
      const size = newest?.signed === signed ? newest.size : tree.size();
      const isKnown = knownSize > 0 && knownSize <= size;
      return encodeLogProof({
        signed,
        consistency: isKnown ? tree.consistency(knownSize, size) : [],
        entries: found.filter(({ sequence }) => sequence < size).map((row) => proven(row, size)),
      });
    },
  };
}
