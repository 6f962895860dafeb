/**
 * Who expands masks: the thread that asks, as here, or others (`mask-threads.node.ts`). Both give the same words, and pass
 * `test/contracts/mask-work.ts`.
 */
import type { MaskedSuite } from '../crypto/key-stream.ts';
import type { MaskToApply } from './client-state.ts';
import { applyMask, type MaskedVector, wipeSeed } from './mask.ts';

/** Expands masks. */
export interface MaskWork {
  /**
   * Applies all `masks` to `vector`, in place, and zeroes their seeds, also when it fails. They are asked for a few at a time, so that the keys
   * of a large sum never lie in memory together. Others have a turn now and then.
   */
  apply(vector: MaskedVector, masks: Iterable<MaskToApply>, suite: MaskedSuite): Promise<void>;
  /** Lets go of what it works with, once nothing is asked of it any more. */
  close(): Promise<void>;
}

/** Words of masks that are made at a time before others have a turn: some ten milliseconds. */
const wordsPerTurn = 2 ** 22;

/** On the thread that asks. */
export const maskHere: MaskWork = {
  apply: async (vector, masks, suite) => {
    let words = 0;
    for (const { seed, sign } of masks) {
      applyMask(vector, seed, sign, suite);
      wipeSeed(seed);
      words += vector.coordinates.length;
      if (words < wordsPerTurn) continue;
      words = 0;
      await giveTurn();
    }
  },
  close: async () => undefined,
};

function giveTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}
