import { strict as assert } from 'node:assert';
import { fromHex, toHex } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { agree, agreementPublicKey, isSoundAgreementKey } from '../../../shared/crypto/key-agreement.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

const engines = [
  ['the engine', engineCrypto],
  ['tweetnacl', null],
] as const;

describe('key agreement', () => {
  for (const [name, engine] of engines) {
    it(`[kat-x25519-rfc7748] section 5.2: both vectors through ${name}`, () => {
      const vectors = [
        [
          'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
          'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
          'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
        ],
        [
          '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
          'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
          '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
        ],
      ] as const;
      for (const [scalar, point, expected] of vectors)
        assert.equal(toHex(agree(fromHex(scalar), fromHex(point), engine)!), expected);
    });

    it(`[kat-x25519-rfc7748] section 5.2: iterated through ${name}`, () => {
      let [scalar, point] = [fromHex(`09${'00'.repeat(31)}`), fromHex(`09${'00'.repeat(31)}`)];
      const expected = {
        1: '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079',
        1000: '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51',
      } as Record<number, string>;
      for (let count = 1; count <= 1000; count++) {
        const next = agree(scalar, point, engine)!;
        [point, scalar] = [scalar, next];
        if (expected[count] !== undefined) assert.equal(toHex(scalar), expected[count]);
      }
    });

    it(`[low-order-x25519] keys of low order give nothing through ${name}`, () => {
      const secret = seededEntropy(1).bytes(32);
      const lowOrders = [
        '00'.repeat(32),
        `01${'00'.repeat(31)}`,
        'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
        '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
        `ec${'ff'.repeat(30)}7f`,
        `ed${'ff'.repeat(30)}7f`,
        `ee${'ff'.repeat(30)}7f`,
      ];
      for (const key of lowOrders) {
        for (const top of [0, 0x80]) {
          const encoded = fromHex(key);
          encoded[31]! |= top;
          assert.equal(agree(secret, encoded, engine), null, key);
          assert.equal(isSoundAgreementKey(encoded), false, key);
        }
      }
      assert.equal(isSoundAgreementKey(agreementPublicKey(secret)), true);
    });
  }

  it('[KAG-1] both sides agree, natively and portably', () => {
    const entropy = seededEntropy(2);
    for (let run = 0; run < 20; run++) {
      const [left, right] = [entropy.bytes(32), entropy.bytes(32)];
      const leftKey = agreementPublicKey(left);
      assert.deepEqual(leftKey, agreementPublicKey(left, null));
      const expected = agree(left, agreementPublicKey(right));
      assert.notEqual(expected, null);
      assert.deepEqual(agree(right, leftKey, null), expected);
    }
  });
});
