/** What everything that expands masks must do; each implementation runs this whole suite. */
import { strict as assert } from 'node:assert';
import { bytesOf, toHex } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { sha256 } from '../../shared/crypto/hash.ts';
import type { MaskToApply } from '../../shared/secure-aggregation/client-state.ts';
import { applyMask, type MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import type { MaskWork } from '../../shared/secure-aggregation/mask-work.ts';
import { type RingBits, zeroVector } from '../../shared/secure-aggregation/ring.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';

/** Masks with keys of their own; every third is taken off. */
function masksOf(count: number): MaskToApply[] {
  const entropy = seededEntropy(count);
  return Array.from({ length: count }, (_, index) => ({
    seed: { coordinates: entropy.bytes(32), tail: entropy.bytes(32) },
    sign: index % 3 === 2 ? -1 : 1,
  }));
}

function vectorOf(bits: RingBits, dim: number): MaskedVector {
  const random = seededRandom(bits, dim, 'vector');
  const coordinates = zeroVector(bits, dim);
  for (const index of coordinates.keys()) coordinates[index] = random.integer(2 ** 16);
  return { coordinates, tail: Uint32Array.of(1, 2, 3, 4) };
}

const hashOf = ({ coordinates, tail }: MaskedVector): string => toHex(sha256(bytesOf(coordinates), bytesOf(tail)));

/** Registers the suite. */
export function maskWorkContract(name: string, open: () => MaskWork): void {
  describe(`mask work contract: ${name}`, () => {
    let work: MaskWork;
    before(() => {
      work = open();
    });
    after(() => work.close());

    for (const suite of [1, 2] as const) {
      for (const bits of [16, 32] as const) {
        it(`[MWK-1] suite ${suite}, ring ${bits}: the words that masks applied one by one give`, async () => {
          for (const dim of [1, 65_536, 100_003]) {
            const expected = vectorOf(bits, dim);
            for (const { seed, sign } of masksOf(35)) applyMask(expected, seed, sign, suite);
            const vector = vectorOf(bits, dim);
            await work.apply(vector, masksOf(35), suite);
            assert.equal(hashOf(vector), hashOf(expected), `${dim} words`);
          }
        });
      }
    }

    it('[MWK-2] kat-masked-vector: frozen words of three masks', async () => {
      const vector = { coordinates: new Uint32Array(100_000), tail: new Uint32Array(4) };
      const key = (digit: number): Uint8Array => new Uint8Array(32).fill(digit);
      const masks = [1, 2, 3].map((digit) => ({
        seed: { coordinates: key(digit), tail: key(16 + digit) },
        sign: digit === 2 ? (-1 as const) : (1 as const),
      }));
      await work.apply(vector, masks, 1);
      assert.equal(hashOf(vector), 'de791700fb712fe977e35f4b8fbb6bf77af02de62a1be3723bed9fee5728ce46');
    });

    it('[MWK-3] keys are zeroed, and asked for a few at a time', async () => {
      const masks = masksOf(80);
      let most = 0;
      function* handedOut() {
        for (const mask of masks) {
          yield mask;
          most = Math.max(
            most,
            masks.filter(({ seed }, index) => index <= masks.indexOf(mask) && seed.tail[0] !== 0).length,
          );
        }
      }
      await work.apply(vectorOf(32, 70_000), handedOut(), 1);
      assert.ok(most <= 33, `at most 33 keys at once, found ${most}`);
      for (const { seed } of masks) assert.ok([...seed.coordinates, ...seed.tail].every((byte) => byte === 0));
    });

    it('[MWK-4] vectors at the same time do not meet', async () => {
      const vectors = [70_000, 80_000, 90_000].map((dim) => vectorOf(32, dim));
      const expected = vectors.map(({ coordinates, tail }) => {
        const copy = { coordinates: coordinates.slice(), tail: tail.slice() };
        for (const { seed, sign } of masksOf(4)) applyMask(copy, seed, sign, 1);
        return hashOf(copy);
      });
      await Promise.all(vectors.map((vector) => work.apply(vector, masksOf(4), 1)));
      assert.deepEqual(vectors.map(hashOf), expected);
    });
  });
}
