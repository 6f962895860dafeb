/**
 * What clients may fetch: plan, base files and adapters, by content. Updates are in the same blob store and are never served, because only
 * what was announced here is.
 */
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { BlobStore } from '../../shared/core/ports.ts';
import type { Manifest } from '../../shared/protocol/blob-reference.ts';
import { referenceTo } from '../../shared/protocol/blob-reference.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';

/** Blobs that are open to every admitted client. */
export interface ServedBlobs {
  /** Stores `bytes` and opens them to clients; what to put into an offer. */
  announce(bytes: Uint8Array): Promise<BlobReference>;
  /** Size and chunk digests of an announced blob, or null. */
  manifest(digest: Digest): Manifest | null;
  /** One chunk of an announced blob, or null when there is no such blob or chunk. */
  chunk(digest: Digest, index: number): Promise<Uint8Array | null>;
}

/** Nothing announced yet. */
export function serveBlobs(blobs: BlobStore): ServedBlobs {
  const manifests = new Map<Digest, Manifest>();
  return {
    announce: async (bytes) => {
      const { reference, manifest } = referenceTo(bytes);
      await blobs.put(bytes);
      manifests.set(reference.digest, manifest);
      return reference;
    },
    manifest: (digest) => manifests.get(digest) ?? null,
    chunk: async (digest, index) => {
      const found = manifests.get(digest);
      if (found === undefined || !Number.isSafeInteger(index) || index < 0 || index >= found.chunkDigests.length)
        return null;
      return blobs.read(digest, index * chunkBytesMax, Math.min(chunkBytesMax, found.size - index * chunkBytesMax));
    },
  };
}
