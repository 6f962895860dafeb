import { strict as assert } from 'node:assert';
import { toHex, utf8 } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { createHash, digestOf, sha256 } from '../../../shared/crypto/hash.ts';

describe('SHA-256', () => {
  const vectors = [
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
    ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
  ] as const;
  for (const [text, expected] of vectors) {
    it(`[HASH-1] gives the published value for ${text.length} characters, natively and portably`, () => {
      assert.equal(digestOf(utf8(text)), expected);
      assert.equal(toHex(createHash(null).update(utf8(text)).digest()), expected);
    });
  }

  it('[HASH-2] natively and portably agrees on seeded views, in one part or several', () => {
    const random = seededRandom(1, 'hash');
    const pool = Uint8Array.from({ length: 4096 }, () => random.integer(256));
    for (let run = 0; run < 200; run++) {
      const start = random.integer(2000);
      const view = pool.subarray(start, start + random.integer(2000));
      const cut = random.integer(view.length + 1);
      const expected = toHex(createHash(null).update(view).digest());
      assert.equal(digestOf(view), expected);
      assert.equal(toHex(sha256(view.subarray(0, cut), view.subarray(cut))), expected);
    }
  });
});
