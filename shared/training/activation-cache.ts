/**
 * States of texts below the lowest adapter, kept under a budget of memory: they depend on the text and the frozen base alone, so that epochs and
 * rounds after the first begin where the adapters do. In float32 that changes nothing; float16 halves the memory, and moves each value by at most
 * 2^-11 of itself (2^-25 near zero). What is kept first stays: passes go over all texts in turn, and throwing out the oldest would never hit. What
 * memory has no room for goes to a spill, where there is one.
 */

import { convertFloat16 } from '../compute/half-floats.ts';
import { assert } from '../core/assert.ts';
import { bytesOf } from '../core/bytes.ts';
import { roundToFloat16 } from '../core/float16.ts';

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
  /** Bytes of the values that are kept, spilled ones too. */
  readonly bytes: number;
  /** Bytes of those that lie in the spill. */
  readonly spilledBytes: number;
  /** Forgets all, and closes the spill. */
  dispose(): void;
}

/** Where values go that memory has no room for: a file (`activation-spill.node.ts`). */
export interface ActivationSpill {
  /** Appends; the place of the first byte, or null where there is no room. */
  write(bytes: Uint8Array): number | null;
  /** Fills `bytes` with what lies from `place` on. */
  read(place: number, bytes: Uint8Array): void;
  /** Frees it. */
  close(): void;
}

/** What {@link createActivationCache} needs. */
export interface ActivationCacheOptions {
  /** Most bytes of values; 0 keeps nothing. Default {@link activationBytesPreset}. */
  readonly bytesMax?: number;
  /** Default float32, which is exact. */
  readonly precision?: ActivationPrecision;
  /** Most bytes on disk beyond those, where {@link openSpill} is given; default 0. */
  readonly spillBytesMax?: number;
}

/** Settings as plain values, and what only some surroundings have. */
export interface ActivationCacheParts extends ActivationCacheOptions {
  /** Opens the spill, when something is first written to it. */
  readonly openSpill?: (bytesMax: number) => ActivationSpill;
}

/** 256 MiB. */
export const activationBytesPreset = 2 ** 28;
/** Memory of an entry beside its values: key, two objects, a place in the map. */
const entryBytes = 300;

/** Values that were spilled. */
interface Spilled {
  readonly place: number;
  readonly size: number;
  readonly isHalf: boolean;
}

/** An empty cache. */
export function createActivationCache(options: ActivationCacheParts = {}): ActivationCache {
  const { bytesMax = activationBytesPreset, precision = 'float32', spillBytesMax = 0, openSpill } = options;
  assert(bytesMax >= 0, `a cache has room for 0 bytes or more, found ${bytesMax}`);
  const entries = new Map<string, Float32Array | Uint16Array | Spilled>();
  const hasSpill = openSpill !== undefined && spillBytesMax > 0;
  let spill: ActivationSpill | null = null;
  let [bytes, used, spilledBytes] = [0, 0, 0];
  let isFull = bytesMax === 0 && !hasSpill;
  const spilled = (values: Float32Array | Uint16Array): Spilled | null => {
    if (!hasSpill) return null;
    spill ??= openSpill(spillBytesMax);
    const place = spill.write(bytesOf(values));
    return place === null ? null : { place, size: values.length, isHalf: values instanceof Uint16Array };
  };
  const read = ({ place, size, isHalf }: Spilled): Float32Array | Uint16Array => {
    const values = isHalf ? new Uint16Array(size) : new Float32Array(size);
    spill!.read(place, bytesOf(values));
    return values;
  };
  return {
    get: (key) => {
      const entry = entries.get(key);
      if (entry === undefined) return null;
      const values = 'place' in entry ? read(entry) : entry;
      return values instanceof Float32Array ? values : convertFloat16(values);
    },
    put: (key, values) => {
      if (isFull || entries.has(key)) return;
      // Values beyond the range of float16 are kept as they are.
      const kept = (precision === 'float16' ? roundToFloat16(values) : null) ?? values;
      const isInMemory = used + kept.byteLength + entryBytes <= bytesMax;
      const entry = isInMemory ? kept : spilled(kept);
      if (entry === null) {
        isFull = true;
        return;
      }
      entries.set(key, entry);
      bytes += kept.byteLength;
      if (isInMemory) used += kept.byteLength + entryBytes;
      else spilledBytes += kept.byteLength;
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
    get spilledBytes() {
      return spilledBytes;
    },
    dispose: () => {
      spill?.close();
      spill = null;
      entries.clear();
      [bytes, used, spilledBytes, isFull] = [0, 0, 0, true];
    },
  };
}
