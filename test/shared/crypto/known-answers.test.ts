/** Published vectors of the primitives below: whatever platform computes them gives these bytes. */
import { strict as assert } from 'node:assert';
import { createCipheriv } from 'node:crypto';
import { ctr } from '@noble/ciphers/aes.js';
import { chacha20 } from '@noble/ciphers/chacha.js';
import nacl from 'tweetnacl';
import { concatBytes, fromHex, toHex, utf8 } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { agree, agreementPublicKey } from '../../../shared/crypto/key-agreement.ts';
import { sealBox } from '../../../shared/crypto/secret-box.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

/** Keys of RFC 7748, section 6.1. */
const [alice, bob] = [
  '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a',
  '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb',
].map(fromHex) as [Uint8Array, Uint8Array];

/** ChaCha20 as Node wants it: the counter of a block, 4 bytes, before the nonce. */
function nodeChacha(key: Uint8Array, nonce: Uint8Array, counter: number, data: Uint8Array): string {
  const start = Buffer.alloc(4);
  start.writeUInt32LE(counter);
  return createCipheriv('chacha20', key, concatBytes(start, nonce)).update(data).toString('hex');
}

describe('known answers', () => {
  it('[kat-x25519-rfc7748] section 6.1: both sides agree on the published secret, natively and portably', () => {
    const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
    for (const engine of [engineCrypto, null]) {
      assert.equal(toHex(agree(alice, agreementPublicKey(bob), engine)!), shared);
      assert.equal(toHex(agree(bob, agreementPublicKey(alice), engine)!), shared);
    }
  });

  it('[kat-nacl-box] the box of NaCl: key before and box of four zero bytes', () => {
    const before = nacl.box.before(agreementPublicKey(bob), alice);
    assert.equal(toHex(before), '1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389');
    const nonce = fromHex('69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37');
    const box = nacl.secretbox(new Uint8Array(4), nonce, before);
    assert.equal(toHex(box), '8a5c5b8f67e1dfbb971f686767f04924309e645a');
    assert.deepEqual(sealBox(before, utf8('text')), nacl.secretbox(utf8('text'), new Uint8Array(24), before));
  });

  it('[kat-nacl-box] the 131 bytes of the tests of NaCl, both ways', () => {
    const nonce = fromHex('69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37');
    const text = fromHex(
      'be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4' +
        '1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52' +
        'f0a089bc76897040e082f937763848645e0705',
    );
    const expected =
      'f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b' +
      '4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da' +
      '99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5';
    assert.equal(text.length, 131);
    const box = nacl.box(text, nonce, agreementPublicKey(bob), alice);
    assert.equal(toHex(box), expected);
    assert.deepEqual(nacl.box.open(box, nonce, agreementPublicKey(alice), bob), text);
  });

  it('[kat-chacha20] RFC 8439, section 2.4.2, and the same stream of Node and noble from block 0, 1 and 2^16', () => {
    const key = Uint8Array.from({ length: 32 }, (_, index) => index);
    const nonce = fromHex('000000000000004a00000000');
    const text = utf8(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    );
    const expected =
      '6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c35' +
      '9f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d';
    assert.equal(nodeChacha(key, nonce, 1, text), expected);
    assert.equal(toHex(chacha20(key, nonce, text, undefined, 1)), expected);
    const zeros = new Uint8Array(200);
    for (const counter of [0, 1, 65_536])
      assert.equal(nodeChacha(key, nonce, counter, zeros), toHex(chacha20(key, nonce, zeros, undefined, counter)));
  });

  it('[kat-aes256ctr] SP 800-38A, F.5.5; Node, Web Cryptography and noble give the same 300,000 words', async () => {
    const key = fromHex('603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4');
    const counter = fromHex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
    const block = fromHex('6bc1bee22e409f96e93d7e117393172a');
    const expected = '601ec313775789a5b7a7f504bbf3d228';
    assert.equal(createCipheriv('aes-256-ctr', key, counter).update(block).toString('hex'), expected);
    assert.equal(toHex(ctr(key, counter).encrypt(block)), expected);
    const words = new Uint8Array(4 * 300_000);
    const other = Uint8Array.from(seededEntropy(1).bytes(32));
    const web = await crypto.subtle.importKey('raw', other, 'AES-CTR', false, ['encrypt']);
    const algorithm = { name: 'AES-CTR', counter: new Uint8Array(16), length: 64 };
    const found = new Uint8Array(await crypto.subtle.encrypt(algorithm, web, words));
    assert.ok(createCipheriv('aes-256-ctr', other, new Uint8Array(16)).update(words).equals(found));
  });
});
