import { strict as assert } from 'node:assert';
import { thresholdsOf } from '../../../shared/secure-aggregation/threshold.ts';

describe('thresholds', () => {
  it('[TSH-1] the table of the specification', () => {
    const table = [3, 4, 5, 6, 7, 10, 20, 50, 100, 128].map((clientCount) => {
      const { shares, vanishedMax } = thresholdsOf(clientCount, 'active');
      return [clientCount, shares, vanishedMax];
    });
    assert.deepEqual(table, [
      [3, 3, 0],
      [4, 3, 1],
      [5, 4, 1],
      [6, 5, 1],
      [7, 5, 2],
      [10, 7, 3],
      [20, 14, 6],
      [50, 34, 16],
      [100, 67, 33],
      [128, 86, 42],
    ]);
  });

  it('[TSH-2] with the colluders that the active profile bears no two quorums are without a common honest client', () => {
    for (let clientCount = 3; clientCount <= 128; clientCount++) {
      const { shares, quorum, colludersMax } = thresholdsOf(clientCount, 'active');
      assert.ok(shares > colludersMax);
      assert.ok(2 * quorum > clientCount + colludersMax);
      assert.ok(2 * shares > clientCount + colludersMax);
    }
  });

  it('[TSH-3] the semi-honest profile has no quorum; rosters too small or too large are bugs of the caller', () => {
    assert.deepEqual(thresholdsOf(10, 'semi-honest'), { shares: 6, quorum: 0, vanishedMax: 4, colludersMax: 5 });
    for (const clientCount of [2, 129, 3.5]) assert.throws(() => thresholdsOf(clientCount, 'active'), /3 to 128/);
  });
});
