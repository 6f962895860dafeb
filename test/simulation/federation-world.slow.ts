import { strict as assert } from 'node:assert';
import {
  createFederationCoverage,
  missingFromFederations,
  runFederation,
} from '../../simulations/world/federation-world.ts';

describe('ten thousand federations', () => {
  it('[FWD-3] every rule holds, and all legal pairs, faults and ways to end were seen', () => {
    const coverage = createFederationCoverage();
    for (let seed = 1_000; seed < 11_000; seed++) runFederation(seed, coverage);
    assert.deepEqual(missingFromFederations(coverage), []);
    const { rounds } = coverage;
    assert.ok(rounds.published >= 1_000 && rounds.void >= 1_000, JSON.stringify(rounds));
  }).timeout(1_800_000);
});
