/** Authenticated encryption of short secrets under a key that is used once: XSalsa20-Poly1305 (`nacl.secretbox`), 16 bytes longer than the text. */
import nacl from 'tweetnacl';
import { assert } from '../core/assert.ts';

/** Bytes of a key, and by how much a box is longer than what it holds. */
export const boxBytes = { key: nacl.secretbox.keyLength, overhead: nacl.secretbox.overheadLength } as const;

/** The nonce of every box: a key seals one message. */
const nonce = new Uint8Array(nacl.secretbox.nonceLength);

/** Seals `text` under `key` (32 bytes), which must seal nothing else. */
export function sealBox(key: Uint8Array, text: Uint8Array): Uint8Array {
  assert(key.length === boxBytes.key, `a box key has ${boxBytes.key} bytes`);
  return nacl.secretbox(text, nonce, key);
}

/** What `box` holds, owned by the caller; null when it was not sealed under this key or was changed since. */
export function openBox(key: Uint8Array, box: Uint8Array): Uint8Array | null {
  assert(key.length === boxBytes.key, `a box key has ${boxBytes.key} bytes`);
  return nacl.secretbox.open(Uint8Array.from(box), nonce, key);
}
