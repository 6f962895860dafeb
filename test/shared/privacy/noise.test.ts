import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import { type SeededRandom, seededRandom } from '../../../shared/core/random.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import {
  type AdaptiveClip,
  clipNormFrom,
  indicatorNoise,
  nextClipNorm,
  updateNoise,
} from '../../../shared/privacy/adaptive-clip.ts';
import { addOnGrid, centralTerms, clipFactor, noisyMean } from '../../../shared/privacy/central-noise.ts';
import {
  type DistributedSettings,
  decodePrivately,
  distributedTerms,
  distributedTermsAt,
  encodePrivately,
  honestCountMin,
  indicatorTermsOf,
  indicatorUnit,
} from '../../../shared/privacy/distributed-noise.ts';
import { skellam } from '../../../shared/privacy/poisson.ts';
import { type RandomIntegers, randomIntegers } from '../../../shared/privacy/random-integers.ts';
import { epsilonOfRdp } from '../../../shared/privacy/rdp-accountant.ts';
import { rotate, rotateBack } from '../../../shared/privacy/rotation.ts';
import { roundedSensitivity, skellamRdp, wholeOrders } from '../../../shared/privacy/skellam-accountant.ts';
import { addTo, signedOf, zeroVector } from '../../../shared/secure-aggregation/ring.ts';
import { thresholdsOf } from '../../../shared/secure-aggregation/threshold.ts';

const stream = (seed: number) => createKeyStream(1, new Uint8Array(32).fill(seed));
const rotation = 'c3'.repeat(32) as Digest;
const near = (found: number, expected: number, relative: number): void =>
  assert.ok(Math.abs(found - expected) <= relative * Math.abs(expected), `${found}, expected ${expected}`);
const normOf = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));
const deltaOf = (dim: number, seed: number, scale = 1): Float32Array => {
  const random = seededRandom(seed, 'delta');
  return Float32Array.from({ length: dim }, () => scale * random.normal());
};

