/**
 * Frozen matrices in half or a quarter of the memory. What a file holds in sixteen bits can stay as it is, which changes nothing. float16 rounds each value to 2^-11 of itself (2^-25 near zero). int8 keeps, for every output
 * channel, a scale s = max|w| / 127 and whole numbers q with w ≈ s q: off by at most s / 2 = max|w| / 254, and an output by at most
 * s / 2 · Σ|x| (symmetric quantisation per channel: Jacob 2018, section 2.1).
 */
import { roundToFloat16 } from '../core/float16.ts';
import { convertBfloat16, convertFloat16 } from './half-floats.ts';

/**
 * How the weights of a base are kept. `file` leaves sixteen-bit numbers as the file holds them; `auto` does so where a base is large and
 * computes in the process's memory. Neither changes a number.
 */
export const frozenPrecisions = ['auto', 'file', 'float32', 'float16', 'int8'] as const;

/** One of {@link frozenPrecisions}. */
export type FrozenPrecision = (typeof frozenPrecisions)[number];

/** Rows and columns of a matrix, each from a first to before an end. */
export interface MatrixPart {
  readonly rows: readonly [number, number];
  readonly columns: readonly [number, number];
}

/** A matrix `[rows, columns]` in a smaller form. */
export interface CompactMatrix {
  readonly shape: readonly [number, number];
  /** Bytes that it takes. */
  readonly bytes: number;
  /** The values of a part, row after row, in `into`, which is as long, or a new array. Absent means all. */
  expand(into?: Float32Array<ArrayBuffer>, part?: MatrixPart): Float32Array<ArrayBuffer>;
}

/** Sixteen-bit patterns row after row, which stay as they are. */
export function storedMatrix(
  halves: Uint16Array,
  shape: readonly [number, number],
  type: 'F16' | 'BF16',
): CompactMatrix {
  const widen = type === 'F16' ? convertFloat16 : convertBfloat16;
  return {
    shape,
    bytes: halves.byteLength,
    expand: partwise(shape, (start, into) => widen(halves.subarray(start, start + into.length), into)),
  };
}

/** `expand` of a matrix whose values from `start` on `widen` writes. */
function partwise(
  [rowCount, columnCount]: readonly [number, number],
  widen: (start: number, into: Float32Array<ArrayBuffer>) => void,
): CompactMatrix['expand'] {
  const whole: MatrixPart = { rows: [0, rowCount], columns: [0, columnCount] };
  return (given, { rows: [row, rowEnd], columns: [column, columnEnd] } = whole) => {
    const width = columnEnd - column;
    const into = given ?? new Float32Array((rowEnd - row) * width);
    if (width === columnCount) widen(row * columnCount, into);
    else {
      for (let index = row; index < rowEnd; index++)
        widen(index * columnCount + column, into.subarray((index - row) * width, (index - row + 1) * width));
    }
    return into;
  };
}

/**
 * Makes `values` `[inSize * outSize]` smaller; they are not kept. Null where they cannot be: with a value that is not finite, or beyond 65504 in
 * float16.
 */
export function compactMatrix(
  values: Float32Array,
  shape: readonly [number, number],
  precision: 'float16' | 'int8',
): CompactMatrix | null {
  return precision === 'float16' ? halves(values, shape) : bytes(values, shape);
}

function halves(values: Float32Array, shape: readonly [number, number]): CompactMatrix | null {
  const kept = roundToFloat16(values);
  if (kept === null) return null;
  return {
    shape,
    bytes: kept.byteLength,
    expand: partwise(shape, (start, into) => void convertFloat16(kept.subarray(start, start + into.length), into)),
  };
}

const wholeMax = 127;

function bytes(values: Float32Array, shape: readonly [number, number]): CompactMatrix | null {
  const [, outSize] = shape;
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
    expand: partwise(shape, (start, into) => {
      let column = start % outSize;
      for (let index = 0; index < into.length; index++) {
        into[index] = kept[start + index]! * scales[column]!;
        if (++column === outSize) column = 0;
      }
    }),
  };
}
