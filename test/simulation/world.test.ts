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
    assert.deepEqual(missingFrom(coverage), []);
    const { opened, aborted, lost } = coverage.attempts;
    assert.ok(opened >= 50 && aborted + lost >= 50, JSON.stringify(coverage.attempts));
    const { groups } = coverage;
    assert.ok(groups.opened >= 50 && groups.leftOut >= 10, JSON.stringify(groups));
  }).timeout(120_000);

  it('[WORLD-2] a world is its seed: run again, it sees the same', () => {
    const [once, again] = [createCoverage(), createCoverage()];
    for (const seed of [3, 7, 11]) {
      runWorld(seed, once);
      runWorld(seed, again);
    }
    assert.deepEqual(once, again);
  });

  const inGraph =
    (isOfKind: (scenario: Scenario) => boolean) =>
    (scenario: Scenario): boolean =>
      scenario.grouping === null && isOfKind(scenario);
  const inGroups =
    (isOfKind: (scenario: Scenario) => boolean) =>
    (scenario: Scenario): boolean =>
      scenario.grouping !== null && isOfKind(scenario);
  const always = () => true;
  const under = (name: Scenario['coordinator']) => (scenario: Scenario) => scenario.coordinator === name;
  /** Broken machines, the worlds in which they show, and the rule that they break. */
  const broken: readonly [MutantName, Rule, (scenario: Scenario) => boolean][] = [
    [
      'skip-quorum-check',
      'never-both',
      inGraph(({ coordinator, clientCount }) => coordinator === 'split-view' && clientCount > 3),
    ],
    ['drop-journal', 'one-unmask-per-round', inGraph(under('asks-again'))],
    ['leave-one-mask-in', 'exact-sum', inGraph(always)],
    ['accept-s-plus-l', 'authenticity', inGraph(({ faults }) => faults.corruption > 0.03)],
    ['same-keys', 'fresh-keys', inGraph(always)],
    ['survivors-beyond-dealers', 'survivors-dealt', inGraph(under('strangers'))],
    ['reveal-both', 'never-both', inGraph(always)],
    ['no-threshold', 'threshold', inGraph(({ clientCount }) => clientCount > 3)],
    ['unsigned-roster', 'authenticity', inGraph(under('own-keys'))],
    ['no-wiping', 'wiped', inGraph(always)],
  ];
  const brokenInGroups: typeof broken = [
    ['no-threshold', 'threshold', inGroups(({ faults }) => faults.loss > 0)],
    ['skip-group-threshold', 'threshold', inGroups(({ faults }) => faults.loss > 0)],
    ['any-quorum', 'never-both', inGroups(under('split-view'))],
    ['any-outcome', 'never-both', inGroups(under('split-view'))],
    ['any-nonce', 'one-division', inGroups(under('aims-groups'))],
    ['survivors-beyond-dealers', 'survivors-dealt', inGroups(under('strangers'))],
    ['leave-one-mask-in', 'exact-sum', inGroups(always)],
    ['drop-journal', 'one-unmask-per-round', inGroups(under('asks-again'))],
  ];
  for (const [name, rule, isOfKind] of broken)
    it(`[WORLD-MUTANT-${name}] is caught: ${rule}`, async () => {
      assert.equal(firstBroken(await loadMutant(name), isOfKind), rule);
    }).timeout(60_000);
  for (const [name, rule, isOfKind] of brokenInGroups)
    it(`[WORLD-GROUPS-MUTANT-${name}] is caught in a round with groups: ${rule}`, async () => {
      assert.equal(firstBroken(await loadMutant(name), isOfKind), rule);
    }).timeout(60_000);
  it('[WORLD-4] ten machines at least are broken, those that the specification names among them', () => {
    const names = new Set([...broken, ...brokenInGroups].map(([name]) => name));
    assert.ok(names.size >= 10, [...names].join());
    for (const name of ['skip-quorum-check', 'drop-journal', 'leave-one-mask-in', 'accept-s-plus-l'] as const)
      assert.ok(names.has(name), name);
  });
});
