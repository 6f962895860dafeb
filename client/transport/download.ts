/**
 * Fetches bytes by reference in checked chunks: manifest, its root against the reference, every chunk against the manifest, the whole
 * against the digest. At most four chunks are under way; after a lost connection only what is missing is asked for again.
 */
import { FormatError } from '../../shared/core/errors.ts';
import { chunkBytesMax, chunksInFlightMax } from '../../shared/core/limits.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';
import { vectorRoot } from '../../shared/protocol/vector.ts';
import type { ContentCache } from '../platform/ports.ts';
import type { Calls } from './calls.ts';
import { inParallel } from './pool.ts';

/** What {@link fetchBlob} needs. */
export interface FetchOptions {
  readonly reference: BlobReference;
  readonly calls: Pick<Calls, 'fetchManifest' | 'fetchChunk'>;
  readonly cache: ContentCache;
  readonly signal: AbortSignal;
  /** Called with the bytes that are there after every chunk. */
  readonly onProgress?: (bytes: number) => void;
}

/** Attempts per chunk before a coordinator that sends wrong bytes is given up. */
const attemptsMax = 3;

/**
 * The bytes of a reference, from the cache or from the coordinator; aligned, owned by the caller.
 * @throws FormatError `blob-mismatch` when the coordinator's bytes are not those of the reference; TransportError when it stays silent.
 */
export async function fetchBlob({ reference, calls, cache, signal, onProgress }: FetchOptions): Promise<Uint8Array> {
  const { digest, size, root } = reference;
  const cached = await cache.get(digest);
  if (cached !== null && cached.length === size && digestOf(cached) === digest) return cached;
  const { chunkDigests } = await calls.fetchManifest(digest, signal);
  const count = Math.ceil(size / chunkBytesMax);
  if (chunkDigests.length !== count || vectorRoot(chunkBytesMax, chunkDigests) !== root) {
    throw mismatch(reference, `the list of ${chunkDigests.length} chunk digests does not have the announced root`);
  }
  const whole = new Uint8Array(size);
  let bytes = 0;
  const fetchOne = async (index: number): Promise<void> => {
    const start = index * chunkBytesMax;
    const length = Math.min(chunkBytesMax, size - start);
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const chunk = await calls.fetchChunk(digest, index, signal);
      if (chunk.length !== length || digestOf(chunk) !== chunkDigests[index]) continue;
      whole.set(chunk, start);
      bytes += length;
      onProgress?.(bytes);
      return;
    }
    throw mismatch(reference, `chunk ${index} of ${count} was wrong ${attemptsMax} times`);
  };
  await inParallel(
    Array.from({ length: count }, (_, index) => index),
    chunksInFlightMax,
    fetchOne,
  );
  if (digestOf(whole) !== digest) throw mismatch(reference, 'the whole has another digest than its reference');
  await cache.put(digest, whole);
  return whole;
}

function mismatch({ digest, size }: BlobReference, detail: string): FormatError {
  return new FormatError('blob-mismatch', `fetching ${size} bytes with digest ${digest}: ${detail}`);
}
