import { strict as assert } from 'node:assert';
import { type Rule, RuleBroken } from '../../simulations/checkers/check.ts';
import type { FederationMachines } from '../../simulations/world/federation-machines.ts';
import {
  createFederationCoverage,
  missingFromFederations,
  runFederation,
} from '../../simulations/world/federation-world.ts';
import { loadFederationMutant, type MutantName } from './mutants.ts';

const worldCount = 500;

/** The rule that broken machines break in the first worlds; null where no checker notices. */
function firstBroken(machines: FederationMachines): Rule | null {
  for (let seed = 0; seed < 120; seed++) {
    try {
      runFederation(seed, createFederationCoverage(), machines);
    } catch (error) {
      if (error instanceof RuleBroken) return error.rule;
      throw error;
    }
  }
  return null;
}

describe('federation world', () => {
  it(`[FWD-1] ${worldCount} seeds: every rule holds after every event, and the worlds see what there is to see`, () => {
    const coverage = createFederationCoverage();
    for (let seed = 0; seed < worldCount; seed++) runFederation(seed, coverage);
    assert.deepEqual(missingFromFederations(coverage), []);
    const { rounds } = coverage;
    assert.ok(rounds.published >= 500 && rounds.void >= 100, JSON.stringify(rounds));
  }).timeout(120_000);

  it('[FWD-2] a world is its seed: run again, it sees the same', () => {
    const [once, again] = [createFederationCoverage(), createFederationCoverage()];
    for (const seed of [3, 7, 11]) {
      runFederation(seed, once);
      runFederation(seed, again);
    }
    assert.deepEqual(once, again);
  });

  const broken: readonly [MutantName, Rule][] = [
    ['any-round-number', 'one-contribution'],
    ['forgets-contribution', 'one-contribution'],
    ['number-again', 'linear-history'],
    ['endless-recruiting', 'liveness'],
  ];
  for (const [name, rule] of broken)
    it(`[FWD-MUTANT-${name}] is caught: ${rule}`, async () => {
      assert.equal(firstBroken(await loadFederationMutant(name)), rule);
    }).timeout(60_000);
});
