import { strict as assert } from 'node:assert';
import { seededRandom } from '../../shared/core/random.ts';
import { legalClientEvents } from '../../shared/secure-aggregation/client-state.ts';
import { legalGroupedClientEvents } from '../../shared/secure-aggregation/grouped-client.ts';
import { legalGroupedServerEvents } from '../../shared/secure-aggregation/grouped-server.ts';
import { legalServerEvents } from '../../shared/secure-aggregation/server-state.ts';
import { type Rule, RuleBroken } from '../../simulations/checkers/check.ts';
import { faultNames } from '../../simulations/faults/faults.ts';
import { hostileClientNames } from '../../simulations/faults/hostile-client.ts';
import { hostileCoordinatorNames } from '../../simulations/faults/hostile-coordinator.ts';
import { createCoverage, missingFrom } from '../../simulations/world/coverage.ts';
import type { Machines } from '../../simulations/world/machines.ts';
import { drawScenario, type Scenario } from '../../simulations/world/scenario.ts';
import { runWorld } from '../../simulations/world/world.ts';
import { loadMutant, type MutantName } from './mutants.ts';
import { runWorlds } from './world-processes.ts';

const worldCount = 500;
/** What so many worlds see at least; ten thousand see more (`world.slow.ts`). */
const least = { opened: 250, aborted: 250, groupsOpened: 50, groupsLeftOut: 10 };

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
  it(`[WORLD-1] ${worldCount} seeds: every rule holds after every event, and the worlds see what there is to see`, async () => {
    const coverage = await runWorlds(0, worldCount, 2);
    assert.equal(coverage.worlds, worldCount);
    assert.deepEqual(missingFrom(coverage, least), []);
  }).timeout(240_000);

  it('[WORLD-2] a world is its seed: run again, it sees the same', () => {
    const [once, again] = [createCoverage(), createCoverage()];
    for (const seed of [3, 7, 11]) {
      runWorld(seed, once);
      runWorld(seed, again);
    }
    assert.deepEqual(once, again);
  });

  it('[WORLD-5] a run that saw less than there is says what it did not see', () => {
    const nothing = missingFrom(createCoverage(), least);
    const named = [
      'opened attempts: 0 of 250',
      'aborted attempts: 0 of 250',
      'opened groups: 0 of 50',
      'groups that are left out: 0 of 10',
      'client journaling x journaled',
      'client aborted x quorum',
      'coordinator unmasking x deadline',
      'client in groups drawn x drawn',
      'coordinator of groups opened x masked',
      ...faultNames,
      ...hostileClientNames,
      ...hostileCoordinatorNames,
    ];
    assert.deepEqual(
      named.filter((name) => !nothing.includes(name)),
      [],
    );
    const pairs = (table: object): number => Object.keys(table).length * new Set(Object.values(table).flat()).size;
    const { 'left-out': _, ...grouped } = legalGroupedClientEvents;
    const tables = [legalClientEvents, legalServerEvents, grouped, legalGroupedServerEvents];
    const count = tables.reduce((sum, table) => sum + pairs(table), 0);
    const rest = faultNames.length + hostileClientNames.length + hostileCoordinatorNames.length;
    assert.equal(nothing.length, 4 + count + rest);
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
