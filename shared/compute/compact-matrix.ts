/**
 * Frozen matrices in half or a quarter of the memory. float16 rounds each value to 2^-11 of itself (2^-25 near zero). int8 keeps, for every output
 * channel, a scale s = max|w| / 127 and whole numbers q with w ≈ s q: off by at most s / 2 = max|w| / 254, and an output by at most
 * s / 2 · Σ|x| (symmetric quantisation per channel: Jacob 2018, section 2.1).
 */
import { roundToFloat16, widenFloat16 } from '../core/float16.ts';

/** How the weights of frozen linear maps are kept. */
export const frozenPrecisions = ['float32', 'float16', 'int8'] as const;

/** One of {@link frozenPrecisions}. */
export type FrozenPrecision = (typeof frozenPrecisions)[number];

/** A matrix `[inSize, outSize]` in a smaller form. */
export interface CompactMatrix {
  readonly shape: readonly [number, number];
  /** Bytes that it takes. */
  readonly bytes: number;
  /** Its values row after row, in `into` `[inSize * outSize]` or a new array. */
  expand(into?: Float32Array<ArrayBuffer>): Float32Array;
}

/**
 * Makes `values` `[inSize * outSize]` smaller; they are not kept. Null where they cannot be: with a value that is not finite, or beyond 65504 in
 * float16.
 */
export function compactMatrix(
  values: Float32Array,
  shape: readonly [number, number],
  precision: Exclude<FrozenPrecision, 'float32'>,
): CompactMatrix | null {
  return precision === 'float16' ? halves(values, shape) : bytes(values, shape);
}

function halves(values: Float32Array, shape: readonly [number, number]): CompactMatrix | null {
  const kept = roundToFloat16(values);
  if (kept === null) return null;
  return { shape, bytes: kept.byteLength, expand: (into) => widenFloat16(kept, into) };
}

const wholeMax = 127;

function bytes(values: Float32Array, shape: readonly [number, number]): CompactMatrix | null {
  const [inSize, outSize] = shape;
  const scales = new Float32Array(outSize);
  for (let place = 0; place < values.length; ) {
    for (let column = 0; column < outSize; column++, place++) {
      const magnitude = Math.abs(values[place]!);
      if (!Number.isFinite(magnitude)) return null;
      if (magnitude > scales[column]!) scales[column] = magnitude;
    }
  }
  for (let column = 0; column < outSize; column++) scales[column]! /= wholeMax;
  const kept = new Int8Array(values.length);
  for (let place = 0; place < values.length; ) {
    for (let column = 0; column < outSize; column++, place++) {
      const scale = scales[column]!;
      // A scale that rounds to 0 has a channel of nothing but numbers near the smallest of float32.
      kept[place] = scale === 0 ? 0 : Math.max(-wholeMax, Math.min(wholeMax, Math.round(values[place]! / scale)));
    }
  }
  return {
    shape,
    bytes: kept.byteLength + scales.byteLength,
    expand: (into = new Float32Array(inSize * outSize)) => {
      for (let place = 0; place < into.length; )
        for (let column = 0; column < outSize; column++, place++) into[place] = kept[place]! * scales[column]!;
      return into;
    },
  };
}
