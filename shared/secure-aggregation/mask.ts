/**
 * Masks (Bonawitz 2017, section 4; security specification, section 2.2): client u uploads
 *
 *   y_u = x_u + PRG(b_u) + Σ_{v > u} PRG(s_uv) − Σ_{v < u} PRG(s_uv)
 *
 * where u and v are places on the roster, b_u is u's own seed and s_uv is what u and v agree on. In the sum of all uploads the pairwise masks
 * cancel, and what is left is opened with the self masks of the survivors. A vector is the coordinates of the delta, of the round's ring,
 * and a tail of 32-bit words; each has a key of its own.
 */
import { assert } from '../core/assert.ts';
import { concatBytes, fromHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { engineCrypto } from '../crypto/engine.ts';
import { agree } from '../crypto/key-agreement.ts';
import { deriveKey } from '../crypto/key-derivation.ts';
import { createKeyStream, type MaskedSuite, streamUnitBytes } from '../crypto/key-stream.ts';
import { addTo, type RingVector, subtractFrom, vectorOf } from './ring.ts';

/** What a client contributes, and what a sum consists of. */
export interface MaskedVector {
  /** `[dim]` of the round's ring. */
  readonly coordinates: RingVector;
  /** Words of 32 bits: weights, counts, losses. */
  readonly tail: Uint32Array;
}

/** The two keys of one mask. */
export interface MaskSeed {
  readonly coordinates: Uint8Array;
  readonly tail: Uint8Array;
}

const twoBytes = (value: number): Uint8Array => Uint8Array.of(value & 255, value >> 8);

function seedOf(secret: Uint8Array, rosterHash: Digest, info: Uint8Array): MaskSeed {
  const salt = fromHex(rosterHash);
  return {
    coordinates: deriveKey({ secret, salt, info }),
    tail: deriveKey({ secret, salt, info: concatBytes(info, utf8('/tail')) }),
  };
}

/** The seed of the self mask of the client at `place` on the roster: HKDF(b_u, rosterHash, "TRIB/self" ‖ u16 place). */
export function selfMaskSeed(selfSecret: Uint8Array, rosterHash: Digest, place: number): MaskSeed {
  return seedOf(selfSecret, rosterHash, concatBytes(utf8('TRIB/self'), twoBytes(place)));
}

/**
 * The seed of the mask between two places: HKDF(X25519(s_u, S_v), rosterHash, "TRIB/mask" ‖ u16 lower ‖ u16 higher); the same from both
 * sides. Null where the other's key is of low order.
 */
export function pairMaskSeed(
  secret: Uint8Array,
  otherKey: Uint8Array,
  rosterHash: Digest,
  places: readonly [number, number],
): MaskSeed | null {
  assert(places[0] !== places[1], 'a pair has two places');
  const agreed = agree(secret, otherKey);
  if (agreed === null) return null;
  const [lower, higher] = places[0] < places[1] ? places : [places[1], places[0]];
  const seed = seedOf(agreed, rosterHash, concatBytes(utf8('TRIB/mask'), twoBytes(lower), twoBytes(higher)));
  agreed.fill(0);
  return seed;
}

/** Bytes of a mask that are made at a time: whole blocks of both ciphers, and they stay in a processor's cache. */
const partBytes = 65_536;

/**
 * Adds (`sign` 1) or subtracts (−1) the mask of `seed` to or from `vector`, in place. Cost: one pass over the vector; about 3 ms per million
 * words with an engine.
 */
export function applyMask(vector: MaskedVector, seed: MaskSeed, sign: 1 | -1, suite: MaskedSuite): void {
  const { coordinates, tail } = vector;
  applyKeys(coordinates, [{ key: seed.coordinates, sign }], suite);
  applyKeys(tail, [{ key: seed.tail, sign }], suite);
}

/** The key of a mask for some words, and whether it is added. */
export interface SignedKey {
  readonly key: Uint8Array;
  readonly sign: 1 | -1;
}

/** Words among which a vector may be divided: parts of a whole begin at multiples of this. */
export const wordsPerRange = partBytes / 2;

/**
 * Applies the masks of all `keys` to `words`, in place. The words are those of a vector from its word `first` on, a multiple of
 * {@link wordsPerRange}. All masks are applied to one part before the next: it stays in the cache meanwhile.
 */
export function applyKeys(words: RingVector, keys: readonly SignedKey[], suite: MaskedSuite, first = 0): void {
  const width = words.BYTES_PER_ELEMENT;
  const bits = width === 4 ? 32 : 16;
  assert(first % wordsPerRange === 0, 'a part of a vector begins with a block of every cipher');
  const firstUnit = (first * width) / streamUnitBytes;
  const streams = keys.map(({ key, sign }) => ({ stream: createKeyStream(suite, key, engineCrypto, firstUnit), sign }));
  const wordsPerPart = partBytes / width;
  for (let start = 0; start < words.length; start += wordsPerPart) {
    const part = words.subarray(start, start + wordsPerPart);
    for (const { stream, sign } of streams) {
      const mask = vectorOf(bits, stream.next(part.byteLength));
      if (sign === 1) addTo(part, mask);
      else subtractFrom(part, mask);
    }
  }
  for (const { stream } of streams) stream.wipe();
}

/** Zeroes the keys of a seed. */
export function wipeSeed(seed: MaskSeed): void {
  seed.coordinates.fill(0);
  seed.tail.fill(0);
}

/** With which sign the client at `place` applies the mask that it shares with the one at `otherPlace`: the lower adds, the higher subtracts. */
export function pairSign(place: number, otherPlace: number): 1 | -1 {
  assert(place !== otherPlace, 'a pair has two places');
  return place < otherPlace ? 1 : -1;
}
