/**
 * What a coordinator must not forget, as a port. Two implementations: SQLite (`store-sqlite.ts`) and memory; both pass
 * `test/contracts/store.ts`. Every method that changes something is atomic, and durable when its promise resolves. Records are plain JSON
 * values; bytes are hex.
 */
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';
import type { TensorSpecification } from '../../shared/update/layout.ts';
import type { LogStore } from '../audit/log-store.ts';
import type { DocumentStore } from '../enrolment/document-store.ts';

/** The one federation of a state folder. `plan` is the plan's canonical JSON. */
export interface FederationRecord {
  readonly federationId: FederationId;
  readonly planHash: Digest;
  readonly baseDigest: Digest;
  readonly layoutHash: Digest;
  readonly plan: string;
  /** Files of the base model, whose bytes are blobs. */
  readonly baseFiles: readonly { readonly name: string; readonly digest: Digest }[];
  /** Tensors of the adapter in layout order. */
  readonly tensors: readonly TensorSpecification[];
  readonly createdMs: number;
}

/** An enrolled client; `pending` until its fingerprint is approved, `revoked` for good. */
export interface ClientRecord {
  readonly clientId: ClientId;
  readonly publicKey: string;
  readonly name: string;
  readonly organisation: string;
  readonly status: 'approved' | 'pending' | 'revoked';
  readonly enrolledMs: number;
  /** Present of a client that was pending until an operator, or a certificate of the consortium, let it in. */
  readonly letIn?: true;
}

/** An invitation; the token itself is never stored. */
export interface InviteRecord {
  readonly tokenHash: Digest;
  readonly organisation: string;
  readonly approval: 'automatic' | 'manual';
  readonly expiresMs: number;
  readonly redeemedBy: ClientId | null;
}

/** One round number. `open` until it is published or void; a number is never opened twice. */
export interface RoundRecord {
  readonly roundIndex: number;
  readonly roundHash: Digest;
  readonly status: 'open' | 'published' | 'void';
  /** 0 for the first; a masked round that its coordinator's end interrupted is tried again under its number. */
  readonly attempt: number;
  readonly asked: number;
  readonly contributed: number;
  readonly detail: string;
}

/** An attempt of a masked round: its parameters as hex of canonical bytes, who was asked, and who waits for it. */
export interface AttemptRecord {
  readonly roundIndex: number;
  readonly roundParams: string;
  readonly asked: readonly ClientId[];
  readonly invited: readonly ClientId[];
}

/** An accepted update: its delta is the blob `delta`; `bodyHash` identifies the signed body, `receipt` is what the client was told. */
export interface UpdateRecord {
  readonly roundIndex: number;
  readonly clientId: ClientId;
  readonly bodyHash: Digest;
  readonly delta: Digest;
  readonly exampleCount: number;
  readonly receipt: Digest;
}

/** A published adapter. `record` is the signed version record as hex of canonical bytes, `ruleState` the server optimiser's state or null. */
export interface VersionRow {
  readonly version: number;
  /** Round that made it; -1 for the initial adapter. */
  readonly roundIndex: number;
  readonly adapter: Digest;
  readonly modelHash: Digest;
  readonly ruleState: Digest | null;
  readonly record: string;
  readonly signature: string;
  readonly publishedMs: number;
  /** Clients whose updates are in it. */
  readonly contributed: number;
}

/** Durable state of one coordinator. @throws StoreError from every method when the storage fails. */
export interface CoordinatorStore {
  /** The log of what happened, durable like everything here. */
  readonly log: LogStore;
  /** What a consortium and clients signed, by name. */
  readonly documents: DocumentStore;
  federation(): Promise<FederationRecord | null>;
  /** Writes the federation once. @throws StoreError `federation-exists`. */
  createFederation(record: FederationRecord): Promise<void>;
  /** Address under which clients reach this coordinator, as it was started last; null before the first start. */
  address(): Promise<string | null>;
  setAddress(url: string): Promise<void>;

  client(clientId: ClientId): Promise<ClientRecord | null>;
  clients(): Promise<ClientRecord[]>;
  /** Approves a pending client; false when there is none. */
  approveClient(clientId: ClientId): Promise<boolean>;
  /** Revokes a client, whatever it was; false when there is none or it is revoked already. */
  revokeClient(clientId: ClientId): Promise<boolean>;
  /** Highest sequence number that this client's envelopes used, 0 before the first. */
  sequenceOf(clientId: ClientId): Promise<number>;
  /** Takes `sequence` if it is above the stored one; whether it was. */
  advanceSequence(clientId: ClientId, sequence: number): Promise<boolean>;

  addInvite(invite: InviteRecord): Promise<void>;
  invites(): Promise<InviteRecord[]>;
  /** Uses an invite up and stores its client in one step; null when it is unknown, used or expired at `nowMs`. */
  redeemInvite(
    tokenHash: Digest,
    client: Omit<ClientRecord, 'organisation' | 'status' | 'letIn'>,
    nowMs: number,
  ): Promise<ClientRecord | null>;

  /** Opens a round number. @throws StoreError `round-exists`. */
  openRound(roundIndex: number, roundHash: Digest, asked: number): Promise<void>;
  /**
   * Ends an open round as void and forgets its updates, which it returns so that their blobs can be deleted. `frame` is what the coordinator signed about
   * it, for the log.
   */
  voidRound(roundIndex: number, contributed: number, detail: string, frame?: Uint8Array): Promise<UpdateRecord[]>;
  /** Gives an open round another hash: a new attempt. Forgets the attempt before, and its updates, which it returns. @throws StoreError `round-closed`. */
  reopenRound(roundIndex: number, roundHash: Digest, asked: number): Promise<UpdateRecord[]>;
  rounds(): Promise<RoundRecord[]>;

  /** Makes the attempt of an open round durable; its messages follow. It is forgotten when its round ends. */
  openAttempt(attempt: AttemptRecord): Promise<void>;
  /** Adds a message of the attempt, as text, after those before. */
  addAttemptMessage(roundIndex: number, message: string): Promise<void>;
  /** The attempt of an open round with its messages in order; null without one. */
  attemptOf(
    roundIndex: number,
  ): Promise<{ readonly attempt: AttemptRecord; readonly messages: readonly string[] } | null>;

  /** Stores an update unless the client has one in this round; returns the stored one. */
  addUpdate(update: UpdateRecord): Promise<UpdateRecord>;
  /** Updates of a round in client-id order. */
  updatesOf(roundIndex: number): Promise<UpdateRecord[]>;

  /** Stores the initial adapter as version 0. @throws StoreError `version-exists`. */
  createVersion(version: VersionRow): Promise<void>;
  /**
   * In one step: adds the version, ends its round as published, forgets the round's updates and returns them. An aggregate is never applied
   * twice: @throws StoreError `round-closed` unless the round is open and the version is the next one.
   */
  publish(version: VersionRow, detail: string): Promise<UpdateRecord[]>;
  /** Adds a version that no round made, after the last one. @throws StoreError `round-closed` when it is not the next one. */
  addVersion(version: VersionRow): Promise<void>;
  /** All versions, oldest first. */
  versions(): Promise<VersionRow[]>;
  latestVersion(): Promise<VersionRow | null>;

  /**
   * Runs `work`, within which writes resolve when they are applied and reads see them; resolves when all of it is durable. So several writes of which
   * each needs the one before cost one flush. Whoever is not part of `work` waits for durability as always.
   */
  durably<Value>(work: () => Promise<Value>): Promise<Value>;

  close(): Promise<void>;
}
