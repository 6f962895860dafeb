/**
 * Who signs: an Ed25519 key (RFC 8032) of a client or of the coordinator. tweetnacl signs, portably and audited; a coordinator, which signs
 * for everybody who asks, signs through its engine. The seed is the only secret; it never appears in a message. Signatures are
 * deterministic, so both give the same bytes.
 */
import nacl from 'tweetnacl';
import { assert } from '../core/assert.ts';
import { bytesOf, toBase64Url, utf8 } from '../core/bytes.ts';
import type { ClientId } from '../core/ids.ts';
import type { Entropy } from '../core/ports.ts';
import type { engineCrypto } from './engine.ts';
import { digestOf, sha256 } from './hash.ts';
import { signatureInput } from './signature-input.ts';

/** Bytes of an Ed25519 seed, of a public key, and of a signature. */
export const keyBytes = { seed: 32, publicKey: 32, signature: 64 } as const;

/** A key that signs. */
export interface Identity {
  /** 32 bytes, RFC 8032. */
  readonly publicKey: Uint8Array;
  /** SHA-256 of `"TRIB-ID"` and the public key. */
  readonly clientId: ClientId;
  /** Signs `body` under the domain `type`: 64 bytes. Costs about 3 ms with tweetnacl and 0.05 ms with an engine, and one SHA-256. */
  sign(type: string, body: Uint8Array): Uint8Array;
}

/** A fresh seed for {@link identityFromSeed}, to be kept secret by its owner. */
export function createSeed(entropy: Entropy): Uint8Array {
  return entropy.bytes(keyBytes.seed);
}

/** A fresh identity whose seed nobody keeps: for one process. `engine` as in {@link identityFromSeed}. */
export function createIdentity(entropy: Entropy, engine: typeof engineCrypto = null): Identity {
  return takeIdentity(createSeed(entropy), engine);
}

/** The identity of a seed that nobody needs any more: it is zeroed. `engine` as in {@link identityFromSeed}. */
export function takeIdentity(seed: Uint8Array, engine: typeof engineCrypto = null): Identity {
  const identity = identityFromSeed(seed, engine);
  seed.fill(0);
  return identity;
}

/** The identity of a 32-byte seed; the seed is copied and may be zeroed afterwards. It signs through `engine`, or tweetnacl without one. */
export function identityFromSeed(seed: Uint8Array, engine: typeof engineCrypto = null): Identity {
  assert(seed.length === keyBytes.seed, `an identity seed has ${keyBytes.seed} bytes`);
  // tweetnacl checks argument types by constructor name.
  const plain = Uint8Array.from(seed);
  const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(plain);
  plain.fill(0);
  const clientId = clientIdOf(publicKey);
  if (engine === null)
    return { publicKey, clientId, sign: (type, body) => nacl.sign.detached(signatureInput(type, body), secretKey) };
  const key = engine.createPrivateKey({
    key: { kty: 'OKP', crv: 'Ed25519', d: toBase64Url(seed), x: toBase64Url(publicKey) },
    format: 'jwk',
  });
  secretKey.fill(0);
  return { publicKey, clientId, sign: (type, body) => bytesOf(engine.sign(null, signatureInput(type, body), key)) };
}

const idPrefix = utf8('TRIB-ID');

/** The client id of a public key. */
export function clientIdOf(publicKey: Uint8Array): ClientId {
  return digestOf(idPrefix, publicKey) as string as ClientId;
}

const base32Digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 20 bytes of the key's SHA-256 in base32 (RFC 4648), eight groups of four: for comparing by telephone. */
export function fingerprint(publicKey: Uint8Array): string {
  const bytes = sha256(publicKey).subarray(0, 20);
  let digits = '';
  for (let bit = 0; bit < 160; bit += 5) {
    const pair = (bytes[bit >> 3]! << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    digits += base32Digits[(pair >> (11 - (bit & 7))) & 31];
  }
  return digits.match(/.{4}/g)!.join('-');
}
