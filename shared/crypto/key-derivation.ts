/** HKDF with SHA-256 (RFC 5869): the engine's own where there is one, `@noble/hashes` elsewhere. */
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { engineCrypto } from './engine.ts';

/** What a key is derived from. */
export interface KeySource {
  /** Secret input of any length: agreed bytes, a seed. */
  readonly secret: Uint8Array;
  /** Public and different for every use of the secret: a hash of the roster. */
  readonly salt: Uint8Array;
  /** What the key is for; two keys of one secret never share it. */
  readonly info: Uint8Array;
}

/** `byteCount` bytes of key material (at most 8,160), owned by the caller. Costs about 0.01 ms. */
export function deriveKey(
  { secret, salt, info }: KeySource,
  byteCount = 32,
  engine: typeof engineCrypto = engineCrypto,
): Uint8Array {
  if (engine === null) return hkdf(sha256, secret, salt, info, byteCount);
  return new Uint8Array(engine.hkdfSync('sha256', secret, salt, info, byteCount));
}
