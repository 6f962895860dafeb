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
  for (let attempt = 1; ; attempt++) {
    const announced = await calls.announceUpdate(round, announcement, signal);
    if (!announced.ok) return announced;
    const refused = await sendChunks(bytes, announced.value);
    const outcome = refused === null ? await calls.commitUpdate(round.roundHash, signal) : refuse(refused);
    if (outcome.ok || attempt === announcementsMax || !repeatable.has(outcome.error.code)) return outcome;
  }

  async function sendChunks(whole: Uint8Array, missing: readonly number[]): Promise<Violation | null> {
    let refused: Violation | null = null;
    let sent = whole.length - missing.reduce((sum, index) => sum + chunkLengthOf(whole.length, index), 0);
    await inParallel(missing, chunksInFlightMax, async (index) => {
      if (refused !== null) return;
      const start = index * chunkBytesMax;
      const chunk = whole.subarray(start, start + chunkBytesMax);
      const stored = await calls.uploadChunk(round.roundHash, index, chunk, signal);
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
