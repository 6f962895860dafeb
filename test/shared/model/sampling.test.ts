import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { chooseToken, type Sampling } from '../../../shared/model/sampling.ts';

/** How often each index comes in `count` draws. */
function shares(scores: readonly number[], sampling: Sampling, count = 4000): number[] {
  const random = seededRandom(5, 'shares');
  const counts = scores.map(() => 0);
  for (let draw = 0; draw < count; draw++)
    counts[chooseToken(Float32Array.from(scores), sampling, random)]! += 1 / count;
  return counts;
}

function assertNear(found: readonly number[], expected: readonly number[]): void {
  for (const [index, share] of expected.entries())
    assert.ok(Math.abs(found[index]! - share) < 0.03, `found ${found.join(', ')}, expected ${expected.join(', ')}`);
}

const logarithms = (chances: readonly number[]) => chances.map(Math.log);

describe('chooseToken', () => {
  it('[CHO-1] takes the best at temperature 0, of equals the first, without drawing', () => {
    const random = { ...seededRandom(1), uniform: () => assert.fail('it drew') };
    assert.equal(chooseToken(Float32Array.of(1, 3, -2, 3), { temperature: 0 }, random), 1);
    assert.equal(chooseToken(Float32Array.of(-5), { temperature: 0 }, random), 0);
  });

  it('[CHO-2] draws by the chances that scores stand for, flatter or steeper by temperature', () => {
    const scores = logarithms([0.5, 0.1, 0.4]);
    assertNear(shares(scores, { temperature: 1 }), [0.5, 0.1, 0.4]);
    const squares = [0.25, 0.01, 0.16].map((square) => square / 0.42);
    assertNear(shares(scores, { temperature: 0.5 }), squares);
    assertNear(shares(scores, { temperature: 1e6 }), [1 / 3, 1 / 3, 1 / 3]);
    // Scores that no exponential can hold.
    assertNear(shares([1000, 999, -1000], { temperature: 1 }), [0.731, 0.269, 0]);
  });

  it('[CHO-3] leaves a chance to the best few alone', () => {
    const scores = logarithms([0.1, 0.4, 0.2, 0.3]);
    assertNear(shares(scores, { temperature: 1, topK: 2 }), [0, 4 / 7, 0, 3 / 7]);
    assert.equal(shares(scores, { temperature: 1, topK: 1 })[1]!.toFixed(6), '1.000000');
    assertNear(shares(scores, { temperature: 1, topK: 100 }), [0.1, 0.4, 0.2, 0.3]);
  });

  it('[CHO-4] leaves a chance to the fewest best that come to a share, at least one', () => {
    const scores = logarithms([0.1, 0.4, 0.2, 0.3]);
    assertNear(shares(scores, { temperature: 1, topP: 0.69 }), [0, 4 / 7, 0, 3 / 7]);
    assertNear(shares(scores, { temperature: 1, topP: 0.71 }), [0, 4 / 9, 2 / 9, 3 / 9]);
    assert.equal(shares(scores, { temperature: 1, topP: 1e-9 })[1]!.toFixed(6), '1.000000');
    assertNear(shares(scores, { temperature: 1, topP: 1 }), [0.1, 0.4, 0.2, 0.3]);
    // Of the two that topK leaves, the first alone has 4/7.
    assertNear(shares(scores, { temperature: 1, topK: 2, topP: 0.5 }), [0, 1, 0, 0]);
  });

  it('[CHO-5] draws the same with the same seed', () => {
    const scores = Float32Array.from({ length: 50 }, (_, index) => Math.sin(index));
    const drawn = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: 20 }, () => chooseToken(scores, { temperature: 1 }, random));
    };
    assert.deepEqual(drawn(3), drawn(3));
    assert.notDeepEqual(drawn(3), drawn(4));
  });
});
