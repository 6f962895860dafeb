/** Names one state of a federation's model: the frozen base and the adapter on it. */
import { fromHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';

const prefix = utf8('TRIB-MODEL');

/** `H("TRIB-MODEL" ‖ baseDigest ‖ adapter)`; `adapterBytes` are float32 little-endian in layout order. */
export function modelHashOf(baseDigest: Digest, adapterBytes: Uint8Array): Digest {
  return digestOf(prefix, fromHex(baseDigest), adapterBytes);
}
