import { strict as assert } from 'node:assert';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import { federatedLayout, plainExchange } from '../../../shared/update/federated-layout.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import {
  cappedPairs,
  firstPublished,
  personalised,
  personalOf,
  trainingStartOf,
} from '../../../shared/update/training-start.ts';

const factor = (name: string, which: 'a' | 'b', shape: readonly number[]) =>
  ({ name: `${name}.${which}`, shape, aggregationClass: 'mean', decays: true, pair: { name, factor: which } }) as const;
const layoutAt = (rank: number) =>
  layoutOf([
    factor('q', 'a', [rank, 2]),
    factor('q', 'b', [3, rank]),
    factor('v', 'a', [rank, 2]),
    factor('v', 'b', [2, rank]),
    { name: 'head.bias', shape: [1], aggregationClass: 'mean', decays: false },
  ]);
const exchangeWith = (lowRank: 'svd' | 'stack', personal: readonly string[] = []) => {
  const settings = { ...plainExchange, lowRank, publishedRank: 3, personal } as const;
  return exchangeOf(settings, federatedLayout(layoutAt(3), settings), federatedLayout(layoutAt(2), settings));
};
const fresh = () => Float32Array.from({ length: layoutAt(2).dim }, (_, index) => 100 + index);
/** Published values: a place counts up, so that what was copied is seen. */
const published = Float32Array.from({ length: layoutAt(3).dim }, (_, index) => index + 1);

describe('where training starts', () => {
  it('[TRS-1] goes on with the ranks that are trained; further ones act beside them', () => {
    const { start, frozen } = trainingStartOf(exchangeWith('svd'), { published, rankMax: null, personal: null, fresh });
    // q.a is 1 2 | 3 4 | 5 6, q.b 7 8 9 | 10 11 12 | 13 14 15, v.a 16 … 21, v.b 22 23 24 | 25 26 27, the head 28.
    assert.deepEqual([...start], [1, 2, 3, 4, 7, 8, 10, 11, 13, 14, 16, 17, 18, 19, 22, 23, 25, 26, 28]);
    assert.deepEqual(
      [...frozen!],
      [0, 0, 0, 0, 5, 6, 0, 0, 9, 0, 0, 12, 0, 0, 15, 0, 0, 0, 0, 20, 21, 0, 0, 24, 0, 0, 27, 0],
    );
  });

  it('[TRS-2] a site that trains rank 1 leaves the second rank in the frozen part', () => {
    const { start, frozen } = trainingStartOf(exchangeWith('svd'), { published, rankMax: 1, personal: null, fresh });
    assert.deepEqual([...start.subarray(0, 10)], [1, 2, 0, 0, 7, 0, 10, 0, 13, 0]);
    assert.deepEqual([...frozen!.subarray(0, 15)], [0, 0, 3, 4, 5, 6, 0, 8, 9, 0, 11, 12, 0, 14, 15]);
    assert.deepEqual(cappedPairs(exchangeWith('svd'), 1), ['q', 'v']);
    assert.deepEqual(cappedPairs(exchangeWith('svd'), 2), []);
  });

  it('[TRS-3] a rule that restarts takes fresh factors, of the first ranks only, and everything published beside them', () => {
    const { start, frozen } = trainingStartOf(exchangeWith('stack'), { published, rankMax: 1, personal: null, fresh });
    assert.deepEqual([...start.subarray(0, 10)], [100, 101, 0, 0, 104, 0, 106, 0, 108, 0]);
    assert.equal(start.at(-1), 28);
    assert.deepEqual([...frozen!.subarray(0, 27)], [...published.subarray(0, 27)]);
    assert.equal(frozen!.at(-1), 0);
  });

  it('[TRS-4] what is published first holds the start values, and nothing in ranks that nobody trained yet', () => {
    const first = firstPublished(exchangeWith('svd'), fresh());
    assert.deepEqual([...first.subarray(0, 15)], [100, 101, 102, 103, 0, 0, 104, 105, 0, 106, 107, 0, 108, 109, 0]);
    const stacked = firstPublished(exchangeWith('stack'), fresh());
    assert.ok(stacked.subarray(0, 27).every((value) => value === 0) && stacked.at(-1) === 118);
    const options = { published: first, rankMax: null, personal: null, fresh };
    assert.deepEqual(trainingStartOf(exchangeWith('svd'), options).start, fresh());
    assert.equal(trainingStartOf(exchangeWith('svd'), options).frozen, null);
  });

  it('[TRS-5] own parts come back where they were, also of pairs with more published ranks, and are measured so', () => {
    for (const lowRank of ['svd', 'stack'] as const) {
      const exchange = exchangeWith(lowRank, ['v', 'head']);
      const own = personalOf(exchange, fresh());
      // v.a and v.b in the shape of rank 3, then the head.
      assert.deepEqual([...own], [110, 111, 112, 113, 0, 0, 114, 115, 0, 116, 117, 0, 118]);
      const { start, frozen } = trainingStartOf(exchange, { published, rankMax: null, personal: own, fresh });
      assert.ok(frozen!.subarray(15).every((value) => value === 0));
      assert.deepEqual([...start.subarray(10)], [...fresh().subarray(10)]);
      const measured = personalised(exchange, published, own);
      assert.deepEqual([...measured.subarray(15)], [...own]);
      assert.deepEqual([...measured.subarray(0, 15)], [...published.subarray(0, 15)]);
      assert.equal(personalised(exchange, published, null), published);
    }
  });
});
