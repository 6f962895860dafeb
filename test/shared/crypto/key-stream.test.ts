import { strict as assert } from 'node:assert';
import { concatBytes, toHex } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

describe('key stream', () => {
  const first = {
    1: '76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586',
    2: 'dc95c078a2408989ad48a21492842087',
  } as const;
  for (const suite of [1, 2] as const) {
    it(`[${suite === 1 ? 'kat-chacha20' : 'kat-aes256ctr'}] the first block under the zero key, natively and portably`, () => {
      for (const engine of [engineCrypto, null]) {
        const block = createKeyStream(suite, new Uint8Array(32), engine).next(64);
        assert.equal(toHex(block.subarray(0, first[suite].length / 2)), first[suite]);
      }
    });

    it(`[${suite === 1 ? 'kat-chacha20' : 'kat-aes256ctr'}] natively and portably the same bytes, in parts or at once, beyond 300,000 words`, () => {
      const key = seededEntropy(3).bytes(32);
      const [native, portable] = [createKeyStream(suite, key), createKeyStream(suite, key, null)];
      for (let part = 0; part < 19; part++)
        assert.deepEqual(Uint8Array.from(native.next(65_536)), portable.next(65_536));
      assert.deepEqual(Uint8Array.from(native.next(13)), portable.next(13));
      const [whole, parts] = [createKeyStream(suite, key), createKeyStream(suite, key, null)];
      const joined = concatBytes(...[64, 6_400, 128].map((count) => Uint8Array.from(parts.next(count))));
      assert.deepEqual(Uint8Array.from(whole.next(6_592)), joined);
    });

    it(`[KST-1] suite ${suite} is wiped with its last part`, () => {
      for (const engine of [engineCrypto, null]) {
        const stream = createKeyStream(suite, seededEntropy(4).bytes(32), engine);
        const part = stream.next(256);
        stream.wipe();
        assert.ok(part.every((byte) => byte === 0));
      }
    });
  }

  it('[KST-3] a stream that begins further on gives what the whole one gives there', () => {
    const key = seededEntropy(7).bytes(32);
    for (const suite of [1, 2] as const) {
      const whole = Uint8Array.from(createKeyStream(suite, key).next(65_536));
      for (const engine of [engineCrypto, null]) {
        const later = createKeyStream(suite, key, engine, 1_000);
        assert.deepEqual(Uint8Array.from(later.next(640)), whole.slice(64_000, 64_640));
        assert.deepEqual(Uint8Array.from(later.next(10)), whole.slice(64_640, 64_650));
      }
    }
  });

  it('[KST-2] the suites differ, and so do keys', () => {
    const [key, other] = [seededEntropy(5).bytes(32), seededEntropy(6).bytes(32)];
    const parts = [createKeyStream(1, key), createKeyStream(2, key), createKeyStream(1, other)].map((stream) =>
      toHex(stream.next(64)),
    );
    assert.equal(new Set(parts).size, 3);
  });
});
