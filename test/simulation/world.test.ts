import { strict as assert } from 'node:assert';
import { seededRandom } from '../../shared/core/random.ts';
import { type Rule, RuleBroken } from '../../simulations/checkers/check.ts';
import { createCoverage, missingFrom } from '../../simulations/world/coverage.ts';
import type { Machines } from '../../simulations/world/machines.ts';
import { drawScenario, type Scenario } from '../../simulations/world/scenario.ts';
import { runWorld } from '../../simulations/world/world.ts';
import { loadMutant, type MutantName } from './mutants.ts';

const worldCount = 500;

const scenarioOf = (seed: number): Scenario => drawScenario(seededRandom(seed, 'world').fork('scenario'));

/** The rule that a broken machine breaks in the first worlds of a kind, with the seed; null where no checker notices. */
function firstBroken(machines: Machines, isOfKind: (scenario: Scenario) => boolean): Rule | null {
  for (let seed = 0, worlds = 0; worlds < 40; seed++) {
    if (!isOfKind(scenarioOf(seed))) continue;
    worlds++;
    try {
      runWorld(seed, createCoverage(), machines);
    } catch (error) {
      if (error instanceof RuleBroken) return error.rule;
      throw error;
    }
  }
  return null;
}

describe('world', () => {
  it(`[WORLD-1] ${worldCount} seeds: every rule holds after every event, and the worlds see what there is to see`, () => {
    const coverage = createCoverage();
    for (let seed = 0; seed < worldCount; seed++) runWorld(seed, coverage);
    // The rarest pairs need the slow suite's ten thousand worlds.
    assert.ok(missingFrom(coverage).length <= 6, missingFrom(coverage).join('; '));
    const { opened, aborted, lost } = coverage.attempts;
    assert.ok(opened >= 50 && aborted + lost >= 50, JSON.stringify(coverage.attempts));
  }).timeout(120_000);

  it('[WORLD-2] a world is its seed: run again, it sees the same', () => {
    const [once, again] = [createCoverage(), createCoverage()];
    for (const seed of [3, 7, 11]) {
      runWorld(seed, once);
      runWorld(seed, again);
    }
    assert.deepEqual(once, again);
  });

  /** Ten broken machines, the worlds in which they show, and the rule that they break. */
  const broken: readonly [MutantName, Rule, (scenario: Scenario) => boolean][] = [
    ['skip-quorum', 'never-both', ({ coordinator, clientCount }) => coordinator === 'split-view' && clientCount > 3],
    ['no-journal', 'one-unmask-per-round', ({ coordinator }) => coordinator === 'asks-again'],
    ['mask-left-in', 'exact-sum', () => true],
    ['lax-signatures', 'authenticity', ({ faults }) => faults.corruption > 0.03],
    ['same-keys', 'fresh-keys', () => true],
    ['survivors-beyond-dealers', 'survivors-dealt', ({ coordinator }) => coordinator === 'strangers'],
    ['reveal-both', 'never-both', () => true],
    ['no-threshold', 'threshold', ({ clientCount }) => clientCount > 3],
    ['unsigned-roster', 'authenticity', ({ coordinator }) => coordinator === 'own-keys'],
    ['no-wiping', 'wiped', () => true],
  ];
  for (const [name, rule, isOfKind] of broken) {
    it(`[WORLD-MUTANT-${name}] is caught: ${rule}`, async () => {
      assert.equal(firstBroken(await loadMutant(name), isOfKind), rule);
    });
  }
});
