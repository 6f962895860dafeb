import { strict as assert } from 'node:assert';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { openBox, sealBox } from '../../../shared/crypto/secret-box.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

describe('secret box', () => {
  const [key, text] = [seededEntropy(1).bytes(32), seededEntropy(2).bytes(64)];

  it('[kat-nacl-box] is what another implementation seals under a zero nonce', () => {
    assert.deepEqual(sealBox(key, text), xsalsa20poly1305(key, new Uint8Array(24)).encrypt(text));
  });

  it('[BOX-1] opens under its key only, and only unchanged', () => {
    const box = sealBox(key, text);
    assert.equal(box.length, 80);
    assert.deepEqual(openBox(key, box), text);
    assert.equal(openBox(seededEntropy(3).bytes(32), box), null);
    for (const place of [0, 15, 16, 79]) {
      const changed = Uint8Array.from(box);
      changed[place]! ^= 1;
      assert.equal(openBox(key, changed), null);
    }
    assert.equal(openBox(key, box.subarray(1)), null);
    assert.equal(openBox(key, new Uint8Array(3)), null);
  });
});
