/**
 * What clients may fetch: plan, base files and adapters, by content. Updates are in the same blob store and are never served, because only
 * what was announced here is.
 */
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { BlobStore } from '../../shared/core/ports.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';

/** Blobs that are open to every admitted client. */
export interface ServedBlobs {
  /** Stores `bytes` and opens them to clients; what to put into an offer. */
  announce(bytes: Uint8Array): Promise<BlobReference>;
  /** Size and chunk digests of an announced blob, or null. */
  manifest(digest: Digest): { readonly size: number; readonly chunkDigests: readonly Digest[] } | null;
  /** One chunk of an announced blob, or null when there is no such blob or chunk. */
  chunk(digest: Digest, index: number): Promise<Uint8Array | null>;
}

/** Nothing announced yet. */
export function serveBlobs(blobs: BlobStore): ServedBlobs {
  const manifests = new Map<Digest, { size: number; chunkDigests: readonly Digest[] }>();
  return {
    announce: async (bytes) => {
      const digests = chunkDigests(bytes);
      const digest = await blobs.put(bytes);
      manifests.set(digest, { size: bytes.length, chunkDigests: digests });
      return { digest, size: bytes.length, root: vectorRoot(chunkBytesMax, digests) };
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
