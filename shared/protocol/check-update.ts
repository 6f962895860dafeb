/** Whether the announcement of an update fits its round: judged before a single chunk is accepted. */
import { chunkBytesMax } from '../core/limits.ts';
import type { Update } from './bodies.ts';
import type { RoundParams } from './round-params.ts';
import { chunkCountOf, vectorRoot } from './vector.ts';
import { type Violation, violation } from './violations.ts';

/** Bytes of the delta of an unmasked round: float32. */
export function updateBytesOf({ dim }: Pick<RoundParams, 'dim'>): number {
  return 4 * dim;
}

/**
 * The first thing that is wrong with an announcement, or null: `update-too-large`, `wrong-length`, `root-mismatch`, `bad-weight`,
 * `bad-metrics`. That it belongs to this round is checked before, by its hash.
 */
export function checkUpdate(update: Update, round: RoundParams): Violation | null {
  const bad = (code: Violation['code'], detail: string) => violation(code, detail, round.roundIndex);
  const [found, expected] = [update.chunkDigests.length, chunkCountOf(updateBytesOf(round))];
  if (found !== expected) {
    const code = found > expected ? 'update-too-large' : 'wrong-length';
    return bad(code, `${round.dim} values make ${expected} chunks, found ${found}`);
  }
  if (vectorRoot(chunkBytesMax, update.chunkDigests) !== update.vecRoot) {
    return bad('root-mismatch', 'the chunk digests do not have the announced root');
  }
  if (update.exampleCount < 1 || update.exampleCount > round.weightMax) {
    return bad('bad-weight', `expected 1 to ${round.weightMax} examples, found ${update.exampleCount}`);
  }
  return update.seconds < 0 ? bad('bad-metrics', `training took ${update.seconds} seconds`) : null;
}
