/**
 * X25519 (RFC 7748): two sides with a secret and the other's public key get the same 32 bytes. The engine's own where there is one,
 * tweetnacl elsewhere. They differ on public keys of low order: an engine throws, tweetnacl returns zeros; here both give null.
 */
import nacl from 'tweetnacl';
import { assert } from '../core/assert.ts';
import { bytesOf, toBase64Url, toHex } from '../core/bytes.ts';
import { engineCrypto } from './engine.ts';
import { digestOf } from './hash.ts';

/** Bytes of an X25519 secret, of a public key, and of what two sides agree on. */
const agreementBytes = 32;

/** The public key of a 32-byte secret. Costs 0.5 ms without an engine, 0.03 ms with one. */
export function agreementPublicKey(secret: Uint8Array, engine: typeof engineCrypto = engineCrypto): Uint8Array {
  assert(secret.length === agreementBytes, `an X25519 secret has ${agreementBytes} bytes`);
  if (engine === null) return nacl.scalarMult.base(plain(secret));
  const jwk = engine.createPublicKey(privateKeyOf(secret, engine)).export({ format: 'jwk' });
  return Uint8Array.from(globalThis.atob(jwk.x!.replaceAll('-', '+').replaceAll('_', '/')), (digit) =>
    digit.charCodeAt(0),
  );
}

/**
 * What the owners of `secret` and of `publicKey` agree on: 32 bytes, owned by the caller, to be fed to a key derivation; null where the
 * public key is of low order, because then everybody knows the outcome (RFC 7748, section 6.1).
 */
export function agree(
  secret: Uint8Array,
  publicKey: Uint8Array,
  engine: typeof engineCrypto = engineCrypto,
): Uint8Array | null {
  assert(secret.length === agreementBytes && publicKey.length === agreementBytes, 'X25519 keys have 32 bytes');
  const agreed =
    engine === null ? nacl.scalarMult(plain(secret), plain(publicKey)) : exchange(secret, publicKey, engine);
  return agreed === null || agreed.every((byte) => byte === 0) ? null : agreed;
}

/**
 * The points of low order in every encoding below 2^255: 0, 1, two of order 8, and p − 1, p, p + 1 with p = 2^255 − 19; the highest bit does
 * not count (RFC 7748, section 5).
 */
const lowOrders: ReadonlySet<string> = new Set([
  '00'.repeat(agreementBytes),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
]);

/** Whether others can agree on something secret with the owner of `publicKey`: it is not of low order. */
export function isSoundAgreementKey(publicKey: Uint8Array): boolean {
  const masked = Uint8Array.from(publicKey);
  masked[agreementBytes - 1]! &= 0x7f;
  return publicKey.length === agreementBytes && !lowOrders.has(toHex(masked));
}

function exchange(
  secret: Uint8Array,
  publicKey: Uint8Array,
  engine: NonNullable<typeof engineCrypto>,
): Uint8Array | null {
  const [privateKey, otherKey] = [privateKeyOf(secret, engine), publicKeyOf(publicKey, engine)];
  try {
    return bytesOf(engine.diffieHellman({ privateKey, publicKey: otherKey }));
  } catch {
    // OpenSSL refuses to derive a secret of zeros.
    return null;
  }
}

type KeyObject = ReturnType<NonNullable<typeof engineCrypto>['createPrivateKey']>;

/** Keys as the engine holds them: reading one costs it more than using it, and a roster's keys are used again and again. */
const publicKeys = new Map<string, KeyObject>();
/** Both keys of the largest roster with a complete graph. */
const publicKeysKept = 256;

function publicKeyOf(publicKey: Uint8Array, engine: NonNullable<typeof engineCrypto>): KeyObject {
  const name = toHex(publicKey);
  const known = publicKeys.get(name);
  if (known !== undefined) return known;
  const read = engine.createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: toBase64Url(publicKey) }, format: 'jwk' });
  publicKeys.set(name, read);
  const oldest = publicKeys.keys().next();
  if (publicKeys.size > publicKeysKept && !oldest.done) publicKeys.delete(oldest.value);
  return read;
}

/** PKCS #8 of an X25519 secret (RFC 8410, section 7): a fixed head and the 32 bytes. A JWK would need the public key beside it. */
const pkcs8Head = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20);

/** The secrets that were used last, by their hash; nothing keeps them alive when their owner is done with them. */
const secretKeys = new Map<string, WeakRef<KeyObject>>();
/** A client has two: for boxes and for masks. */
const secretKeysKept = 2;

function privateKeyOf(secret: Uint8Array, engine: NonNullable<typeof engineCrypto>): KeyObject {
  const name = digestOf(secret);
  const known = secretKeys.get(name)?.deref();
  if (known !== undefined) return known;
  const key = new Uint8Array(pkcs8Head.length + agreementBytes);
  key.set(pkcs8Head);
  key.set(secret, pkcs8Head.length);
  const parsed = engine.createPrivateKey({ key: key as Buffer, format: 'der', type: 'pkcs8' });
  key.fill(0);
  secretKeys.set(name, new WeakRef(parsed));
  const oldest = secretKeys.keys().next();
  if (secretKeys.size > secretKeysKept && !oldest.done) secretKeys.delete(oldest.value);
  return parsed;
}

/** tweetnacl checks argument types by constructor name, which keeps subclasses of Uint8Array out. */
function plain(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}
