import { strict as assert } from 'node:assert';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { discreteGaussian, discreteLaplace, sampledDeviation } from '../../../shared/privacy/discrete-gaussian.ts';
import { normalCdf } from '../../../shared/privacy/normal.ts';
import { poisson, skellam } from '../../../shared/privacy/poisson.ts';
import { exponentialCoin, type RandomIntegers, randomIntegers } from '../../../shared/privacy/random-integers.ts';
import { poissonSample } from '../../../shared/privacy/record-sampling.ts';

const seeded = (seed: number): RandomIntegers => randomIntegers(createKeyStream(1, new Uint8Array(32).fill(seed)));

const draws = (count: number, draw: () => number): number[] => Array.from({ length: count }, draw);

/** χ² of counts against probabilities, cells below five expected taken together; as a deviation from its mean in its standard deviations. */
function chiSquared(values: readonly number[], probabilityOf: (value: number) => number): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  let [statistic, cells, restCount, restExpected] = [0, 0, values.length, values.length];
  for (let value = low; value <= high; value++) {
    const expected = values.length * probabilityOf(value);
    if (expected < 5) continue;
    const count = counts.get(value) ?? 0;
    statistic += (count - expected) ** 2 / expected;
    restCount -= count;
    restExpected -= expected;
    cells++;
  }
  if (restExpected > 5) statistic += (restCount - restExpected) ** 2 / restExpected;
  return (statistic - cells) / Math.sqrt(2 * cells);
}

/** Mean and variance are within five of their standard errors; `kurtosis` of the distribution. */
function checkMoments(values: readonly number[], variance: number, kurtosis = 3): void {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const found = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  assert.ok(Math.abs(mean) < 5 * Math.sqrt(variance / values.length), `mean ${mean}`);
  const error = Math.sqrt((kurtosis - 1) / values.length);
  assert.ok(Math.abs(found / variance - 1) < 5 * error, `variance ${found}, expected ${variance}`);
}

/** χ² in cells of a quarter of a deviation, where the distribution is that of a rounded normal one but for far less than chance. */
function checkSpread(values: readonly number[], deviation: number): void {
  const cellOf = (value: number): number => Math.floor((4 * (value + 0.5)) / deviation);
  /** Where a cell begins: between two whole numbers. */
  const place = (cell: number): number => (Math.ceil((cell * deviation) / 4 - 0.5) - 0.5) / deviation;
  const fit = chiSquared(values.map(cellOf), (cell) => normalCdf(place(cell + 1)) - normalCdf(place(cell)));
  assert.ok(Math.abs(fit) < 5, `χ² ${fit}`);
}

/** P[mean + y] / P[mean] times e^(|y|/scale − 7/10), in units of 2^-53, from fractions. */
function keptProbability(mean: number, y: number, scale: number): bigint {
  const one = 1n << 400n;
  let value = one;
  for (let index = 1; index <= y; index++) value = (value * BigInt(mean)) / BigInt(mean + index);
  for (let index = 0; index < -y; index++) value = (value * BigInt(mean - index)) / BigInt(mean);
  // e^x for x = |y|/scale − 7/10 with both signs.
  const [numerator, denominator] = [BigInt(10 * Math.abs(y) - 7 * scale), BigInt(10 * scale)];
  let [term, sum] = [one, one];
  for (let index = 1n; index < 200n; index++) {
    term = (term * numerator) / (denominator * index);
    sum += term;
  }
  return (value * sum) >> (400n + 347n);
}

const logFactorial = (n: number): number => {
  let sum = 0;
  for (let index = 2; index <= n; index++) sum += Math.log(index);
  return sum;
};
const poissonProbability = (mean: number, value: number): number =>
  value < 0 ? 0 : Math.exp(-mean + value * Math.log(mean) - logFactorial(value));

