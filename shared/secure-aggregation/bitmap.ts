/** Sets of places on a roster as bits: place p is bit p mod 8 of byte ⌊p / 8⌋. Unused bits are zero, so that a set has one encoding. */
import { assert } from '../core/assert.ts';

/** The bitmap of some places below `clientCount`; ⌈clientCount / 8⌉ bytes. */
export function bitmapOf(places: Iterable<number>, clientCount: number): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(clientCount / 8));
  for (const place of places) {
    assert(place >= 0 && place < clientCount, `place ${place} is not on a roster of ${clientCount}`);
    bitmap[place >> 3]! |= 1 << (place & 7);
  }
  return bitmap;
}

/** The places of a bitmap, ascending; null when it has another length or bits beyond the roster. */
export function placesOf(bitmap: Uint8Array, clientCount: number): number[] | null {
  if (bitmap.length !== Math.ceil(clientCount / 8)) return null;
  const places: number[] = [];
  for (let place = 0; place < 8 * bitmap.length; place++) {
    if (((bitmap[place >> 3]! >> (place & 7)) & 1) === 0) continue;
    if (place >= clientCount) return null;
    places.push(place);
  }
  return places;
}
