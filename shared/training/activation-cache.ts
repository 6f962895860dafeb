/**
 * States of texts below the lowest adapter, kept under a budget of memory: they depend on the text and the frozen base alone, so that epochs and
 * rounds after the first begin where the adapters do. In float32 that changes nothing; float16 halves the memory, and moves each value by at most
 * 2^-11 of itself (2^-25 near zero). What is kept first stays: passes go over all texts in turn, and throwing out the oldest would never hit.
 */

import { assert } from '../core/assert.ts';
import { roundToFloat16, widenFloat16 } from '../core/float16.ts';

/** How values are kept. */
export type ActivationPrecision = 'float32' | 'float16';

/** States by key, which names text, base and layer. */
export interface ActivationCache {
  /** The values under `key`, lent; null where there are none. */
  get(key: string): Float32Array | null;
  /** Takes over `values`, unless there is no room or the key is known. */
  put(key: string, values: Float32Array): void;
  /** Whether anything more was refused for want of room. */
  readonly isFull: boolean;
  /** Texts that are kept. */
  readonly count: number;
  /** Bytes of the values that are kept. */
  readonly bytes: number;
}

/** What {@link createActivationCache} needs. */
export interface ActivationCacheOptions {
  /** Most bytes of values; 0 keeps nothing. Default {@link activationBytesPreset}. */
  readonly bytesMax?: number;
  /** Default float32, which is exact. */
  readonly precision?: ActivationPrecision;
}

/** 256 MiB. */
export const activationBytesPreset = 2 ** 28;
/** Memory of an entry beside its values: key, two objects, a place in the map. */
const entryBytes = 300;

/** An empty cache. */
export function createActivationCache(options: ActivationCacheOptions = {}): ActivationCache {
  const { bytesMax = activationBytesPreset, precision = 'float32' } = options;
  assert(bytesMax >= 0, `a cache has room for 0 bytes or more, found ${bytesMax}`);
  const entries = new Map<string, Float32Array | Uint16Array>();
  let [bytes, used, isFull] = [0, 0, bytesMax === 0];
  return {
    get: (key) => {
      const values = entries.get(key);
      if (values === undefined) return null;
      return values instanceof Float32Array ? values : widenFloat16(values);
    },
    put: (key, values) => {
      if (isFull || entries.has(key)) return;
      // Values beyond the range of float16 are kept as they are.
      const kept = (precision === 'float16' ? roundToFloat16(values) : null) ?? values;
      if (used + kept.byteLength + entryBytes > bytesMax) {
        isFull = true;
        return;
      }
      entries.set(key, kept);
      bytes += kept.byteLength;
      used += kept.byteLength + entryBytes;
    },
    get isFull() {
      return isFull;
    },
    get count() {
      return entries.size;
    },
    get bytes() {
      return bytes;
    },
  };
}
