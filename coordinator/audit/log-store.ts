/**
 * The durable part of the log as a port of the store: entries that are only ever appended, checkpoints, and transcripts of rounds that a plan
 * retains. Memory (`log-memory.ts`) and SQLite (`log-sqlite.ts`) pass `test/contracts/log-store.ts`.
 */
import type { Happening, Payload } from '../../shared/audit/entry.ts';
import { encodeEntry, encodePayload, entryFormat, noEntry } from '../../shared/audit/entry.ts';
import { assert } from '../../shared/core/assert.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import type { UpdateRecord } from '../store/store.ts';

/** One line of the log: the leaf as hex of canonical bytes, and its details as canonical JSON. */
export interface LogRow {
  readonly sequence: number;
  readonly entry: string;
  readonly payload: string;
}

/** A signed checkpoint: hex of canonical bytes and of the signature. */
export interface CheckpointRow {
  readonly size: number;
  readonly checkpoint: string;
  readonly signature: string;
}

/** What a client signed when it announced its update: hex of the envelope, its body and the signature. */
export interface Evidence {
  readonly clientId: ClientId;
  readonly envelope: string;
  readonly body: string;
  readonly signature: string;
}

/** What is kept of a published round whose plan retains updates: their records, what clients signed, and messages of a masked round. */
export interface Transcript {
  readonly roundIndex: number;
  readonly updates: readonly UpdateRecord[];
  readonly evidence: readonly Evidence[];
  /** Parameters of the masked attempt, hex of canonical bytes; null for a round without masks. */
  readonly roundParams: string | null;
  readonly messages: readonly string[];
}

/** An update that a transcript names. */
export interface RetainedUpdate extends Pick<UpdateRecord, 'roundIndex' | 'clientId' | 'delta'> {
  readonly isMasked: boolean;
}

/** The updates that a transcript names. */
export function updatesIn({ updates, roundParams }: Transcript): RetainedUpdate[] {
  const isMasked = roundParams !== null;
  return updates.map(({ roundIndex, clientId, delta }) => ({ roundIndex, clientId, delta, isMasked }));
}

/** The log of one coordinator. Every method that changes something is atomic, and durable when its promise resolves. @throws StoreError. */
export interface LogStore {
  /** Appends what is not in the log yet: a type and a subject stand in it once. */
  append(happenings: readonly Happening[], timeMs: number): Promise<void>;
  /** Entries from number `from` on, in order. */
  rows(from: number): Promise<LogRow[]>;
  /** The entry of this type about this subject, or null. */
  find(type: Happening['type'], subject: string): Promise<LogRow | null>;
  addCheckpoint(checkpoint: CheckpointRow): Promise<void>;
  /** All checkpoints, oldest first. */
  checkpoints(): Promise<CheckpointRow[]>;
  keepTranscript(transcript: Transcript): Promise<void>;
  transcript(roundIndex: number): Promise<Transcript | null>;
  /** Updates that transcripts name, whether or not their vectors are still there. */
  retained(): Promise<RetainedUpdate[]>;
}

/** What makes a happening unique. */
export function keyOf({ type, subject }: Pick<Happening, 'type' | 'subject'>): string {
  return `${type}/${subject}`;
}

/** The line after `last`. */
export function nextRow(last: LogRow | null, { type, subject, payload }: Happening, timeMs: number): LogRow {
  const sequence = last === null ? 0 : last.sequence + 1;
  const previous = last === null ? noEntry : digestOf(fromHex(last.entry));
  const { text, hash } = encodePayload(payload);
  const entry = encodeEntry({ sequence, timeMs, type, subject, payloadHash: hash, previous });
  return { sequence, entry: toHex(entry), payload: text };
}

/** The entry of a line that this program wrote. */
export function entryOf(row: LogRow) {
  const decoded = decodeCanonical(entryFormat, fromHex(row.entry), 'log entry');
  assert(decoded.ok, 'the log holds entries of this version');
  return decoded.value;
}

/** The details of a line. */
export function payloadOf(row: LogRow): Payload {
  return JSON.parse(row.payload) as Payload;
}
