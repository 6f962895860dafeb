import { strict as assert } from 'node:assert';
import { layoutOf } from '../../../shared/update/layout.ts';
import { addScaled, firstNonFinite, flatten, squaredNorm, subtract, unflatten } from '../../../shared/update/vector.ts';

const layout = layoutOf([
  { name: 'a', shape: [2, 2], aggregationClass: 'mean', decays: true },
  { name: 'b', shape: [3], aggregationClass: 'mean', decays: false },
]);
const values = () =>
  new Map([
    ['b', Float32Array.of(5, 6, 7)],
    ['a', Float32Array.of(1, 2, 3, 4)],
  ]);

describe('flat vectors', () => {
  it('[VEC-1] are in layout order, whatever the order of the map, and come apart as views', () => {
    const vector = flatten(layout, values());
    assert.deepEqual(vector, Float32Array.of(1, 2, 3, 4, 5, 6, 7));
    const parts = unflatten(layout, vector);
    assert.deepEqual(parts, new Map([...values()].reverse()));
    parts.get('b')![0] = 50;
    assert.equal(vector[4], 50);
  });

  it('[VEC-2] refuse missing, surplus and wrongly sized tensors', () => {
    const wrong: readonly ((map: Map<string, Float32Array>) => unknown)[] = [
      (map) => map.delete('a'),
      (map) => map.set('c', new Float32Array(1)),
      (map) => map.set('a', new Float32Array(3)),
      (map) => map.delete('a') && map.set('c', new Float32Array(4)),
    ];
    for (const spoil of wrong) {
      const map = values();
      spoil(map);
      assert.throws(() => flatten(layout, map), { name: 'InvariantError' });
    }
    assert.throws(() => unflatten(layout, new Float32Array(6)), { name: 'InvariantError' });
  });

  it('[VEC-3] subtract, add scaled in float64 where the sum is float64, and have a norm', () => {
    assert.deepEqual(subtract(Float32Array.of(3, 1), Float32Array.of(1, 5)), Float32Array.of(2, -4));
    assert.throws(() => subtract(new Float32Array(1), new Float32Array(2)), { name: 'InvariantError' });
    const sum = Float64Array.of(1, 0);
    addScaled(sum, Float32Array.of(2 ** -30, 4), 0.5);
    assert.deepEqual(sum, Float64Array.of(1 + 2 ** -31, 2));
    assert.throws(() => addScaled(sum, new Float32Array(3), 1), { name: 'InvariantError' });
    assert.equal(squaredNorm(Float32Array.of(3, -4)), 25);
  });

  it('[VEC-4] name the first value that is not finite, wherever it stands', () => {
    const size = 4096 * 2 + 17;
    assert.equal(firstNonFinite(new Float32Array(0)), null);
    assert.equal(firstNonFinite(new Float32Array(size).fill(3.4e38)), null);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const place of [0, 1, 4095, 4096, 8191, 8192, size - 1]) {
        const vector = new Float32Array(size).fill(-3.4e38);
        vector[place] = value;
        if (place + 5 < size) vector[place + 5] = value;
        assert.equal(firstNonFinite(vector), place);
      }
    }
  });
});