describe('samplers of noise', () => {
  it('[DPN-1] integers below a bound are uniform, whatever the bound', () => {
    const random = seeded(1);
    assert.ok(
      Math.abs(
        chiSquared(
          draws(30_000, () => random.below(7)),
          () => 1 / 7,
        ),
      ) < 5,
    );
    const wide = draws(2_000, () => random.below(2 ** 53));
    assert.ok(wide.every((value) => Number.isSafeInteger(value) && value >= 0));
    assert.ok(wide.some((value) => value > 2 ** 52) && wide.some((value) => value % 2 === 1));
  });

  it('[DPN-2] an exponential coin falls as often as it should, also where floor is in doubt', () => {
    const random = seeded(2);
    for (const [numerator, denominator] of [
      [0n, 1n],
      [1n, 3n],
      [1n, 1n],
      [5n, 2n],
    ] as const) {
      const gamma = Number(numerator) / Number(denominator);
      const count = 20_000;
      const hits = draws(count, () => Number(exponentialCoin(random, gamma, () => [numerator, denominator])));
      const share = hits.reduce((sum, hit) => sum + hit, 0) / count;
      assert.ok(Math.abs(share - Math.exp(-gamma)) < 5 * Math.sqrt(0.25 / count), `e^-${gamma}: ${share}`);
    }
  });

  it('[DPN-3] a coin asks for the exact fraction when the near one does not decide', () => {
    let asked = 0;
    const random = randomIntegers({ bytes: (count) => new Uint8Array(count) });
    assert.equal(
      random.coin(0, () => {
        asked++;
        return [1n, 2n ** 40n];
      }),
      true,
    );
    assert.equal(asked, 1);
  });

  it('[DPN-4] discrete Laplace has its probabilities', () => {
    const random = seeded(4);
    const ratio = Math.exp(-1 / 3);
    const probability = (value: number): number => ((1 - ratio) / (1 + ratio)) * ratio ** Math.abs(value);
    assert.ok(
      Math.abs(
        chiSquared(
          draws(20_000, () => discreteLaplace(random, 3)),
          probability,
        ),
      ) < 5,
    );
  });

  for (const deviation of [0.5, 2.25, 40]) {
    it(`[DPN-5/${deviation}] discrete Gaussian of deviation ${deviation}: mean, variance, χ²`, () => {
      const values = draws(20_000, discreteGaussian(seeded(5), deviation));
      let total = 0;
      let squares = 0;
      for (let value = -1000; value <= 1000; value++) {
        const weight = Math.exp((-value * value) / (2 * deviation ** 2));
        total += weight;
        squares += weight * value * value;
      }
      checkMoments(values, squares / total);
      const fit = chiSquared(values, (value) => Math.exp((-value * value) / (2 * deviation ** 2)) / total);
      assert.ok(Math.abs(fit) < 5, `χ² ${fit}`);
    });
  }

  it('[DPN-6] large deviations are whole and never smaller than asked for', () => {
    assert.equal(sampledDeviation(1000.2), 1001);
    assert.ok(sampledDeviation(0.3) >= 0.3);
    checkMoments(draws(4_000, discreteGaussian(seeded(6), 2 ** 20)), 2 ** 40);
  });

  for (const mean of [1, 5, 16, 90]) {
    it(`[DPN-7/${mean}] Poisson of mean ${mean} has its probabilities`, () => {
      const values = draws(20_000, poisson(seeded(7), mean));
      const fit = chiSquared(values, (value) => poissonProbability(mean, value));
      assert.ok(Math.abs(fit) < 5, `χ² ${fit}`);
      checkMoments(
        values.map((value) => value - mean),
        mean,
        3 + 1 / mean,
      );
    });
  }

  for (const half of [3, 20, 3000, 2 ** 34]) {
    it(`[DPN-8/${half}] skellam-sampler: mean, variance, χ² at half the variance ${half}`, () => {
      const values = draws(half < 100 ? 12_000 : 4_000, skellam(seeded(8), half));
      checkMoments(values, 2 * half, 3 + 1 / (2 * half));
      if (half > 100) return checkSpread(values, Math.sqrt(2 * half));
      const probability = (value: number): number => {
        let sum = 0;
        for (let index = 0; index < 150; index++)
          sum += poissonProbability(half, index) * poissonProbability(half, index + Math.abs(value));
        return sum;
      };
      const fit = chiSquared(values, probability);
      assert.ok(Math.abs(fit) < 5, `χ² ${fit}`);
    });
  }

  for (const [mean, scale] of [
    [16, 4],
    [400, 20],
    [2 ** 20, 1024],
  ] as const)
    it(`[DPN-11/${mean}] skellam-sampler: a Poisson proposal is kept with its exact probability, to the last of 53 bits`, () => {
      for (const y of [1, -3, Math.min(150, 3 * scale), -Math.min(15, scale)]) {
        const size = Math.abs(y);
        /** Whether the proposal is kept where the uniform number begins with these 53 bits, and goes on with zeros or ones. */
        const isKept = (uniform: number, rest: number): boolean => {
          const numbers = [size % scale, uniform];
          // The rest of the size is taken, and `size / scale` whole scales are added.
          const coins = [...Array.from({ length: 1 + Math.floor(size / scale) }, () => false), true, false];
          const words = [y < 0 ? 1 : 0];
          let rejected = false;
          const random: RandomIntegers = {
            below: () => {
              if (numbers.length > 0) return numbers.shift()!;
              rejected = true;
              throw new Error('a further proposal');
            },
            coin: () => coins.shift() ?? assert.fail('a further coin'),
            word: () => words.shift() ?? rest,
          };
          try {
            assert.equal(poisson(random, mean)(), mean + y);
          } catch (thrown) {
            if (!rejected) throw thrown;
          }
          return !rejected;
        };
        let [low, high] = [0, 2 ** 53 - 1];
        while (high - low > 1) {
          const middle = Math.floor((low + high) / 2);
          if (isKept(middle, 2 ** 32 - 1)) low = middle;
          else high = middle;
        }
        const probability = keptProbability(mean, y, scale);
        assert.ok(BigInt(low) <= probability && probability <= BigInt(high + 1), `${y}: ${low} for ${probability}`);
      }
    });

  it('[DPN-9] what survives vanished clients still has the variance that was sized for it', () => {
    const random = seeded(9);
    // Ten clients, each sized so that four alone reach a variance of 80; four arrive.
    const parts = Array.from({ length: 4 }, () => skellam(random, 10));
    const sums = draws(5_000, () => parts.reduce((sum, draw) => sum + draw(), 0));
    checkMoments(sums, 80, 3 + 1 / 80);
  });

  it('[DPN-10] every record joins a step by a coin of its own', () => {
    const sizes = draws(2_000, () => poissonSample(seeded(10), 0, 0.1).length);
    assert.deepEqual(new Set(sizes), new Set([0]));
    const random = seeded(11);
    const counts = draws(2_000, () => poissonSample(random, 200, 0.1).length);
    checkMoments(
      counts.map((count) => count - 20),
      18,
      3 + (1 - 6 * 0.09) / 18,
    );
    assert.deepEqual(poissonSample(random, 3, 1), [0, 1, 2]);
  });
});
