/** Loss distributions on the fine grid of the reference: a quarter of a minute each at worst. */
import { strict as assert } from 'node:assert';
import { composeLosses } from '../../../shared/privacy/pld-accountant.ts';
import { computedRows } from './computed-rows.ts';

describe('loss distributions on a fine grid', function () {
  this.timeout(600_000);
  for (const [noiseMultiplier, samplingRate, stepCount, dpDelta, , expected] of computedRows)
    it(`[accountant-vectors] noise ${noiseMultiplier}, rate ${samplingRate}, ${stepCount} steps: within 1e-3 of the reference`, () => {
      const losses = composeLosses({ noiseMultiplier, samplingRate, stepCount }, { interval: 1e-4 });
      const found = losses.epsilonAt(dpDelta);
      assert.ok(Math.abs(found - expected) <= 1e-3, `${found} for ${expected}`);
    });
});
