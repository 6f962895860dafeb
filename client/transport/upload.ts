/**
 * Sends an update: signed announcement with the digests of all chunks, the chunks that the coordinator says it lacks, commit. Every step
 * may be repeated; after a restart of the coordinator the announcement is sent again and only what is missing follows.
 */
import { bytesOf } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax, chunksInFlightMax } from '../../shared/core/limits.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse } from '../../shared/core/result.ts';
import { chunkDigests, chunkLengthOf, vectorRoot } from '../../shared/protocol/vector.ts';
import type { Violation, ViolationCode } from '../../shared/protocol/violations.ts';
import type { LearnedUpdate } from '../learner.ts';
import type { Calls, RoundName } from './calls.ts';
import { inParallel } from './pool.ts';

/** Announcements after which a coordinator that keeps losing chunks is given up. */
const announcementsMax = 4;
/** Refusals after which announcing again helps: the coordinator forgot chunks that were under way. */
const repeatable: ReadonlySet<ViolationCode> = new Set<ViolationCode>(['missing-chunks', 'unknown-upload']);

/** What {@link uploadUpdate} needs. */
export interface UploadOptions {
  readonly calls: Pick<Calls, 'announceUpdate' | 'uploadChunk' | 'commitUpdate'>;
  readonly round: RoundName;
  readonly update: LearnedUpdate;
  /** Whether the mean loss may leave the site. */
  readonly discloseMetrics: boolean;
  readonly signal: AbortSignal;
  /** Called with the bytes that the coordinator has after every chunk. */
  readonly onProgress?: (bytes: number) => void;
}

/** What {@link uploadBytes} needs. */
export interface BytesOptions {
  readonly calls: Pick<Calls, 'uploadChunk' | 'commitUpdate'>;
  readonly roundHash: Digest;
  readonly bytes: Uint8Array;
  /** Says what follows; indices of the chunks that the coordinator lacks. */
  readonly announce: () => Promise<Result<readonly number[], Violation>>;
  readonly signal: AbortSignal;
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** Sends an update until it is durable at the coordinator: its receipt, or why it is refused. @throws TransportError when nobody answers. */
export async function uploadUpdate(options: UploadOptions): Promise<Result<Digest, Violation>> {
  const { calls, round, update, discloseMetrics, signal, onProgress } = options;
  const bytes = bytesOf(update.delta);
  const digests = chunkDigests(bytes);
  const announcement = {
    vecRoot: vectorRoot(chunkBytesMax, digests),
    chunkDigests: digests,
    exampleCount: update.exampleCount,
    trainLoss: discloseMetrics ? update.meanLoss : null,
    seconds: update.seconds,
  };
  const announce = () => calls.announceUpdate(round, announcement, signal);
  return uploadBytes({ calls, roundHash: round.roundHash, bytes, announce, signal, onProgress });
}

/** Sends bytes that are announced by a signed message until they are durable: the receipt, or why they are refused. @throws TransportError when nobody answers. */
export async function uploadBytes(options: BytesOptions): Promise<Result<Digest, Violation>> {
  const { calls, roundHash, bytes, announce, signal, onProgress } = options;
  for (let attempt = 1; ; attempt++) {
    const announced = await announce();
    if (!announced.ok) return announced;
    const refused = await sendChunks(announced.value);
    const outcome = refused === null ? await calls.commitUpdate(roundHash, signal) : refuse(refused);
    if (outcome.ok || attempt === announcementsMax || !repeatable.has(outcome.error.code)) return outcome;
  }

  async function sendChunks(missing: readonly number[]): Promise<Violation | null> {
    let refused: Violation | null = null;
    let sent = bytes.length - missing.reduce((sum, index) => sum + chunkLengthOf(bytes.length, index), 0);
    await inParallel(missing, chunksInFlightMax, async (index) => {
      if (refused !== null) return;
      const start = index * chunkBytesMax;
      const chunk = bytes.subarray(start, start + chunkBytesMax);
      const stored = await calls.uploadChunk(roundHash, index, chunk, signal);
      if (!stored.ok) {
        refused = stored.error;
        return;
      }
      sent += chunk.length;
      onProgress?.(sent);
    });
    return refused;
  }
}
