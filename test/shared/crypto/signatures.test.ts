import { strict as assert } from 'node:assert';
import { createPrivateKey, sign as engineSign } from 'node:crypto';
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

/** RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature. */
const published = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const;

function signWithEngine(seed: string, publicKey: Uint8Array, message: Uint8Array): string {
  const key = createPrivateKey({
    key: { kty: 'OKP', crv: 'Ed25519', d: toBase64Url(fromHex(seed)), x: toBase64Url(publicKey) },
    format: 'jwk',
  });
  return toHex(engineSign(null, message, key));
}

const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n;
const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(Uint8Array.from(bytes).reverse())}`);
const bytesOfNumber = (value: bigint): Uint8Array =>
  fromHex(value.toString(16).padStart(64, '0')).reverse();

describe('signatures', () => {
  for (const [index, [seed, publicKey, message, signature]] of published.entries()) {
    it(`[SIG-1] RFC 8032 test ${index + 1}: tweetnacl, the engine and noble make the same bytes`, () => {
      const bytes = fromHex(message);
      const pair = nacl.sign.keyPair.fromSeed(fromHex(seed));
      assert.equal(toHex(pair.publicKey), publicKey);
      assert.equal(toHex(nacl.sign.detached(bytes, pair.secretKey)), signature);
      assert.equal(toHex(ed25519.sign(bytes, fromHex(seed))), signature);
      assert.equal(signWithEngine(seed, pair.publicKey, bytes), signature);
    });

    it(`[SIG-2] an identity from the seed of test ${index + 1} signs the typed input, as the others do`, () => {
      const identity = identityFromSeed(fromHex(seed));
      const body = fromHex(message);
      const input = signatureInput('UPDATE', body);
      assert.deepEqual(input, concatBytes(utf8('TRIB-SIG-v1\0'), Uint8Array.of(6), utf8('UPDATE'), sha256(body)));
      const made = identity.sign('UPDATE', body);
      assert.equal(toHex(made), toHex(ed25519.sign(input, fromHex(seed))));
      assert.equal(toHex(made), signWithEngine(seed, identity.publicKey, input));
      assert.equal(identity.clientId, digestOf(utf8('TRIB-ID'), fromHex(publicKey)));
      assert.equal(clientIdOf(identity.publicKey), identity.clientId);
    });
  }

  it('[SIG-3] a fresh identity has its own key, and its fingerprint is base32 of the hash', () => {
    const [one, other] = [createIdentity(systemEntropy), createIdentity(systemEntropy)];
    assert.notEqual(one.clientId, other.clientId);
    assert.match(fingerprint(one.publicKey), /^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$/);
    // Computed with Python's hashlib and base64.b32encode.
    assert.equal(fingerprint(fromHex(published[0][1])), 'EH7D-DX5B-KSRG-CYTL-7BKA-I36S-E4NX-X3KL');
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
