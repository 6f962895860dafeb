/**
 * What the pure parts are given instead of reaching for it: time, randomness, storage. Production, tests and simulations differ only in
 * which implementation they pass.
 */
import type { Digest } from './ids.ts';

/** Wall-clock time and timers. */
export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Calls `action` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, action: () => void): () => void;
}

/** Unpredictable bytes for keys, nonces and tokens. Reproducible randomness is `SeededRandom`. */
export interface Entropy {
  /** `count` fresh bytes, owned by the caller. */
  bytes(count: number): Uint8Array;
}

/** Content-addressed storage of immutable bytes. Every implementation passes `test/contracts/blob-store.ts`. */
export interface BlobStore {
  /**
   * Stores `bytes` durably and returns their SHA-256; storing the same bytes again changes nothing. Whoever has just computed the digest
   * gives it along, so that large content is hashed once.
   */
  put(bytes: Uint8Array, digest?: Digest): Promise<Digest>;
  /** The bytes of a digest, checked against it. @throws StoreError `blob-missing` or `blob-corrupt`. */
  get(digest: Digest): Promise<Uint8Array>;
  /** Whether the blob is there. */
  has(digest: Digest): Promise<boolean>;
  /** Part of a blob, for chunked transfer. @throws StoreError `blob-missing`. */
  read(digest: Digest, offset: number, length: number): Promise<Uint8Array>;
  /** Forgets a blob; a missing one is no error. */
  delete(digest: Digest): Promise<void>;
}
