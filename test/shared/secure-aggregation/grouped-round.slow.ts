import { strict as assert } from 'node:assert';
import { plainSum } from './cohort.ts';
import { runGroupedCohort } from './grouped-cohort.ts';

describe('masked round in groups, at size', () => {
  for (const [clientCount, size] of [
    [130, 10],
    [130, 64],
    [300, 64],
  ] as const) {
    it(`[GRS-1] ${clientCount} clients, groups of ${size} and more: a tenth vanishes, every group opens its sum`, () => {
      const outcome = runGroupedCohort({
        clientCount,
        grouping: { size, clientCountMin: 3 },
        vanishes: (index, kind) => index % 10 === 3 && kind === 'MASKED',
      });
      assert.deepEqual(outcome.rejected, []);
      assert.equal(outcome.groups.length, Math.floor(clientCount / size));
      assert.equal(outcome.opened.length + outcome.leftOut.length, outcome.groups.length);
      assert.ok(outcome.opened.length >= outcome.groups.length - 2, `${outcome.leftOut.length} groups left out`);
      for (const { survivors, sum } of outcome.opened) {
        assert.ok(survivors.every((index) => index % 10 !== 3));
        assert.deepEqual(sum, plainSum(survivors, 5));
      }
    });
  }
});
