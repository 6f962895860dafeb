import { strict as assert } from 'node:assert';
import { createPrivateKey, createPublicKey, sign as engineSign, verify as engineVerify } from 'node:crypto';
import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js';
import nacl from 'tweetnacl';
import { concatBytes, fromHex, toBase64Url, toHex, utf8 } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { systemEntropy } from '../../../shared/crypto/entropy.ts';
import { digestOf, sha256 } from '../../../shared/crypto/hash.ts';
import { clientIdOf, createIdentity, fingerprint, identityFromSeed } from '../../../shared/crypto/identity.ts';
import { signatureInput } from '../../../shared/crypto/signature-input.ts';
import { isSoundPublicKey, verifyStrict } from '../../../shared/crypto/verify.ts';
import { rfc8032 } from '../../vectors/vectors.ts';

function signWithEngine(seed: string, publicKey: Uint8Array, message: Uint8Array): string {
  const key = createPrivateKey({
    key: { kty: 'OKP', crv: 'Ed25519', d: toBase64Url(fromHex(seed)), x: toBase64Url(publicKey) },
    format: 'jwk',
  });
  return toHex(engineSign(null, message, key));
}

async function signWithWebCrypto(seed: string, publicKey: Uint8Array, message: Uint8Array): Promise<string> {
  const jwk = { kty: 'OKP', crv: 'Ed25519', d: toBase64Url(fromHex(seed)), x: toBase64Url(publicKey) };
  const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign']);
  return toHex(new Uint8Array(await crypto.subtle.sign('Ed25519', key, Uint8Array.from(message))));
}

function verifyWithEngine(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(publicKey) };
  return engineVerify(null, message, createPublicKey({ key: jwk, format: 'jwk' }), signature);
}

async function verifyWithWebCrypto(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(publicKey) };
  const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', key, Uint8Array.from(signature), Uint8Array.from(message));
}

