import { strict as assert } from 'node:assert';
import { bytesOf, toHex } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { sha256 } from '../../../shared/crypto/hash.ts';
import { agreementPublicKey } from '../../../shared/crypto/key-agreement.ts';
import type { MaskedSuite } from '../../../shared/crypto/key-stream.ts';
import {
  applyMask,
  type MaskedVector,
  pairMaskSeed,
  pairSign,
  selfMaskSeed,
} from '../../../shared/secure-aggregation/mask.ts';
import { addTo, type RingBits, zeroVector } from '../../../shared/secure-aggregation/ring.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

const rosterHash = '5a'.repeat(32) as Digest;
const secrets = (count: number, seed: number) =>
  Array.from({ length: count }, (_, place) => ({
    pair: seededEntropy(seed + 2 * place).bytes(32),
    own: seededEntropy(seed + 2 * place + 1).bytes(32),
  }));

/** Uploads of all places, as the equation has them. */
function uploads(vectors: readonly MaskedVector[], suite: MaskedSuite, seed: number): MaskedVector[] {
  const own = secrets(vectors.length, seed);
  const keys = own.map(({ pair }) => agreementPublicKey(pair));
  return vectors.map(({ coordinates, tail }, place) => {
    const masked = { coordinates: coordinates.slice(), tail: tail.slice() };
    applyMask(masked, selfMaskSeed(own[place]!.own, rosterHash, place), 1, suite);
    for (const [other, key] of keys.entries()) {
      if (other === place) continue;
      const shared = pairMaskSeed(own[place]!.pair, key, rosterHash, [place, other])!;
      applyMask(masked, shared, pairSign(place, other), suite);
    }
    return masked;
  });
}

function emptyVector(bits: RingBits, dim: number, words: number): MaskedVector {
  return { coordinates: zeroVector(bits, dim), tail: new Uint32Array(words) };
}

function sumOf(vectors: readonly MaskedVector[], bits: RingBits): MaskedVector {
  const sum = emptyVector(bits, vectors[0]!.coordinates.length, vectors[0]!.tail.length);
  for (const { coordinates, tail } of vectors) {
    addTo(sum.coordinates, coordinates);
    addTo(sum.tail, tail);
  }
  return sum;
}

describe('masks', () => {
  for (const suite of [1, 2] as const) {
    for (const bits of [16, 32] as const) {
      it(`[MKW-1] suite ${suite}, ring ${bits}: without the self masks the sum of uploads is the sum of vectors`, () => {
        const random = seededRandom(suite, bits, 'vectors');
        const dim = 70_001;
        const vectors = Array.from({ length: 4 }, () => {
          const vector = emptyVector(bits, dim, 5);
          for (let index = 0; index < dim; index++) vector.coordinates[index] = random.integer(2 ** bits);
          for (let index = 0; index < 5; index++) vector.tail[index] = random.integer(2 ** 32);
          return vector;
        });
        const sum = sumOf(uploads(vectors, suite, 10), bits);
        for (const [place, { own }] of secrets(4, 10).entries())
          applyMask(sum, selfMaskSeed(own, rosterHash, place), -1, suite);
        assert.deepEqual(sum, sumOf(vectors, bits));
      });

      it(`[kat-masked-vector] suite ${suite}, ring ${bits}: four clients, seventeen coordinates`, () => {
        const vectors = Array.from({ length: 4 }, (_, place) => {
          const vector = emptyVector(bits, 17, 2);
          for (let index = 0; index < 17; index++) vector.coordinates[index] = 100 * place + index;
          vector.tail.set([place, 65_536]);
          return vector;
        });
        const frozen = {
          '1/16': '7309b03e3f5a69d57f6dcd93c9476e105472489f66766191b37b5a52b1db2e31',
          '1/32': '558611905ec7f37b80c7f75d24e9415fdbae44297a444db67cfd506090173d52',
          '2/16': '3e2385f73f4fc5839cfacaa121014d1accd319b84a990a5fb6c01c32a736c313',
          '2/32': '1eee1e1e6513cf7b6ac85ee7e6270c882697d7fc418ac20a6e2af7418da497c8',
        } as Record<string, string>;
        const all = uploads(vectors, suite, 40).flatMap(({ coordinates, tail }) => [
          ...bytesOf(coordinates),
          ...bytesOf(tail),
        ]);
        assert.equal(toHex(sha256(Uint8Array.from(all))), frozen[`${suite}/${bits}`]);
      });
    }

    it(`[single-mask-uniform] suite ${suite}: an upload of nothing and one of the largest numbers look alike`, () => {
      for (const word of [0, 2 ** 32 - 1]) {
        const vector = { coordinates: new Uint32Array(50_000).fill(word), tail: new Uint32Array(1) };
        const [first] = uploads([vector, vector, vector], suite, 70);
        const counts = new Float64Array(256);
        let [ones, runs, previous] = [0, 1, -1];
        for (const byte of bytesOf(first!.coordinates)) {
          counts[byte]! += 1;
          for (let bit = 0; bit < 8; bit++) {
            const value = (byte >> bit) & 1;
            ones += value;
            if (previous >= 0 && value !== previous) runs += 1;
            previous = value;
          }
        }
        const expected = 200_000 / 256;
        const chiSquared = counts.reduce((all, count) => all + (count - expected) ** 2 / expected, 0);
        // 255 degrees of freedom: beyond 380 once in ten million; bits: five deviations.
        assert.ok(chiSquared < 380, `chi squared ${chiSquared}`);
        assert.ok(Math.abs(ones - 800_000) < 5 * Math.sqrt(400_000));
        assert.ok(Math.abs(runs - 800_000) < 5 * Math.sqrt(400_000));
      }
    });
  }

  it('[MKW-2] both sides of a pair derive the same seed; other rosters, places and purposes another', () => {
    const [left, right] = secrets(2, 90);
    const [leftKey, rightKey] = [agreementPublicKey(left!.pair), agreementPublicKey(right!.pair)];
    const seed = pairMaskSeed(left!.pair, rightKey, rosterHash, [3, 7])!;
    assert.deepEqual(pairMaskSeed(right!.pair, leftKey, rosterHash, [7, 3]), seed);
    const others = [
      pairMaskSeed(left!.pair, rightKey, rosterHash, [3, 8])!,
      pairMaskSeed(left!.pair, rightKey, 'a5'.repeat(32) as Digest, [3, 7])!,
      selfMaskSeed(left!.own, rosterHash, 3),
      selfMaskSeed(left!.own, rosterHash, 4),
    ];
    const keys = [seed, ...others].flatMap(({ coordinates, tail }) => [toHex(coordinates), toHex(tail)]);
    assert.equal(new Set(keys).size, keys.length);
  });

  it('[low-order-x25519] a key that everybody can compute with gives no seed', () => {
    assert.equal(pairMaskSeed(seededEntropy(1).bytes(32), new Uint8Array(32), rosterHash, [0, 1]), null);
  });
});
