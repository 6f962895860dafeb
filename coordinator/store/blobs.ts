/** The blob store as the coordinator needs it: with staging, so that chunks of an upload reach the disk as they arrive. */
import type { Digest } from '../../shared/core/ids.ts';
import type { BlobStore } from '../../shared/core/ports.ts';

/** A blob that is still being written. One owner; not durable before `commit`. */
export interface StagedBlob {
  /** Writes `part` at `offset`; offset + length within the staged size. */
  write(offset: number, part: Uint8Array): Promise<void>;
  /** The whole staged bytes, for checks. */
  bytes(): Promise<Uint8Array>;
  /** Makes the blob durable under its digest; `whole` is what {@link bytes} gave, so that it is read once. */
  commit(whole: Uint8Array): Promise<Digest>;
  /** Forgets what was staged. Does nothing after `commit`. */
  discard(): Promise<void>;
}

/** A blob store with staging. Passes `test/contracts/blob-store.ts`. */
export interface CoordinatorBlobs extends BlobStore {
  /** Begins a blob of `size` bytes. */
  stage(size: number): Promise<StagedBlob>;
  /**
   * Deletes everything but these blobs: what a process that was killed left half-written, or made durable and never got to use. For a
   * coordinator that starts, before it stages anything.
   */
  retain(digests: ReadonlySet<Digest>): Promise<void>;
}
