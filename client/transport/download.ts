/**
 * Fetches bytes by reference in checked chunks: manifest, its root against the reference, every chunk against the manifest, the whole
 * against the digest. Where the whole has a signed hash of its own, that alone is checked as long as it is right. At most four chunks are under way; after a lost connection only what is missing is asked for again.
 */
import { releaseBytes } from '../../shared/core/bytes.ts';
import { FormatError } from '../../shared/core/errors.ts';
import { chunkBytesMax, chunksInFlightMax } from '../../shared/core/limits.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { checkChunk, checkManifest } from '../../shared/protocol/blob-reference.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';
import { chunkCountOf, chunkLengthOf } from '../../shared/protocol/vector.ts';
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
  /**
   * Judges the whole where another signed hash names it (an adapter's model hash): then the chunks are looked at one by one only when the
   * whole is wrong, and right bytes are hashed once.
   */
  readonly isWhole?: (bytes: Uint8Array) => boolean;
  /** Memory for the whole, where the caller has some of the right size; it is new otherwise. */
  readonly into?: Uint8Array | undefined;
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
  const { reference, sizeMax, cache, isWhole, into } = options;
  const { digest, size } = reference;
  if (size > sizeMax) throw failure('blob-too-large', reference, `expected at most ${sizeMax} bytes`);
  const cached = await cache.get(digest);
  if (cached !== null && cached.length === size && digestOf(cached) === digest) return cached;
  const whole = into?.length === size ? into : new Uint8Array(size);
  const isFilled = isWhole !== undefined;
  if (isFilled) await fetchUnseen(options, whole);
  if (!isFilled || !isWhole(whole)) await fetchChecked(options, whole, isFilled);
  await cache.put(digest, whole);
  return whole;
}

/** Fills `whole` with what the coordinator sends; the place of a chunk of another length stays as it was. */
async function fetchUnseen({ reference, calls, signal, onProgress }: FetchOptions, whole: Uint8Array): Promise<void> {
  const { digest, size } = reference;
  let bytes = 0;
  await inParallel([...Array(chunkCountOf(size)).keys()], chunksInFlightMax, async (index) => {
    const chunk = await calls.fetchChunk(digest, index, signal);
    if (!chunk.ok) throw refusal(reference, chunk.error);
    if (chunk.value.length !== chunkLengthOf(size, index)) return;
    whole.set(chunk.value, index * chunkBytesMax);
    bytes += chunk.value.length;
    releaseBytes(chunk.value);
    onProgress?.(bytes);
  });
}

/** Fetches chunks, each checked against the manifest: all, or with `isFilled` those that are wrong in `whole`. */
async function fetchChecked(options: FetchOptions, whole: Uint8Array, isFilled: boolean): Promise<void> {
  const { reference, calls, signal, onProgress } = options;
  const { digest } = reference;
  const manifest = await calls.fetchManifest(digest, signal);
  if (!manifest.ok) throw refusal(reference, manifest.error);
  const mismatch = checkManifest(reference, manifest.value);
  if (mismatch !== null) throw failure('blob-mismatch', reference, describe(mismatch));
  let bytes = 0;
  const fetchOne = async (index: number): Promise<void> => {
    const place = whole.subarray(index * chunkBytesMax, (index + 1) * chunkBytesMax);
    let isRight = isFilled && checkChunk(manifest.value, index, place) === null;
    for (let attempt = 1; !isRight; attempt++) {
      const chunk = await calls.fetchChunk(digest, index, signal);
      if (!chunk.ok) throw refusal(reference, chunk.error);
      const wrong = checkChunk(manifest.value, index, chunk.value);
      if (wrong !== null && attempt === attemptsMax)
        throw failure('blob-mismatch', reference, `${attemptsMax} times: ${describe(wrong)}`);
      isRight = wrong === null;
      if (!isRight) continue;
      place.set(chunk.value);
      releaseBytes(chunk.value);
    }
    bytes += place.length;
    onProgress?.(bytes);
  };
  await inParallel([...manifest.value.chunkDigests.keys()], chunksInFlightMax, fetchOne);
  if (digestOf(whole) !== digest) {
    throw failure('blob-mismatch', reference, 'the whole has another digest than its reference');
  }
}

function refusal(reference: BlobReference, refused: Violation): FormatError {
  return failure('blob-refused', reference, describe(refused));
}

function failure(code: string, { digest, size }: BlobReference, detail: string): FormatError {
  return new FormatError(code, `cannot fetch ${size} bytes with digest ${digest}: ${detail}`);
}
