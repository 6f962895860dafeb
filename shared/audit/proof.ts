/**
 * What a client gets of the log after a round: the newest checkpoint, the proof that it goes on from the one that the client had, and its
 * receipt: the entries of its own update and of the version, each with its details and its path. Verified here, without trust in the sender.
 */
import { fromHex, utf8 } from '../core/bytes.ts';
import type { Digest, FederationId } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import { bytes, decodeCanonical, encodeCanonical, raw, type ValueOf } from '../protocol/canonical.ts';
import { list, structure, text } from '../protocol/canonical-compound.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { type Checkpoint, goesOn, type LogHead, openCheckpoint, signedCheckpointFormat } from './checkpoint.ts';
import { type Entry, type EntryType, entryFormat } from './entry.ts';
import { isIncluded, leafHashOf } from './merkle.ts';

/** Hashes of a proof: two per level of the largest tree. */
const hashesMax = 128;
/** Bytes of the details of one entry: a version record of the largest cohort does not go to clients. */
const payloadBytesMax = 65_536;

const provenEntry = structure({
  entry: bytes(1024),
  payload: text(payloadBytesMax),
  path: list(raw(32), hashesMax),
});
/** An entry with its place in the tree. */
export type ProvenEntry = ValueOf<typeof provenEntry>;

/** The whole proof. */
export const logProofFormat = structure({
  signed: signedCheckpointFormat,
  consistency: list(raw(32), hashesMax),
  entries: list(provenEntry, 4),
});
/** What {@link openLogProof} judges. */
export type LogProof = ValueOf<typeof logProofFormat>;

/** Bytes of a proof. */
export function encodeLogProof(proof: LogProof): Uint8Array {
  return encodeCanonical(logProofFormat, proof);
}

/** A judged proof. */
export interface JudgedProof {
  readonly checkpoint: Checkpoint;
  readonly entries: readonly { readonly entry: Entry; readonly payload: Readonly<Record<string, unknown>> }[];
}

/** What a proof is held to. */
export interface ProofDemands {
  readonly coordinatorKey: Uint8Array;
  readonly federationId: FederationId;
  /** The newest checkpoint that is known. */
  readonly known: LogHead;
}

const fork = (detail: string) => refuse(violation('log-fork', detail));

/** Judges the bytes of a proof: `log-fork` when the log does not go on from what is known, or an entry is not in it; `bad-frame`, `wrong-signature`. */
export function openLogProof(encoded: Uint8Array, demands: ProofDemands): Result<JudgedProof, Violation> {
  const decoded = decodeCanonical(logProofFormat, encoded, 'log proof');
  if (!decoded.ok) return decoded;
  const { signed, consistency, entries } = decoded.value;
  const checkpoint = openCheckpoint(signed, demands);
  if (!checkpoint.ok) return checkpoint;
  const { size, root } = checkpoint.value;
  const { known } = demands;
  if (!goesOn(known, checkpoint.value, consistency))
    return fork(
      `the log of ${size} entries with root ${root} does not go on from that of ${known.size} with root ${known.root}`,
    );
  const judged: JudgedProof['entries'][number][] = [];
  for (const proven of entries) {
    const entry = openProvenEntry(proven, checkpoint.value);
    if (!entry.ok) return entry;
    judged.push(entry.value);
  }
  return succeed({ checkpoint: checkpoint.value, entries: judged });
}

/** An entry that is in the log of a checkpoint, with its details. */
export function openProvenEntry(
  { entry: encoded, payload, path }: ProvenEntry,
  { size, root }: LogHead,
): Result<JudgedProof['entries'][number], Violation> {
  const decoded = decodeCanonical(entryFormat, encoded, 'log entry');
  if (!decoded.ok) return decoded;
  const entry = decoded.value;
  const leaf = { leafHash: leafHashOf(encoded), index: entry.sequence, path };
  if (!isIncluded(leaf, { size, root: fromHex(root) }))
    return fork(`entry ${entry.sequence} (${entry.type}) is not in the log of ${size} entries`);
  if (digestOf(utf8(payload)) !== entry.payloadHash)
    return fork(`entry ${entry.sequence} (${entry.type}) has other details than it says`);
  try {
    return succeed({ entry, payload: JSON.parse(payload) as Record<string, unknown> });
  } catch {
    return refuse(violation('bad-frame', `the details of entry ${entry.sequence} are no JSON`));
  }
}

/** The entry of an update with this receipt, or null. */
export function findReceipt({ entries }: JudgedProof, receipt: Digest): JudgedProof['entries'][number] | null {
  const type: EntryType = 'update-stored';
  return entries.find(({ entry, payload }) => entry.type === type && payload.receipt === receipt) ?? null;
}

/** The entry about a void round with what the coordinator signed about it, hex; or null. */
export function findVoid({ entries }: JudgedProof, record: string): JudgedProof['entries'][number] | null {
  const type: EntryType = 'round-void';
  return entries.find(({ entry, payload }) => entry.type === type && payload.record === record) ?? null;
}

/** The entry that publishes the round with this hash, or null. */
export function findPublication({ entries }: JudgedProof, roundHash: Digest): JudgedProof['entries'][number] | null {
  const type: EntryType = 'round-published';
  return entries.find(({ entry, payload }) => entry.type === type && payload.roundHash === roundHash) ?? null;
}
