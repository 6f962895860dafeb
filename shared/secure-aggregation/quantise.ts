/**
 * From a float32 delta to elements of the ring and back (security specification, section 2.5). With weight ω in [0, 1], bound C of the norm,
 * bound B of a coordinate and f fractional bits a coordinate v becomes SR(ω v 2^f): stochastic rounding, ⌊z⌋ + [U < z − ⌊z⌋], whose
 * expectation is z. The weight goes along as a word of the tail, so that the sum's mean is known and no single weight is.
 *
 * No claim of privacy follows from clipping.
 */
import { assert } from '../core/assert.ts';
import type { KeyStream } from '../crypto/key-stream.ts';
import { type RingBits, type RingVector, signedOf, zeroVector } from './ring.ts';

/** Fixed-point encoding that a round prescribes. */
export interface Encoding {
  readonly ringBits: RingBits;
  /** f, 0 to 30. */
  readonly fracBits: number;
  /** B > 0: coordinates are clamped to [−B, B]. */
  readonly coordBound: number;
  /** C > 0: the delta is scaled down to this norm. */
  readonly clipNorm: number;
  /** Largest weight of a client, above 0. */
  readonly weightMax: number;
}

/** Fractional bits of a weight in its word of the tail. */
export const weightBits = 16;

/** Standard deviations of the noise for which the ring has room: beyond eight, a wrapped sum is rarer than a broken machine. */
const noiseDeviations = 8;

/** The largest integer that a client of this encoding contributes to one coordinate. */
function reachOf({ coordBound, fracBits }: Pick<Encoding, 'coordBound' | 'fracBits'>): number {
  return Math.floor(coordBound * 2 ** fracBits) + 1;
}

/**
 * Whether the sum of `clientCount` clients cannot wrap: n (⌊B 2^f⌋ + 1) + 8 σ 2^f ≤ 2^(bits − 1) − 1, where `noiseDeviation` σ is that of
 * all noise together, in units of the delta.
 */
export function fitsRing(
  encoding: Pick<Encoding, 'ringBits' | 'fracBits' | 'coordBound'>,
  clientCount: number,
  noiseDeviation = 0,
): boolean {
  const { ringBits, fracBits } = encoding;
  return clientCount * reachOf(encoding) + noiseDeviations * noiseDeviation * 2 ** fracBits <= 2 ** (ringBits - 1) - 1;
}

/** The most fractional bits with which a sum fits its ring, or null when not even whole numbers do. */
export function fracBitsMax(
  encoding: Pick<Encoding, 'ringBits' | 'coordBound'>,
  clientCount: number,
  noiseDeviation = 0,
): number | null {
  for (let fracBits = 30; fracBits >= 0; fracBits--)
    if (fitsRing({ ...encoding, fracBits }, clientCount, noiseDeviation)) return fracBits;
  return null;
}

/** A delta in the ring. */
export interface Encoded {
  /** `[dim]`, owned by the caller; as secret as the delta until it is masked. */
  readonly vector: RingVector;
  /** The weight's word: round(ω 2^16). */
  readonly weightWord: number;
  /** Norm of the delta before clipping. Stays at the client. */
  readonly norm: number;
  /** Coordinates that were clamped. Stays at the client. */
  readonly clampedCount: number;
}

/** Words of randomness that are fetched at a time. */
const wordsPerPart = 16_384;

/**
 * Encodes a finite delta `[dim]` float32 with `weight` >= 0, at most `weightMax` counts. `rounding` delivers the random words: the same
 * stream gives the same integers, so that a repeated attempt of a round says nothing new (amendment 3).
 */
export function encodeDelta(delta: Float32Array, weight: number, encoding: Encoding, rounding: KeyStream): Encoded {
  const { ringBits, fracBits, coordBound, clipNorm, weightMax } = encoding;
  assert(weight >= 0 && Number.isFinite(weight), 'a weight is finite and not negative');
  const weightWord = Math.round((Math.min(weight, weightMax) / weightMax) * 2 ** weightBits);
  let squares = 0;
  for (let index = 0; index < delta.length; index++) squares += delta[index]! ** 2;
  const norm = Math.sqrt(squares);
  assert(Number.isFinite(norm), 'only a finite delta is encoded');
  const shrink = norm > clipNorm ? clipNorm / norm : 1;
  const scale = (weightWord / 2 ** weightBits) * 2 ** fracBits;
  const vector = zeroVector(ringBits, delta.length);
  const signed = signedOf(vector);
  let clampedCount = 0;
  for (let start = 0; start < delta.length; start += wordsPerPart) {
    const count = Math.min(wordsPerPart, delta.length - start);
    const words = wordsOf(rounding, count);
    for (let offset = 0; offset < count; offset++) {
      let value = delta[start + offset]! * shrink;
      if (value > coordBound || value < -coordBound) {
        value = value > 0 ? coordBound : -coordBound;
        clampedCount++;
      }
      const scaled = value * scale;
      const floor = Math.floor(scaled);
      signed[start + offset] = floor + (words[offset]! < (scaled - floor) * 2 ** 32 ? 1 : 0);
    }
  }
  return { vector, weightWord, norm, clampedCount };
}

function wordsOf(stream: KeyStream, count: number): Uint32Array {
  // Whole blocks, so that the next part begins with a fresh one.
  const bytes = stream.next(Math.ceil((4 * count) / 64) * 64);
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, count);
}

/**
 * The weighted mean delta `[dim]` in float64 of an opened sum and the sum of its weight words: (Σr 2^−f) / (Σω 2^−16). Null when all weights
 * are zero, because then there is no mean.
 */
export function decodeMean(
  sum: RingVector,
  weightSum: number,
  { fracBits }: Pick<Encoding, 'fracBits'>,
): Float64Array | null {
  if (weightSum === 0) return null;
  const factor = 2 ** (weightBits - fracBits) / weightSum;
  return Float64Array.from(signedOf(sum), (value) => value * factor);
}

/**
 * Whether every coordinate of an opened sum is one that `clientCount` honest encodings can reach: a sum beyond it was not made by this
 * protocol, and its round is void.
 */
export function isReachable(
  sum: RingVector,
  encoding: Pick<Encoding, 'fracBits' | 'coordBound'>,
  clientCount: number,
): boolean {
  const reach = clientCount * reachOf(encoding);
  return signedOf(sum).every((value: number) => Math.abs(value) <= reach);
}
