/**
 * Judges updates, purely: what was announced, and every chunk as it arrives. A judgement is null or the violation; it is counted, answered, and
 * the round goes on. Signature, sequence and time are judged before (`shared/protocol/envelope.ts`), the cohort by the round machine.
 */

import { float32Of } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { checkChunk } from '../../shared/protocol/blob-reference.ts';
import { vectorRoot } from '../../shared/protocol/vector.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { CountRange } from '../../shared/update/exchange.ts';
import { firstNonFinite } from '../../shared/update/vector.ts';

/** What a round demands of every update. */
export interface RoundDemands {
  readonly roundIndex: number;
  readonly roundHash: Digest;
  /** Length of the delta. */
  readonly dim: number;
  /** Largest example count that may be claimed. */
  readonly weightMax: number;
  /** Places of the vector that hold counts: from 0 to their bound. */
  readonly counts?: readonly CountRange[];
  /** Bytes of an upload that is masked: its words mean nothing alone, and its weight is inside. */
  readonly maskedBytes?: number;
}

/** What a client announces before it sends bytes. */
export interface Announcement {
  readonly roundHash: Digest;
  readonly vecRoot: Digest;
  readonly chunkDigests: readonly Digest[];
  readonly exampleCount: number;
  /** Seconds of local training. */
  readonly seconds: number;
}

/** Bytes of every upload of a round. */
function uploadBytesOf({ dim, maskedBytes }: RoundDemands): number {
  return maskedBytes ?? dim * 4;
}

/** Judges an announcement on its own: round, size by the layout, root of its chunk digests, weight, time. */
export function judgeAnnouncement(demands: RoundDemands, announced: Announcement): Violation | null {
  const { roundIndex, roundHash, dim, weightMax } = demands;
  if (announced.roundHash !== roundHash) {
    return violation(
      'stale-round',
      `expected an update of round ${roundHash}, got one of ${announced.roundHash}`,
      roundIndex,
    );
  }
  const count = Math.ceil(uploadBytesOf(demands) / chunkBytesMax);
  if (announced.chunkDigests.length !== count) {
    const code = announced.chunkDigests.length > count ? 'update-too-large' : 'layout-mismatch';
    const detail = `expected ${count} chunks for ${dim} values, got ${announced.chunkDigests.length}; fetch the current layout`;
    return violation(code, detail, roundIndex);
  }
  if (vectorRoot(chunkBytesMax, announced.chunkDigests) !== announced.vecRoot) {
    return violation('root-mismatch', 'the announced root is not that of the announced chunk digests', roundIndex);
  }
  if (demands.maskedBytes !== undefined) return null;
  const { exampleCount: weight, seconds } = announced;
  if (!Number.isSafeInteger(weight) || weight < 1 || weight > weightMax) {
    return violation('bad-weight', `expected an example count from 1 to ${weightMax}, got ${weight}`, roundIndex);
  }
  return seconds >= 0 ? null : violation('bad-metrics', `training took ${seconds} seconds`, roundIndex);
}

/** Judges one chunk against its announcement: index, exact length, digest. */
export function judgeChunk(
  demands: RoundDemands,
  announced: Announcement,
  index: number,
  bytes: Uint8Array,
): Violation | null {
  const { roundIndex } = demands;
  const fault = checkChunk({ size: uploadBytesOf(demands), chunkDigests: announced.chunkDigests }, index, bytes);
  return fault === null ? null : { ...fault, roundIndex };
}

/** Judges the values of chunk `index`, float32 little-endian: every one is a number, and counts are within their bounds. */
export function judgeValues(demands: RoundDemands, index: number, bytes: Uint8Array): Violation | null {
  const { roundIndex, dim, counts = [], maskedBytes } = demands;
  if (maskedBytes !== undefined) return null;
  const values = float32Of(bytes);
  const first = (index * chunkBytesMax) / 4;
  const place = firstNonFinite(values);
  if (place !== null) {
    const detail = `value ${first + place} of ${dim} is not a finite number`;
    return violation('non-finite', `${detail}; the training diverged or overflowed`, roundIndex);
  }
  for (const { name, offset, size, max } of counts) {
    const [start, end] = [Math.max(0, offset - first), Math.min(values.length, offset + size - first)];
    for (let at = start; at < end; at++) {
      const count = values[at]!;
      if (count >= 0 && count <= max) continue;
      return violation('bad-weight', `expected counts of ${name} from 0 to ${max}, got ${count}`, roundIndex);
    }
  }
  return null;
}
