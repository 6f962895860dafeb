/**
 * What clients may fetch: plan, base files and adapters, by content. Updates are in the same blob store and are never served, because only
 * what was announced here is.
 */
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { type ByteSource, readRange, sourceOf } from '../../shared/model/byte-source.ts';
import type { Manifest } from '../../shared/protocol/blob-reference.ts';
import { referenceTo } from '../../shared/protocol/blob-reference.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';
import { chunkLengthOf } from '../../shared/protocol/vector.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';

/** Blobs that are open to every admitted client. */
export interface ServedBlobs {
  /** Stores `content`, which is not changed meanwhile, and opens it to clients; what to put into an offer. */
  announce(content: Uint8Array | ByteSource): Promise<BlobReference>;
  /** Size and chunk digests of an announced blob, or null. */
  manifest(digest: Digest): Manifest | null;
  /** One chunk of an announced blob, not to be changed; null when there is no such blob or chunk. */
  chunk(digest: Digest, index: number): Promise<Uint8Array | null>;
}

/** Chunks that stay in memory: a cohort fetches the same adapter at the same time, and the disk is asked once. At most 32 MiB. */
const chunksKeptMax = 128;

/** Nothing announced yet. */
export function serveBlobs(blobs: Pick<CoordinatorBlobs, 'putFrom' | 'read'>): ServedBlobs {
  const manifests = new Map<Digest, Manifest>();
  /** By digest and index, the one that was asked for longest ago first. */
  const kept = new Map<string, Promise<Uint8Array>>();
  const keep = (key: string, chunk: Promise<Uint8Array>): void => {
    kept.delete(key);
    kept.set(key, chunk);
    const oldest = kept.keys().next();
    if (kept.size > chunksKeptMax && !oldest.done) kept.delete(oldest.value);
  };
  return {
    announce: async (content) => {
      const source = sourceOf(content);
      const { reference, manifest } = referenceTo(source);
      await blobs.putFrom(source, reference.digest);
      manifests.set(reference.digest, manifest);
      // An adapter is fetched by its whole cohort at once; a large base would only push everything else out.
      if (manifest.chunkDigests.length <= chunksKeptMax / 2) {
        for (const index of manifest.chunkDigests.keys()) {
          const offset = index * chunkBytesMax;
          const length = chunkLengthOf(source.size, index);
          // What is in memory anyway is not copied; what is read from elsewhere is only lent.
          const chunk = source === content ? readRange(source, offset, length) : source.piece(offset, length);
          keep(`${reference.digest} ${index}`, Promise.resolve(chunk));
        }
      }
      return reference;
    },
    manifest: (digest) => manifests.get(digest) ?? null,
    chunk: async (digest, index) => {
      const found = manifests.get(digest);
      if (found === undefined || !Number.isSafeInteger(index) || index < 0 || index >= found.chunkDigests.length)
        return null;
      const key = `${digest} ${index}`;
      const chunk = kept.get(key) ?? blobs.read(digest, index * chunkBytesMax, chunkLengthOf(found.size, index));
      keep(key, chunk);
      // A disk that failed once is asked again.
      chunk.catch(() => kept.delete(key));
      return chunk;
    },
  };
}
