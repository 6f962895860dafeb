import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';

const goldenWords = [4272391052, 3078257875, 495170409, 1966770583, 3591498016, 1513362858];

describe('seededRandom', () => {
  it('gives the same numbers for the same seed and labels, and others for other labels', () => {
    const draw = (seed: number, ...labels: (string | number)[]) => {
      const random = seededRandom(seed, ...labels);
      return Array.from({ length: 8 }, () => random.uniform());
    };
    assert.deepEqual(draw(1, 'a', 2), draw(1, 'a', 2));
    assert.notDeepEqual(draw(1, 'a', 2), draw(1, 'a', 3));
    assert.notDeepEqual(draw(1, 'a', 2), draw(1, 'a', '2'));
    assert.notDeepEqual(draw(1, 'a'), draw(2, 'a'));
  });

  it('is frozen: a partition or an initialisation of today can be repeated with any later version', () => {
    const random = seededRandom(42, 'golden');
    const words = Array.from({ length: 6 }, () => random.integer(2 ** 32));
    assert.deepEqual(words, goldenWords);
  });

  it('forks streams that do not depend on what was drawn before', () => {
    const fresh = seededRandom(7).fork('dropout', 3).uniform();
    const used = seededRandom(7);
    for (let count = 0; count < 100; count++) used.uniform();
    assert.equal(used.fork('dropout', 3).uniform(), fresh);
  });

  it('has the moments of its distributions', () => {
    const random = seededRandom(3);
    const moments = (draw: () => number) => {
      const values = Array.from({ length: 40_000 }, draw);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length };
    };
    const close = (found: number, expected: number, tolerance: number) =>
      assert.ok(Math.abs(found - expected) < tolerance, `expected about ${expected}, found ${found}`);
    const uniform = moments(() => random.uniform());
    close(uniform.mean, 0.5, 0.01);
    close(uniform.variance, 1 / 12, 0.005);
    const normal = moments(() => random.normal());
    close(normal.mean, 0, 0.02);
    close(normal.variance, 1, 0.03);
    for (const shape of [0.3, 1, 4.5]) {
      const gamma = moments(() => random.gamma(shape));
      close(gamma.mean, shape, 0.06);
      close(gamma.variance, shape, 0.25);
    }
  });

  it('shuffles evenly and keeps every item', () => {
    const counts = [0, 0, 0, 0];
    const random = seededRandom(11);
    for (let trial = 0; trial < 8_000; trial++) {
      const order = random.shuffle([0, 1, 2, 3]);
      assert.deepEqual(
        [...order].sort((left, right) => left - right),
        [0, 1, 2, 3],
      );
      counts[order.indexOf(0)]!++;
    }
    for (const count of counts) assert.ok(Math.abs(count - 2_000) < 200, `uneven: ${counts.join(' ')}`);
  });
});
