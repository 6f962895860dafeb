/**
 * Fetches bytes by reference in checked chunks: manifest, its root against the reference, every chunk against the manifest, the whole
 * against the digest. At most four chunks are under way; after a lost connection only what is missing is asked for again.
 */
import { FormatError } from '../../shared/core/errors.ts';
import { chunkBytesMax, chunksInFlightMax } from '../../shared/core/limits.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { checkChunk, checkManifest } from '../../shared/protocol/blob-reference.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';
import { describe, type Violation } from '../../shared/protocol/violations.ts';
import type { ContentCache } from '../platform/ports.ts';
import type { Calls } from './calls.ts';
import { inParallel } from './pool.ts';

/** What {@link fetchBlob} needs. */
export interface FetchOptions {
  /** What to fetch, from a signed message; its size is trusted no further than `sizeMax`. */
  readonly reference: BlobReference;
  readonly sizeMax: number;
  readonly calls: Pick<Calls, 'fetchManifest' | 'fetchChunk'>;
  readonly cache: ContentCache;
  readonly signal: AbortSignal;
  /** Called with the bytes that are there after every chunk. */
  readonly onProgress?: (bytes: number) => void;
}

/** Attempts per chunk before a coordinator that sends wrong bytes is given up. */
const attemptsMax = 3;

/**
 * The bytes of a reference, from the cache or from the coordinator; not to be changed, since a cache may hold them.
 * @throws FormatError `blob-refused` when the coordinator does not give them, `blob-mismatch` when what it gives is something else;
 * TransportError when it stays silent; the reason of `signal` when it aborts.
 */
export async function fetchBlob(options: FetchOptions): Promise<Uint8Array> {
  const { reference, sizeMax, calls, cache, signal, onProgress } = options;
  const { digest, size } = reference;
  if (size > sizeMax) throw failure('blob-too-large', reference, `expected at most ${sizeMax} bytes`);
  const cached = await cache.get(digest);
  if (cached !== null && cached.length === size && digestOf(cached) === digest) return cached;
  const manifest = await calls.fetchManifest(digest, signal);
  if (!manifest.ok) throw refusal(reference, manifest.error);
  const mismatch = checkManifest(reference, manifest.value);
  if (mismatch !== null) throw failure('blob-mismatch', reference, describe(mismatch));
  const whole = new Uint8Array(size);
  let bytes = 0;
  const fetchOne = async (index: number): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      const chunk = await calls.fetchChunk(digest, index, signal);
      if (!chunk.ok) throw refusal(reference, chunk.error);
      const wrong = checkChunk(manifest.value, index, chunk.value);
      if (wrong === null) {
        whole.set(chunk.value, index * chunkBytesMax);
        bytes += chunk.value.length;
        onProgress?.(bytes);
        return;
      }
      if (attempt === attemptsMax)
        throw failure('blob-mismatch', reference, `${attemptsMax} times: ${describe(wrong)}`);
    }
  };
  await inParallel([...manifest.value.chunkDigests.keys()], chunksInFlightMax, fetchOne);
  if (digestOf(whole) !== digest) {
    throw failure('blob-mismatch', reference, 'the whole has another digest than its reference');
  }
  await cache.put(digest, whole);
  return whole;
}

function refusal(reference: BlobReference, refused: Violation): FormatError {
  return failure('blob-refused', reference, describe(refused));
}

function failure(code: string, { digest, size }: BlobReference, detail: string): FormatError {
  return new FormatError(code, `cannot fetch ${size} bytes with digest ${digest}: ${detail}`);
}
