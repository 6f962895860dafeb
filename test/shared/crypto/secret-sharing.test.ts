import { strict as assert } from 'node:assert';
import { combine } from 'shamir-secret-sharing';
import { toHex } from '../../../shared/core/bytes.ts';
import type { Entropy } from '../../../shared/core/ports.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { combineShares, multiply, splitSecret } from '../../../shared/crypto/secret-sharing.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

/** Entropy that gives these bytes. */
const fixed = (...bytes: number[]): Entropy => ({ bytes: (count) => Uint8Array.from(bytes.slice(0, count)) });
const at = (shares: readonly Uint8Array[], points: readonly number[]) =>
  points.map((point) => ({ point, bytes: shares[point - 1]! }));

describe('secret sharing', () => {
  it('[kat-shamir] the field is that of AES', () => {
    assert.equal(multiply(0x53, 0xca), 1);
    for (let value = 1; value < 256; value++) assert.equal(multiply(value, 1), value);
  });

  it('[kat-shamir] known polynomials', () => {
    const line = splitSecret(Uint8Array.of(0x2a), { shareCount: 255, threshold: 2 }, fixed(0x13));
    assert.deepEqual(
      [1, 2, 3, 255].map((point) => toHex(line[point - 1]!)),
      ['39', '0c', '1f', '59'],
    );
    const curve = splitSecret(Uint8Array.of(0x53), { shareCount: 4, threshold: 3 }, fixed(0xca, 0x01));
    assert.deepEqual(curve.map(toHex), ['98', 'd8', '13', '46']);
  });

  it('[kat-shamir] another implementation reads our shares', async () => {
    const secret = seededEntropy(1).bytes(32);
    const shares = splitSecret(secret, { shareCount: 10, threshold: 7 }, seededEntropy(2));
    const foreign = at(shares, [2, 3, 5, 7, 8, 9, 10]).map(({ point, bytes }) => Uint8Array.from([...bytes, point]));
    assert.deepEqual(await combine(foreign), secret);
  });

  it('[SSS-1] any threshold of shares gives the secret, one less does not', () => {
    const random = seededRandom(3, 'shares');
    for (let run = 0; run < 60; run++) {
      const shareCount = 1 + random.integer(40);
      const threshold = 1 + random.integer(shareCount);
      const secret = seededEntropy(100 + run).bytes(32);
      const shares = splitSecret(secret, { shareCount, threshold }, seededEntropy(200 + run));
      const points = random.shuffle(shares.map((_, index) => index + 1));
      assert.deepEqual(combineShares(at(shares, points.slice(0, threshold))), secret);
      assert.deepEqual(combineShares(at(shares, points)), secret);
      if (threshold > 1) assert.notDeepEqual(combineShares(at(shares, points.slice(1, threshold))), secret);
    }
  });

  it('[t-1-shares-independent] two of three: a single share takes every value equally often, whatever the secret', () => {
    for (const point of [1, 2, 3]) {
      for (const secret of [0x00, 0x5a]) {
        const seen = new Set<number>();
        for (let coefficient = 0; coefficient < 256; coefficient++) {
          const shares = splitSecret(Uint8Array.of(secret), { shareCount: 3, threshold: 2 }, fixed(coefficient));
          seen.add(shares[point - 1]![0]!);
        }
        assert.equal(seen.size, 256);
      }
    }
  });

  it('[SSS-2] impossible counts and doubled points are bugs of the caller', () => {
    const secret = new Uint8Array(32);
    assert.throws(() => splitSecret(secret, { shareCount: 256, threshold: 2 }, seededEntropy(1)), /1 to 255 shares/);
    assert.throws(
      () => splitSecret(secret, { shareCount: 3, threshold: 4 }, seededEntropy(1)),
      /from 1 to the 3 shares/,
    );
    const share = { point: 1, bytes: secret };
    assert.throws(() => combineShares([share, share]), /different points/);
  });
});
