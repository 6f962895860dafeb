/** A thread that applies masks to its part of a vector in shared memory. */
import { serveThread, type ThreadPort } from '../core/thread.node.ts';
import type { MaskedSuite } from '../crypto/key-stream.ts';
import { applyKeys, type SignedKey } from './mask.ts';
import type { RingVector } from './ring.ts';

/** Masks for a part of a vector. */
export interface MaskOrder {
  readonly id: number;
  /** The whole vector, in shared memory. */
  readonly words: RingVector;
  /** Its words of this thread. */
  readonly from: number;
  readonly to: number;
  readonly suite: MaskedSuite;
  /** One key of 32 bytes after the other, moved to this thread, which zeroes them. */
  readonly keys: Uint8Array;
  readonly signs: readonly (1 | -1)[];
}

/** That an order was carried out, or why not. */
export interface MaskReport {
  readonly id: number;
  readonly fault: string | null;
}

/** Bytes of a key. */
const keyBytes = 32;

serveThread<MaskOrder, MaskReport>(async (_data: never, port: ThreadPort<MaskReport>) => (order) => {
  const { id, words, from, to, suite, keys, signs } = order;
  let fault: string | null = null;
  try {
    const signed = signs.map(
      (sign, index): SignedKey => ({ key: keys.subarray(index * keyBytes, (index + 1) * keyBytes), sign }),
    );
    applyKeys(words.subarray(from, to), signed, suite, from);
  } catch (thrown) {
    fault = thrown instanceof Error ? thrown.message : String(thrown);
  } finally {
    keys.fill(0);
  }
  port.post({ id, fault });
});
