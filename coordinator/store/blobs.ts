/**
 * The blob store as the coordinator needs it: beside content by its SHA-256 it holds uploads, which arrive in chunks and are named by the
 * root of their chunk digests (`vectorRoot`). That root is what a client signs, so an upload is hashed once, chunk by chunk as it arrives,
 * and whoever reads it later checks it against the very name that was signed.
 */
import type { Digest } from '../../shared/core/ids.ts';
import type { BlobStore } from '../../shared/core/ports.ts';
import type { ByteSource } from '../../shared/model/byte-source.ts';

/** A blob that is still being written. One owner; not durable before `commit`. */
export interface StagedBlob {
  /** Takes a copy of chunk `index`. The caller has checked its length and digest. */
  write(index: number, chunk: Uint8Array): Promise<void>;
  /** Makes the whole durable under `root`, which is the root of the chunks that were written. */
  commit(root: Digest): Promise<void>;
  /** Forgets what was staged. Does nothing after `commit`. */
  discard(): Promise<void>;
}

/** Takes one chunk of an upload; the bytes are lent until it returns. */
export type ChunkReader = (chunk: Uint8Array, index: number) => void;

/** A blob store with staging; `read` also gives parts of committed uploads, unchecked. Passes `test/contracts/blob-store.ts`. */
export interface CoordinatorBlobs extends BlobStore {
  /** Like `put`, piece by piece from where the bytes lie. The caller has computed their digest. */
  putFrom(source: ByteSource, digest: Digest): Promise<void>;
  /** Begins an upload. */
  stage(): StagedBlob;
  /**
   * Hands the chunks of a committed upload to `take`, in order, and then checks them against `root`: what was taken counts only when this
   * resolves. Memory: one chunk. @throws StoreError `blob-missing` or `blob-corrupt`.
   */
  scan(root: Digest, take: ChunkReader): Promise<void>;
  /**
   * Deletes everything but these blobs: what a process that was killed left half-written, or made durable and never got to use. For a
   * coordinator that starts, before it stages anything.
   */
  retain(digests: ReadonlySet<Digest>): Promise<void>;
}
