/**
 * The one verifier of Ed25519 signatures. Libraries differ on malleated signatures and on keys of small order (tweetnacl accepts both),
 * so everything on which they differ is refused before a library is asked: wrong lengths, S ≥ L, public keys and R of small order or in
 * non-canonical encoding. Then the engine's Ed25519 decides, tweetnacl where there is none.
 */
import nacl from 'tweetnacl';
import { fromHex, toBase64Url, toHex } from '../core/bytes.ts';
import { engineCrypto } from './engine.ts';
import { keyBytes } from './identity.ts';
import { signatureInput } from './signature-input.ts';

/** Order of the base point, RFC 8032 section 5.1, little-endian. */
const groupOrder = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010');
/** 2^255 - 19, little-endian. */
const fieldPrime = fromHex('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f');
/** The y coordinates of the eight points whose order divides 8 (orders 4, 1, 2, 8, 8); the sign of x does not matter. */
const smallOrders: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

/** Whether `left` < `right`, both little-endian and of one length. Neither is secret. */
function isBelow(left: Uint8Array, right: Uint8Array): boolean {
  for (let index = left.length - 1; index >= 0; index--) {
    if (left[index] !== right[index]) return left[index]! < right[index]!;
  }
  return false;
}

/** Whether 32 bytes are a canonical encoding of a point that is not of small order; whether it is on the curve is the library's question. */
function isSoundPoint(encoded: Uint8Array): boolean {
  const y = Uint8Array.from(encoded);
  y[31]! &= 0x7f;
  return isBelow(y, fieldPrime) && !smallOrders.has(toHex(y));
}

/** Whether a public key may be enrolled: 32 bytes, canonical, not of small order. */
export function isSoundPublicKey(publicKey: Uint8Array): boolean {
  return publicKey.length === keyBytes.publicKey && isSoundPoint(publicKey);
}

type Engine = NonNullable<typeof engineCrypto>;

/** Keys as the engine holds them: reading one takes it as long as a verification, and the same few sign again and again. */
const keys = new Map<string, ReturnType<Engine['createPublicKey']>>();
/** All members of a cohort of the usual size, and more. */
const keysKept = 1024;

function keyOf(publicKey: Uint8Array, engine: Engine): ReturnType<Engine['createPublicKey']> {
  const name = toHex(publicKey);
  const known = keys.get(name);
  if (known !== undefined) return known;
  const read = engine.createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(publicKey) },
    format: 'jwk',
  });
  keys.set(name, read);
  const oldest = keys.keys().next();
  if (keys.size > keysKept && !oldest.done) keys.delete(oldest.value);
  return read;
}

/**
 * Whether `signature` is one of `publicKey` over `body` under the domain `type`. Never throws, whatever the bytes.
 * Costs about 0.2 ms with an engine, 7 ms without, and one SHA-256 of the body. `engine` null forces tweetnacl.
 */
export function verifyStrict(
  publicKey: Uint8Array,
  type: string,
  body: Uint8Array,
  signature: Uint8Array,
  engine: typeof engineCrypto = engineCrypto,
): boolean {
  if (signature.length !== keyBytes.signature || !isSoundPublicKey(publicKey)) return false;
  if (!isBelow(signature.subarray(32), groupOrder) || !isSoundPoint(signature.subarray(0, 32))) return false;
  const input = signatureInput(type, body);
  // tweetnacl checks argument types by constructor name; plain copies of 96 bytes keep subclasses of Uint8Array out.
  if (engine === null) return nacl.sign.detached.verify(input, Uint8Array.from(signature), Uint8Array.from(publicKey));
  try {
    return engine.verify(null, input, keyOf(publicKey, engine), signature);
  } catch {
    // OpenSSL throws on a key that is no point of the curve.
    return false;
  }
}
