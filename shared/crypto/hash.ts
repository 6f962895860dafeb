/**
 * SHA-256 (FIPS 180-4): the engine's own where there is one, `@noble/hashes` elsewhere. Both give the same bytes; the engine's is several
 * times as fast and hashes views without a copy.
 */
import { sha256 as portableSha256 } from '@noble/hashes/sha2.js';
import { bytesOf, toHex } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { engineCrypto } from './engine.ts';

/** A hash under way. */
export interface Hash {
  /** Takes more bytes; they are not kept. */
  update(part: Uint8Array): Hash;
  /** The 32 bytes of the hash; ends it. */
  digest(): Uint8Array;
}

/** Starts a SHA-256. `engine` null forces the portable implementation. */
export function createHash(engine: typeof engineCrypto = engineCrypto): Hash {
  if (engine === null) {
    const state = portableSha256.create();
    const portable: Hash = {
      update: (part) => {
        state.update(part);
        return portable;
      },
      digest: () => state.digest(),
    };
    return portable;
  }
  const state = engine.createHash('sha256');
  const native: Hash = {
    update: (part) => {
      state.update(part);
      return native;
    },
    digest: () => bytesOf(state.digest()),
  };
  return native;
}

/** SHA-256 of the concatenation of `parts`, 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  if (engineCrypto !== null && parts.length === 1) return bytesOf(engineCrypto.hash('sha256', parts[0]!, 'buffer'));
  const hash = createHash();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** SHA-256 of the concatenation of `parts` as an identifier. */
export function digestOf(...parts: readonly Uint8Array[]): Digest {
  return toHex(sha256(...parts)) as Digest;
}
