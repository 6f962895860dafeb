import { strict as assert } from 'node:assert';
import {
  type Profile,
  profileOf,
  similarity,
  soupWeights,
} from '../../../../shared/adapters/composition/similarity.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { bertLike } from '../bases.ts';

const random = seededRandom(3);
/** Texts around a direction. */
const texts = (direction: number, count = 20) =>
  Array.from({ length: count }, () =>
    Float32Array.from({ length: 5 }, (_, index) => (index === direction ? 2 : 0) + 0.3 * random.normal()),
  );

describe('choice of adapters by similarity', () => {
  const profiles = [0, 1, 2].map((direction) => profileOf(texts(direction)));

  it('[SIM-1] profiles have the length 1, and are closest to those of like texts', () => {
    for (const profile of profiles) assert.ok(Math.abs(Math.hypot(...profile) - 1) < 1e-12);
    const wanted = profileOf(texts(1));
    const found = profiles.map((profile) => similarity(profile, wanted));
    assert.ok(found[1]! > 0.95 && found[0]! < 0.5 && found[2]! < 0.5);
  });

  it('[SIM-2] the closest get equal weights, the others none; of equal ones the first', () => {
    const wanted = profileOf([...texts(1), ...texts(2)]);
    assert.deepEqual(soupWeights(profiles, wanted, 2), [0, 0.5, 0.5]);
    assert.deepEqual(soupWeights(profiles, profileOf(texts(0)), 1), [1, 0, 0]);
    const same: Profile[] = [profiles[0]!, profiles[0]!];
    assert.deepEqual(soupWeights(same, wanted, 1), [1, 0]);
    assert.throws(() => soupWeights(profiles, wanted, 4), /of 3 adapters 1 to all can be chosen, not 4/);
  });

  it('[SIM-3] the weights are those of an average', () => {
    const members = ['a', 'b', 'c'].map((id) => ({ id, method: 'bottleneck' }));
    const weights = soupWeights(profiles, profileOf(texts(2)), 1);
    const { configuration } = parseAdapter({ method: 'average', members, weights }, bertLike(1, 8, 16));
    assert.deepEqual(configuration.weights, [0, 0, 1]);
  });
});