const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n;
const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(Uint8Array.from(bytes).reverse())}`);
const bytesOfNumber = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(64, '0')).reverse();

describe('signatures', () => {
  for (const { name, seed, publicKey, message, signature } of rfc8032.vectors) {
    it(`[SIG-1] kat-ed25519-rfc8032, ${name}: tweetnacl, the engine, Web Cryptography and noble make the same bytes, and verify them`, async () => {
      const bytes = fromHex(message);
      const pair = nacl.sign.keyPair.fromSeed(fromHex(seed));
      assert.equal(toHex(pair.publicKey), publicKey);
      assert.equal(toHex(ed25519.getPublicKey(fromHex(seed))), publicKey);
      assert.equal(toHex(nacl.sign.detached(bytes, pair.secretKey)), signature);
      assert.equal(toHex(ed25519.sign(bytes, fromHex(seed))), signature);
      assert.equal(signWithEngine(seed, pair.publicKey, bytes), signature);
      assert.equal(await signWithWebCrypto(seed, pair.publicKey, bytes), signature);
      const changed = fromHex(signature);
      changed[3]! ^= 1;
      for (const [made, holds] of [
        [fromHex(signature), true],
        [changed, false],
      ] as const) {
        assert.equal(nacl.sign.detached.verify(bytes, made, pair.publicKey), holds);
        assert.equal(ed25519.verify(made, bytes, pair.publicKey), holds);
        assert.equal(verifyWithEngine(pair.publicKey, bytes, made), holds);
        assert.equal(await verifyWithWebCrypto(pair.publicKey, bytes, made), holds);
      }
    });

    it(`[SIG-2] an identity from the seed of ${name} signs the typed input, as the others do`, () => {
      const identity = identityFromSeed(fromHex(seed));
      const body = fromHex(message);
      const input = signatureInput('UPDATE', body);
      assert.deepEqual(input, concatBytes(utf8('TRIB-SIG-v1\0'), Uint8Array.of(6), utf8('UPDATE'), sha256(body)));
      const made = identity.sign('UPDATE', body);
      assert.equal(toHex(made), toHex(ed25519.sign(input, fromHex(seed))));
      assert.equal(toHex(made), signWithEngine(seed, identity.publicKey, input));
      assert.equal(toHex(identityFromSeed(fromHex(seed), engineCrypto).sign('UPDATE', body)), toHex(made));
      assert.equal(identity.clientId, digestOf(utf8('TRIB-ID'), fromHex(publicKey)));
      assert.equal(clientIdOf(identity.publicKey), identity.clientId);
    });
  }

  it('[SIG-3] a fresh identity has its own key, and its fingerprint is base32 of the hash', () => {
    const [one, other] = [createIdentity(systemEntropy), createIdentity(systemEntropy)];
    assert.notEqual(one.clientId, other.clientId);
    assert.match(fingerprint(one.publicKey), /^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$/);
    // Computed with Python's hashlib and base64.b32encode.
    assert.equal(fingerprint(fromHex(rfc8032.vectors[0]!.publicKey)), 'EH7D-DX5B-KSRG-CYTL-7BKA-I36S-E4NX-X3KL');
  });
});

for (const [name, engine] of [
  ['the engine', engineCrypto],
  ['tweetnacl', null],
] as const) {
  describe(`verifyStrict with ${name}`, () => {
    const random = seededRandom(7, 'verify');
    const identity = identityFromSeed(Uint8Array.from({ length: 32 }, () => random.integer(256)));
    const body = utf8('the body of a message');
    const signature = identity.sign('UPDATE', body);
    const verify = (publicKey: Uint8Array, made: Uint8Array, type = 'UPDATE', over = body) =>
      verifyStrict(publicKey, type, over, made, engine);

    it('[SIG-4] accepts a signature, and none over another body, type or key', () => {
      assert.equal(verify(identity.publicKey, signature), true);
      assert.equal(verify(identity.publicKey, signature, 'RESULT'), false);
      assert.equal(verify(identity.publicKey, signature, 'UPDATE', utf8('another body')), false);
      assert.equal(verify(identityFromSeed(new Uint8Array(32)).publicKey, signature), false);
    });

    it('[SIG-5] refuses every signature with one flipped bit (every third bit)', () => {
      for (let bit = 0; bit < 512; bit += engine === null ? 29 : 3) {
        const flipped = Uint8Array.from(signature);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(verify(identity.publicKey, flipped), false, `bit ${bit}`);
      }
    });

    it('[SIG-6] refuses the malleated signature S + L', () => {
      const malleated = Uint8Array.from(signature);
      malleated.set(bytesOfNumber(numberOf(signature.subarray(32)) + groupOrder), 32);
      assert.equal(nacl.sign.detached.verify(signatureInput('UPDATE', body), malleated, identity.publicKey), true);
      assert.equal(verify(identity.publicKey, malleated), false);
    });

    it('[SIG-7] refuses all keys of small order, also where a library accepts the trivial signature', () => {
      const trivial = new Uint8Array(64);
      trivial[0] = 1;
      const identityPoint = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0));
      assert.equal(nacl.sign.detached.verify(signatureInput('UPDATE', body), trivial, identityPoint), true);
      assert.equal(ED25519_TORSION_SUBGROUP.length, 8);
      for (const key of ED25519_TORSION_SUBGROUP) {
        const encoded = fromHex(key);
        assert.equal(isSoundPublicKey(encoded), false, key);
        assert.equal(verify(encoded, trivial), false, key);
        // The same y with the other sign of x.
        encoded[31]! ^= 0x80;
        assert.equal(isSoundPublicKey(encoded), false, key);
        const smallR = Uint8Array.from(signature);
        smallR.set(fromHex(key));
        assert.equal(verify(identity.publicKey, smallR), false, key);
      }
    });

    it('[SIG-8] refuses non-canonical keys, keys off the curve, and wrong lengths, without throwing', () => {
      const prime = 2n ** 255n - 19n;
      for (let above = 0n; above < 19n; above++) {
        assert.equal(isSoundPublicKey(bytesOfNumber(prime + above)), false);
        assert.equal(verify(bytesOfNumber(prime + above), signature), false);
      }
      for (let y = 2; y < 40; y++) assert.equal(verify(bytesOfNumber(BigInt(y)), signature), false, `y = ${y}`);
      for (const length of [0, 31, 33]) assert.equal(verify(new Uint8Array(length), signature), false);
      for (const length of [0, 63, 65]) assert.equal(verify(identity.publicKey, new Uint8Array(length)), false);
    });

    it('[SIG-9] takes Buffers, as sockets give them', () => {
      assert.equal(verify(Buffer.from(identity.publicKey), Buffer.from(signature), 'UPDATE', Buffer.from(body)), true);
    });
  });
}
