/**
 * Sends an update: signed announcement with the digests of all chunks, the chunks that the coordinator says it lacks, commit. Every step
 * may be repeated; after a restart of the coordinator the announcement is sent again and only what is missing follows.
 */
import { bytesOf } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax, chunksInFlightMax } from '../../shared/core/limits.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import type { LearnedUpdate } from '../learner.ts';
import type { Calls } from './calls.ts';
import { inParallel } from './pool.ts';

/** Announcements after which a coordinator that keeps losing chunks is given up. */
const announcementsMax = 4;
/** Refusals after which announcing again helps: the coordinator forgot chunks that were under way. */
const repeatable: ReadonlySet<string> = new Set(['missing-chunks', 'unknown-upload']);

/** What {@link uploadUpdate} needs. */
export interface UploadOptions {
  readonly calls: Pick<Calls, 'announceUpdate' | 'uploadChunk' | 'commitUpdate'>;
  readonly roundHash: Digest;
  readonly update: LearnedUpdate;
  /** Whether the mean loss may leave the site. */
  readonly discloseMetrics: boolean;
  readonly signal: AbortSignal;
}

/** Sends an update until it is durable at the coordinator: null, or why it is refused. @throws TransportError when nobody answers. */
export async function uploadUpdate(options: UploadOptions): Promise<Violation | null> {
  const { calls, roundHash, update, discloseMetrics, signal } = options;
  const bytes = bytesOf(update.delta);
  const digests = chunkDigests(bytes);
  const announcement = {
    roundHash,
    vecRoot: vectorRoot(chunkBytesMax, digests),
    chunkDigests: digests,
    exampleCount: update.exampleCount,
    trainLoss: discloseMetrics ? update.meanLoss : null,
    seconds: update.seconds,
  };
  let refused: Violation | null = null;
  for (let attempt = 1; attempt <= announcementsMax; attempt++) {
    const announced = await calls.announceUpdate(announcement, signal);
    if (!announced.ok) return announced.error;
    refused = null;
    await inParallel(announced.value.missing, chunksInFlightMax, async (index) => {
      if (refused !== null) return;
      const start = index * chunkBytesMax;
      const stored = await calls.uploadChunk(roundHash, index, bytes.subarray(start, start + chunkBytesMax), signal);
      if (!stored.ok) refused = stored.error;
    });
    if (refused === null) {
      const committed = await calls.commitUpdate(roundHash, signal);
      if (committed.ok) return null;
      refused = committed.error;
    }
    if (!repeatable.has((refused as Violation).code)) return refused;
  }
  return refused;
}
