import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { batchOf, epochBatches, sortedBatches } from '../../../shared/data/batches.ts';

const random = seededRandom(4, 'lengths');
const lengths = Array.from({ length: 333 }, () => 1 + random.integer(60));

describe('epochBatches', () => {
  it('[BAT-1] holds every example once, in batches of the asked size but for one', () => {
    for (const batchSize of [1, 16, 333, 1000]) {
      const batches = epochBatches(lengths, batchSize, seededRandom(1));
      assert.equal(batches.length, Math.ceil(lengths.length / batchSize));
      assert.deepEqual(
        batches.flat().sort((left, right) => left - right),
        lengths.map((_, index) => index),
      );
      assert.ok(batches.filter(({ length }) => length !== batchSize).length <= 1);
    }
  });

  it('[BAT-2] pads far less than batches without buckets, and differs from epoch to epoch', () => {
    const padded = (batches: number[][]) =>
      batches.reduce((sum, batch) => sum + batch.length * Math.max(...batch.map((index) => lengths[index]!)), 0);
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    assert.ok(padded(epochBatches(lengths, 16, seededRandom(1))) < 1.15 * tokens);
    assert.ok(padded(sortedBatches(lengths, 16)) < 1.08 * tokens);
    assert.deepEqual(epochBatches(lengths, 16, seededRandom(1)), epochBatches(lengths, 16, seededRandom(1)));
    assert.notDeepEqual(epochBatches(lengths, 16, seededRandom(1)), epochBatches(lengths, 16, seededRandom(2)));
  });
});

describe('batchOf', () => {
  it('[BAT-3] pads on the right to a multiple of four, never beyond the positions of the base', () => {
    const examples = [
      { ids: Int32Array.of(5, 6, 7, 8, 9), targets: Int32Array.of(1) },
      { ids: Int32Array.of(4), targets: Int32Array.of(0) },
    ];
    const batch = batchOf(examples, 3, 16);
    assert.deepEqual(batch, {
      ids: Int32Array.of(5, 6, 7, 8, 9, 3, 3, 3, 4, 3, 3, 3, 3, 3, 3, 3),
      lengths: Int32Array.of(5, 1),
      rowCount: 2,
      sequenceLength: 8,
    });
    assert.equal(batchOf(examples, 3, 6).sequenceLength, 6);
    assert.throws(() => batchOf(examples, 3, 4), /does not fit/);
  });
});