describe('privacy of sums with noise', () => {
  it('[DPS-1] Δ₂, Δ₁ and the divergences of Skellam noise are those of the published formulas', () => {
    for (const [scale, l2, l1, rdp] of [
      [1024, 1024.6295971659, 32401.6328506497, [1.0012308203, 4.0049238649, 16.019696043]],
      [8, 18.3796460331, 337.8113883008, [5.46386828, 21.546197557, 85.8755146651]],
    ] as const) {
      const sensitivity = roundedSensitivity(scale, 1000);
      near(sensitivity.l2, l2, 1e-11);
      near(sensitivity.l1, l1, 1e-11);
      for (const [index, order] of [2, 8, 32].entries())
        near(skellamRdp(sensitivity, scale ** 2, order), rdp[index]!, 1e-9);
    }
  });

  it('[DPS-2] a rotation keeps norms, spreads a single spike, and is undone', () => {
    for (const dim of [1, 2, 7, 64, 1000]) {
      const values = Float64Array.from(deltaOf(dim, dim));
      const rotated = values.slice();
      rotate(rotated, rotation);
      near(normOf(rotated), normOf(values), 1e-12);
      rotateBack(rotated, rotation);
      for (const [index, value] of values.entries()) assert.ok(Math.abs(rotated[index]! - value) < 1e-9);
    }
    for (const place of [0, 600, 999]) {
      const spike = new Float64Array(1000);
      spike[place] = 1;
      rotate(spike, rotation);
      assert.ok(Math.max(...spike.map(Math.abs)) < 0.2);
    }
  });

  const settings: DistributedSettings = {
    ringBits: 32,
    dim: 300,
    clipNorm: 1,
    noiseMultiplier: 1,
    clientCountMin: 7,
    clientCountMax: 10,
    profile: 'active',
  };

  it('[DPS-3] noise is sized for the honest clients that remain at worst', () => {
    // Of 7 clients 5 open a sum, at most 2 collude; but the quorum of the plan asks for 7. Of 10, 7 open it and 3 collude.
    assert.equal(honestCountMin(settings), 4);
    const terms = distributedTerms(settings);
    assert.ok(terms !== null);
    assert.ok(terms.varianceMin >= (2 ** terms.fracBits) ** 2);
    assert.equal(terms.varianceMin, 4 * 2 * terms.halfVariance);
  });

  for (const ringBits of [16, 32] as const) {
    it(`[DPS-4/${ringBits}] the mean of encoded deltas is that of clipped ones plus the noise, in a ring of ${ringBits} bits`, () => {
      const terms = distributedTerms({ ...settings, ringBits, noiseMultiplier: 0.5 });
      assert.ok(terms !== null);
      const sum = zeroVector(ringBits, settings.dim);
      const expected = new Float64Array(settings.dim);
      const clientCount = 10;
      for (let client = 0; client < clientCount; client++) {
        const delta = deltaOf(settings.dim, client, client % 2 === 0 ? 1 : 0.01);
        const shrink = Math.min(1, 1 / normOf(delta));
        for (let index = 0; index < delta.length; index++) expected[index]! += (delta[index]! * shrink) / clientCount;
        const { vector } = encodePrivately(delta, terms, { rotation, secret: stream(client) });
        addTo(sum, vector);
      }
      const mean = decodePrivately(sum, terms, { rotation, clientCount });
      const errors = mean.map((value, index) => (value - expected[index]!) * clientCount);
      const found = errors.reduce((total, error) => total + error * error, 0) / errors.length;
      const noise = 2 * terms.halfVariance * clientCount * 4 ** -terms.fracBits;
      near(found, noise, 0.4);
    });
  }

  it('[DPS-5] a repeated attempt encodes the same integers', () => {
    const terms = distributedTerms(settings)!;
    const encode = () => encodePrivately(deltaOf(300, 1), terms, { rotation, secret: stream(5) }).vector;
    assert.deepEqual(encode(), encode());
  });

  for (const ringBits of [16, 32] as const)
    it(`[DPS-6/${ringBits}] clip-sensitivity: with and without one client the opened sums differ by at most C 2^f and what rounding adds, in a ring of ${ringBits} bits`, () => {
      const { dim, clipNorm } = settings;
      for (const fracBits of [3, distributedTerms({ ...settings, ringBits })!.fracBits]) {
        // Half a variance of zero takes the noise away.
        const terms = { ...distributedTermsAt({ ...settings, ringBits }, fracBits), halfVariance: 0 };
        const scaled = clipNorm * 2 ** fracBits;
        const spike = new Float32Array(dim);
        spike[7] = 1e6;
        const joining = [0.001, 1, 1000].map((scale) => deltaOf(dim, 50, scale));
        for (const [index, delta] of [...joining, spike, new Float32Array(dim).fill(-1e30)].entries()) {
          const sum = zeroVector(ringBits, dim);
          const add = (values: Float32Array, seed: number): void =>
            addTo(sum, encodePrivately(values, terms, { rotation, secret: stream(seed) }).vector);
          for (let client = 0; client < 6; client++) add(deltaOf(dim, client), client);
          const before = Float64Array.from(signedOf(sum));
          add(delta, 20 + index);
          const moved = normOf(Float64Array.from(signedOf(sum), (value, at) => value - before[at]!));
          // Kairouz and others 2021, the bound of conditional rounding with β = e^−½.
          const bound = Math.sqrt(scaled ** 2 + dim / 4 + scaled + Math.sqrt(dim) / 2);
          assert.ok(moved <= bound, `${moved} above ${bound}`);
          if (index > 0) assert.ok(moved > 0.9 * scaled, `${moved}: what is longer than C is not cut to less than it`);
        }
      }
    });

  it('[DPS-7] Skellam noise costs hardly more than Gaussian noise of the same multiplier', () => {
    const terms = distributedTerms(settings)!;
    const rounds = 20;
    const skellamCost = epsilonOfRdp(
      (order) => rounds * skellamRdp(terms.sensitivity, terms.varianceMin, order),
      1e-5,
      wholeOrders,
    );
    const gaussianCost = epsilonOfRdp((order) => (rounds * order) / 2, 1e-5, wholeOrders);
    assert.ok(skellamCost.epsilon >= gaussianCost.epsilon);
    near(skellamCost.epsilon, gaussianCost.epsilon, 1e-3);
  });

  it('[DPS-9] skellam-sampler: what the honest bring at the worst dropout and collusion still has the variance that is accounted for', () => {
    const { dim, clipNorm, noiseMultiplier, clientCountMin, clientCountMax, profile } = settings;
    const terms = distributedTerms(settings)!;
    const target = (noiseMultiplier * clipNorm * 2 ** terms.fracBits) ** 2;
    const runs = 20;
    for (let rosterCount = clientCountMin; rosterCount <= clientCountMax; rosterCount++) {
      const { vanishedMax, colludersMax } = thresholdsOf(rosterCount, profile);
      const survivors = Math.max(rosterCount - vanishedMax, clientCountMin);
      let squares = 0;
      for (let run = 0; run < runs; run++) {
        const sum = zeroVector(terms.ringBits, dim);
        for (let honest = 0; honest < survivors - colludersMax; honest++) {
          const secret = createKeyStream(
            1,
            new Uint8Array(32)
              .fill(100 + honest)
              .fill(run, 8)
              .fill(rosterCount, 16),
          );
          addTo(sum, encodePrivately(new Float32Array(dim), terms, { rotation, secret }).vector);
        }
        squares += normOf(signedOf(sum)) ** 2;
      }
      const variance = squares / (runs * dim);
      // Five standard errors.
      assert.ok(variance / target > 1 - 5 * Math.sqrt(2 / (runs * dim)), `${rosterCount}: ${variance} for ${target}`);
    }
  });

  it('[DPS-8] no grid is invented for a sum that does not fit', () => {
    assert.equal(distributedTerms({ ...settings, ringBits: 16, clientCountMax: 128, noiseMultiplier: 1e6 }), null);
  });
});

