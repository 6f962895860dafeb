/**
 * What the client needs from the place it runs in. The core of the client uses no global of Node or of a browser: keys, journal, cache,
 * time, randomness and HTTP come through these ports, and every place brings its own (`node.node.ts` is the first).
 */
import type { ClientId, Digest, FederationId, SessionId } from '../../shared/core/ids.ts';
import type { Clock, Entropy } from '../../shared/core/ports.ts';
import type { ByteSource } from '../../shared/model/byte-source.ts';
import type { MaskWork } from '../../shared/secure-aggregation/mask-work.ts';

/** Where and with whom a client is enrolled. Holds no secret: the key stays in the key store. */
export interface Credentials {
  /** Address of the coordinator, `https://…` (plain `http` for loopback and behind a trusted proxy). */
  readonly url: string;
  readonly federationId: FederationId;
  /** The coordinator's Ed25519 public key, pinned at enrolment: 64 hex digits. */
  readonly coordinatorKey: string;
  readonly clientId: ClientId;
  /** Hash of the consortium whose certificates count, pinned at enrolment; null where the coordinator vouches for clients. */
  readonly consortium: Digest | null;
}

/** A round that this key contributed to. */
export interface Contribution {
  readonly roundIndex: number;
  readonly roundHash: Digest;
  readonly sessionId: SessionId;
}

/** The newest round that ended, as this client heard of it: the next one starts from this model. */
export interface RoundEnd {
  readonly roundIndex: number;
  readonly modelHash: Digest;
}

/** What must survive a crash: written as one unit, so that no reader ever sees half of it. */
export interface JournalEntry {
  readonly credentials: Credentials | null;
  /** No envelope with a sequence number at or above this one was ever sent. */
  readonly sequenceBound: number;
  /** One entry per federation: the highest round to which this key contributed. */
  readonly contributions: Readonly<Record<string, Contribution>>;
  /** One entry per federation: no earlier round is taken on, and none from another model. */
  readonly ends: Readonly<Record<string, RoundEnd>>;
}

/** A journal before anything happened. */
export const emptyJournal: JournalEntry = { credentials: null, sequenceBound: 0, contributions: {}, ends: {} };

/** Durable memory of a client. */
export interface Journal {
  /** The last entry that was written whole, or {@link emptyJournal}. @throws StoreError when it is damaged. */
  read(): Promise<JournalEntry>;
  /** Replaces the entry; returns only after it is durable. @throws StoreError. */
  write(entry: JournalEntry): Promise<void>;
}

/** Kept bytes that are read where they lie. */
export interface OpenContent extends ByteSource {
  /** Nothing is read afterwards. */
  close(): void;
}

/** Bytes by their SHA-256: base files, plans and adapters that were fetched once. */
export interface ContentCache {
  /** The bytes of a digest, or null. Who uses them checks them again. @throws StoreError. */
  get(digest: Digest): Promise<Uint8Array | null>;
  /**
   * The same without reading it, from a copy that is the cache's own; absent where everything is in memory anyway. Who uses it checks it
   * again. @throws StoreError.
   */
  open?(digest: Digest): Promise<OpenContent | null>;
  /** Keeps bytes; the caller has checked their digest. @throws StoreError. */
  put(digest: Digest, bytes: Uint8Array): Promise<void>;
}

/** What stays with a client from round to round and is never sent: parts of adapters that a plan leaves with it, and what its records were charged. */
export interface PersonalParts {
  /** What was kept under a name of letters, digits and dashes, or null. @throws StoreError. */
  read(name: string): Promise<Uint8Array | null>;
  /** Replaces it; durable when it returns, and never half of it. @throws StoreError. */
  write(name: string, bytes: Uint8Array): Promise<void>;
}

/** An HTTP answer with a JSON body. */
export interface JsonAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Everything a client takes from its surroundings. */
export interface Platform {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly journal: Journal;
  readonly cache: ContentCache;
  readonly personal: PersonalParts;
  /** Checkpoints, receipts, and what proves misconduct: kept like personal parts, as files for people and auditors. */
  readonly evidence: PersonalParts;
  /**
   * Keeps a second client off this state; the returned function lets go of it. What the process held ends with it, however it ends.
   * @throws UsageError `state-in-use`.
   */
  claim(): Promise<() => void>;
  /** Who expands the masks of a round; absent where nobody does but the thread that asks. */
  readonly maskWork?: MaskWork;
  /** The 32-byte seed of this client's Ed25519 key; made here on first use and never sent anywhere. */
  identitySeed(): Promise<Uint8Array>;
  /** GET without `body`, POST with it. @throws TransportError when nobody answers within `timeoutMs`. */
  requestJson(url: string, timeoutMs: number, body?: unknown): Promise<JsonAnswer>;
}
