import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import {
  decodeMean,
  type Encoding,
  encodeDelta,
  fitsRing,
  fracBitsMax,
  isReachable,
} from '../../../shared/secure-aggregation/quantise.ts';
import { addTo, signedOf, zeroVector } from '../../../shared/secure-aggregation/ring.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

const stream = (seed: number) => createKeyStream(1, seededEntropy(seed).bytes(32));
const encoding: Encoding = { ringBits: 32, fracBits: 24, coordBound: 1, clipNorm: 10, weightMax: 1000 };

describe('fixed-point encoding', () => {
  it('[QNT-1] the most fractional bits are those of the formula, ⌊log2((2^(bits − 1) − 1 − n) / (n B))⌋', () => {
    const bits = (ringBits: 16 | 32, clientCount: number) => fracBitsMax({ ringBits, coordBound: 1 }, clientCount);
    assert.deepEqual(
      [10, 100, 1000].map((clientCount) => bits(32, clientCount)),
      [27, 24, 21],
    );
    assert.deepEqual(
      [10, 100, 1000].map((clientCount) => bits(16, clientCount)),
      [11, 8, 4],
    );
    assert.equal(fracBitsMax({ ringBits: 16, coordBound: 4000 }, 100), null);
    assert.equal(fracBitsMax({ ringBits: 32, coordBound: 1 }, 10, 100), 21);
  });

  it('[weighted-mean-accuracy] the mean of the ring is the weighted mean, within the bound of rounding', () => {
    const random = seededRandom(1, 'quantise');
    for (let run = 0; run < 40; run++) {
      const [dim, clientCount] = [1 + random.integer(200), 1 + random.integer(20)];
      const weights = Array.from({ length: clientCount }, (_, index) =>
        index === 0 ? encoding.weightMax : random.integer(4) === 0 ? 0 : random.integer(1200),
      );
      const deltas = weights.map(() => Float32Array.from({ length: dim }, () => random.normal() / 20));
      const sum = zeroVector(32, dim);
      let weightSum = 0;
      for (const [index, delta] of deltas.entries()) {
        const { vector, weightWord } = encodeDelta(delta, weights[index]!, encoding, stream(run * 100 + index));
        addTo(sum, vector);
        weightSum += weightWord;
      }
      const mean = decodeMean(sum, weightSum, encoding)!;
      const shares = weights.map((weight) => Math.round((Math.min(weight, 1000) / 1000) * 65_536) / 65_536);
      const total = shares.reduce((all, share) => all + share, 0);
      for (let place = 0; place < dim; place++) {
        const exact = deltas.reduce((all, delta, index) => all + shares[index]! * delta[place]!, 0) / total;
        // Every client is off by less than one unit of the last place.
        assert.ok(Math.abs(mean[place]! - exact) <= (clientCount * 2 ** -encoding.fracBits) / total);
      }
      assert.ok(isReachable(sum, encoding, clientCount));
    }
  });

  it('[overflow-boundary] all clients at the bound are exact up to the most that fit; one more is refused', () => {
    for (const ringBits of [16, 32] as const) {
      const coordBound = 1;
      const fracBits = fracBitsMax({ ringBits, coordBound }, 100)!;
      const own: Encoding = { ringBits, fracBits, coordBound, clipNorm: 100, weightMax: 1 };
      let clientCount = 100;
      while (fitsRing(own, clientCount + 1)) clientCount++;
      assert.equal(fitsRing(own, clientCount), true);
      for (const sign of [1, -1]) {
        const sum = zeroVector(ringBits, 3);
        let weightSum = 0;
        for (let client = 0; client < clientCount; client++) {
          const { vector, weightWord } = encodeDelta(new Float32Array(3).fill(sign), 1, own, stream(client));
          addTo(sum, vector);
          weightSum += weightWord;
        }
        assert.deepEqual([...decodeMean(sum, weightSum, own)!], [sign, sign, sign]);
        assert.ok(isReachable(sum, own, clientCount));
      }
    }
  });

  it('[stochastic-rounding-unbiased] a million draws are within five deviations of the value', () => {
    const count = 1_000_000;
    const own: Encoding = { ringBits: 32, fracBits: 2, coordBound: 1, clipNorm: 1e9, weightMax: 1 };
    const value = 0.0837;
    const { vector } = encodeDelta(new Float32Array(count).fill(value), 1, own, stream(7));
    const fraction = Math.fround(value) * 4;
    const mean = Array.from(signedOf(vector)).reduce((all, unit) => all + unit, 0) / count;
    assert.ok(
      Math.abs(mean - fraction) < 5 * Math.sqrt((fraction * (1 - fraction)) / count),
      `${mean} for ${fraction}`,
    );
  });

  it('[QNT-2] clips the norm, clamps and counts coordinates, and repeats itself with the same randomness', () => {
    const delta = Float32Array.of(3, -4, 0);
    const clipped: Encoding = { ...encoding, fracBits: 20, clipNorm: 0.5, coordBound: 1 };
    const { norm, vector, clampedCount } = encodeDelta(delta, 1000, clipped, stream(1));
    assert.equal(norm, 5);
    assert.equal(clampedCount, 0);
    const mean = decodeMean(vector, 65_536, clipped)!;
    for (const [place, expected] of [0.3, -0.4, 0].entries()) assert.ok(Math.abs(mean[place]! - expected) < 1e-5);
    const clamped = encodeDelta(delta, 1000, { ...clipped, clipNorm: 5 }, stream(2));
    assert.equal(clamped.clampedCount, 2);
    assert.deepEqual([...decodeMean(clamped.vector, 65_536, clipped)!], [1, -1, 0]);
    assert.deepEqual(encodeDelta(delta, 1000, clipped, stream(1)).vector, vector);
  });

  it('[QNT-3] what no honest cohort can reach is seen, and no weights give no mean', () => {
    const own = { fracBits: 4, coordBound: 1 };
    assert.equal(isReachable(Uint32Array.of(34, 2 ** 32 - 34), own, 2), true);
    assert.equal(isReachable(Uint32Array.of(35), own, 2), false);
    assert.equal(isReachable(Uint32Array.of(2 ** 32 - 35), own, 2), false);
    assert.equal(decodeMean(new Uint32Array(2), 0, own), null);
  });

  it('[nan-inf-delta] only finite deltas are encoded', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => encodeDelta(Float32Array.of(0, value), 1, encoding, stream(1)), /finite delta/);
  });
});