describe('central noise', () => {
  it('[DPC-1] clip-sensitivity: any two neighbouring sums differ by at most C 2^f + √d/2, and by nearly that much', () => {
    for (const [clipNorm, noiseMultiplier, dim] of [
      [1, 2, 500],
      [0.01, 0.5, 3],
      [300, 40, 2000],
    ] as const) {
      const terms = centralTerms({ clipNorm, noiseMultiplier, dim });
      const bound = clipNorm * 2 ** terms.fracBits + Math.sqrt(dim) / 2;
      assert.ok(terms.deviation >= noiseMultiplier * bound && terms.deviation <= 1.1 * noiseMultiplier * bound);
      const spike = new Float32Array(dim);
      spike[dim - 1] = -1e20;
      const halves = new Float32Array(dim).fill(0.5 * 2 ** -terms.fracBits);
      const drawn = [1e-3, 1, 1e3].map((scale) => deltaOf(dim, 2, scale * clipNorm));
      let most = 0;
      for (const own of [...drawn, spike, halves, new Float32Array(dim)]) {
        const sum = new Float64Array(dim);
        const others = deltaOf(dim, 1, clipNorm);
        addOnGrid(sum, others, clipFactor(normOf(others), clipNorm), terms);
        const before = sum.slice();
        addOnGrid(sum, own, clipFactor(normOf(own), clipNorm), terms);
        const moved = normOf(sum.map((value, index) => value - before[index]!));
        assert.ok(moved <= bound, `${moved} above ${bound}`);
        assert.ok(sum.every(Number.isInteger));
        most = Math.max(most, moved / bound);
      }
      assert.ok(most > 0.99, `what is longer than C moves the sum by ${most} of the bound: it is cut to less`);
    }
  });

  it('[DPC-2] the mean is unbiased and has the noise', () => {
    const dim = 2000;
    const terms = centralTerms({ clipNorm: 1, noiseMultiplier: 3, dim });
    const mean = new Float64Array(dim).fill(2 ** terms.fracBits);
    noisyMean(mean, terms, { clientCount: 4, random: randomIntegers(stream(2)) });
    const average = mean.reduce((sum, value) => sum + value, 0) / dim;
    const variance = mean.reduce((sum, value) => sum + (value - average) ** 2, 0) / dim;
    assert.ok(Math.abs(average - 0.25) < 5 * (0.75 / Math.sqrt(dim)));
    near(Math.sqrt(variance), 0.75, 0.1);
  });
});

describe('adaptive clipping', () => {
  const clientCount = 128;
  /** Norms of a round, log-normal around 1. */
  const lengths = (random: SeededRandom): number[] =>
    Array.from({ length: clientCount }, () => Math.exp(0.5 * random.normal()));
  const indicator = indicatorTermsOf({
    clientCountMin: clientCount,
    clientCountMax: clientCount,
    profile: 'active',
    noiseMultiplier: 1,
  });
  /** The next norm as the coordinator makes it of readable updates, and as it follows from a masked sum of indicators with noise of each client. */
  const followers = {
    central: (now: Parameters<typeof nextClipNorm>[0], settings: AdaptiveClip, random: RandomIntegers) =>
      nextClipNorm(now, settings, { deviation: indicatorNoise(clientCount, 1), random }),
    distributed: (now: Parameters<typeof nextClipNorm>[0], settings: AdaptiveClip, random: RandomIntegers) => {
      const draw = skellam(random, indicator.halfVariance);
      let noisyCount = now.withinCount - clientCount / 2;
      for (let client = 0; client < clientCount; client++) noisyCount += draw() / indicatorUnit;
      return clipNormFrom({ ...now, noisyCount }, settings);
    },
  };
  for (const [mechanism, follow] of Object.entries(followers))
    for (const [quantile, from, expected] of [
      [0.5, 0.1, 1],
      [0.5, 10, 1],
      // A fifth of the norms are longer.
      [0.8, 0.1, Math.exp(0.5 * 0.841621)],
    ] as const)
      it(`[DPA-1/${mechanism}-${quantile}-from-${from}] adaptive-clip-tracks-quantile: after 50 rounds within ten percent of the quantile of log-normal norms`, () => {
        for (const seed of [1, 2, 3]) {
          const random = seededRandom(seed, 'norms');
          const noise = randomIntegers(stream(seed));
          let clipNorm: number = from;
          for (let round = 0; round < 50; round++) {
            const withinCount = lengths(random).filter((norm) => norm <= clipNorm).length;
            clipNorm = follow({ clipNorm, withinCount, clientCount }, { quantile, learningRate: 0.2 }, noise);
          }
          near(clipNorm, expected, 0.1);
        }
      });

  it('[DPA-2] update and indicators together cost what the whole multiplier costs', () => {
    for (const [clientCount, z] of [
      [100, 1],
      [10, 4],
    ] as const) {
      const deviation = indicatorNoise(clientCount, z);
      near(updateNoise(z, deviation) ** -2 + (2 * deviation) ** -2, z ** -2, 1e-12);
      assert.ok(updateNoise(z, deviation) > z);
    }
  });
});
