/** Unpredictable bytes from the engine's generator (Web Cryptography API, present in Node and in browsers). */
import { assert } from '../core/assert.ts';
import type { Entropy } from '../core/ports.ts';

/** One call of `getRandomValues` gives at most this many bytes, by its specification. */
const bytesAtOnce = 65_536;

/** Entropy of the operating system. */
export const systemEntropy: Entropy = {
  bytes: (count) => {
    assert(Number.isInteger(count) && count >= 0, 'a count of bytes is a non-negative integer');
    const bytes = new Uint8Array(count);
    for (let start = 0; start < count; start += bytesAtOnce) {
      globalThis.crypto.getRandomValues(bytes.subarray(start, start + bytesAtOnce));
    }
    return bytes;
  },
};
