/** A masked vector as bytes: the coordinates of the ring, then the tail's words of 32 bits, little-endian. Sums are made part by part. */
import { assert } from '../core/assert.ts';
import { bytesOf, concatBytes } from '../core/bytes.ts';
import type { MaskedVector } from './mask.ts';
import { addTo, type RingBits, type RingVector, vectorOf, zeroVector } from './ring.ts';

/** Size of a vector. */
export interface VectorShape {
  readonly ringBits: RingBits;
  readonly dim: number;
  /** Words of the tail. */
  readonly tail: number;
}

/** Bytes of a vector. */
export function vectorBytesOf({ ringBits, dim, tail }: VectorShape): number {
  return (ringBits / 8) * dim + 4 * tail;
}

/** The bytes of a vector, of their own. */
export function encodeVector({ coordinates, tail }: MaskedVector): Uint8Array {
  return concatBytes(bytesOf(coordinates), bytesOf(tail));
}

/** A vector of zeros; `coordinates` are the caller's memory, filled with zeros, where it has some. */
export function zeroMaskedVector({ ringBits, dim, tail }: VectorShape, coordinates?: RingVector): MaskedVector {
  assert(coordinates === undefined || coordinates.length === dim, 'the memory has the length of the vector');
  coordinates?.fill(0);
  return { coordinates: coordinates ?? zeroVector(ringBits, dim), tail: new Uint32Array(tail) };
}

/**
 * Adds the bytes of one vector to `sum` in place, handed over in parts from its beginning; a part may end anywhere between two words of the
 * coordinates, and the tail comes whole with the last one. Returns what takes a part.
 */
export function vectorAdder({ coordinates, tail }: MaskedVector): (part: Uint8Array) => void {
  const width = coordinates.BYTES_PER_ELEMENT;
  const coordinateBytes = coordinates.byteLength;
  const ends = new Uint8Array(tail.byteLength);
  let offset = 0;
  return (part) => {
    assert(offset + part.length <= coordinateBytes + ends.length, 'a vector has the bytes of its shape');
    const inside = part.subarray(0, Math.max(0, Math.min(part.length, coordinateBytes - offset)));
    const bits: RingBits = width === 4 ? 32 : 16;
    if (inside.length > 0) {
      const start = offset / width;
      addTo(coordinates.subarray(start, start + inside.length / width), vectorOf(bits, inside));
    }
    const rest = part.subarray(inside.length);
    ends.set(rest, Math.max(0, offset - coordinateBytes));
    offset += part.length;
    if (offset === coordinateBytes + ends.length && ends.length > 0) addTo(tail, vectorOf(32, ends));
  };
}
