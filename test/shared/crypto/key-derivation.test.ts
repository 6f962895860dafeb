import { strict as assert } from 'node:assert';
import { fromHex, toHex, utf8 } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { deriveKey } from '../../../shared/crypto/key-derivation.ts';

/** Bytes `from` to `to`, inclusive. */
const range = (from: number, to: number): Uint8Array =>
  Uint8Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe('key derivation', () => {
  const cases = [
    {
      name: 'RFC 5869 case 1',
      secret: new Uint8Array(22).fill(0x0b),
      salt: range(0, 12),
      info: range(0xf0, 0xf9),
      expected: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    },
    {
      name: 'RFC 5869 case 2',
      secret: range(0x00, 0x4f),
      salt: range(0x60, 0xaf),
      info: range(0xb0, 0xff),
      expected:
        'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
    },
    {
      name: 'RFC 5869 case 3',
      secret: new Uint8Array(22).fill(0x0b),
      salt: new Uint8Array(0),
      info: new Uint8Array(0),
      expected: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
    },
    {
      name: 'a key of this protocol',
      secret: new Uint8Array(32).fill(1),
      salt: new Uint8Array(32).fill(2),
      info: utf8('fal/v1/mask'),
      expected: '7b52ee3ea3372495e1e2a85742ea3685938a7e8e7389fd699004467f92fe5bdd',
    },
  ];
  for (const { name, expected, ...source } of cases) {
    it(`[kat-hkdf-rfc5869] ${name}, natively and portably`, () => {
      const byteCount = fromHex(expected).length;
      for (const engine of [engineCrypto, null]) assert.equal(toHex(deriveKey(source, byteCount, engine)), expected);
    });
  }
});
