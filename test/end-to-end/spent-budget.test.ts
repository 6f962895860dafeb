/** A federation whose privacy budget is spent, and a coordinator that is started on it again: it stays stopped, and says so to whoever connects. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { rollback } from '../../coordinator/commands/adapters-rollback.ts';
import type { CoordinatorOptions } from '../../coordinator/coordinator.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { spendingOf } from '../../shared/plan/privacy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 20;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const planWith = (count: number, privacy: object): Plan =>
  parsePlan(
    {
      ...testPlan({
        rounds: { count, cohortSize: 3, quorum: 3 },
        aggregation: { weighting: 'equal' },
        evaluation: { everyRounds: 0 },
      }),
      base: { digest: fixedBaseDigest(fixedBase) },
      privacy: { unit: 'client', clipNorm: 1, ...privacy },
    },
    'the test',
  );
const begin = (plan: Plan, options: Partial<CoordinatorOptions>) =>
  startWorld({ plan, ...fixedStart(dim), ...options });
const learner = () => fixedLearner({ dim, delta: () => new Float32Array(dim).fill(0.1) });

/** Lets three clients train until the federation ends: how it ended, and what the clients ran on. */
async function federate(world: World) {
  const platforms = [1, 2, 3].map((seed) => platformIn(world, 900 + seed));
  const clients = [];
  for (const platform of platforms) clients.push(await runClient(world, { platform, learner: learner(), policy }));
  const end = await world.coordinator.ended;
  await Promise.all(clients.map(({ ended }) => ended));
  await world.coordinator.close();
  return { end, platforms };
}

const endOf = ({ events }: World) => events.find(({ type }) => type === 'ended');
/** How the end reads. */
const spent = (paid: number, published: number, count: number) =>
  new RegExp(
    `^the privacy budget is spent: it pays ${paid} rounds, void ones included; ${published} of ${count} rounds published`,
  );

describe('spent budget', () => {
  afterEach(closeWorlds);

  it('[SPB-1] budget-stop: a coordinator that is started again stays stopped, without waiting for anybody, and tells whoever connects', async () => {
    const once = spendingOf(planWith(2, { noiseMultiplier: 1, epsilon: 100 }), dim)!.epsilonAfter(1);
    const plan = planWith(2, { noiseMultiplier: 1, epsilon: once * 1.01 });
    const state = memoryState(seededEntropy(1));
    const first = await federate(await begin(plan, { state }));
    assert.equal(first.end.status, 'stopped');
    assert.match(first.end.detail, spent(1, 1, 2));
    const before = { rounds: await state.store.rounds(), versions: await state.store.versions() };
    for (let start = 0; start < 2; start++) {
      const world = await begin(plan, { state, entropy: seededEntropy(5 + start) });
      await settled();
      const ended = endOf(world);
      assert.ok(ended?.type === 'ended', 'it waits for clients that could do nothing');
      assert.equal(ended.status, 'stopped');
      assert.match(ended.detail, spent(1, 1, 2));
      const trained: number[] = [];
      const delta = (round: number) => {
        trained.push(round);
        return new Float32Array(dim);
      };
      const { journal } = first.platforms[start]!;
      const platform = { ...platformIn(world, 901 + start), journal };
      const again = await runClient(world, { platform, learner: fixedLearner({ dim, delta }), policy });
      assert.deepEqual(await again.ended, { kind: 'federation-stopped', detail: ended.detail });
      assert.deepEqual(trained, []);
      await world.coordinator.close();
      assert.deepEqual({ rounds: await state.store.rounds(), versions: await state.store.versions() }, before);
    }
  });

  it('[SPB-2] budget-stop: a rollback gives nothing back: rounds that it takes back are not trained again once the budget is spent', async () => {
    const stateFolder = mkdtempSync(join(tmpdir(), 'tributary-spent-'));
    try {
      // Noise of the least size: the budget pays the rounds of the plan and none beyond.
      const plan = planWith(2, { epsilon: 30 });
      const first = await federate(await begin(plan, { stateFolder }));
      assert.equal(first.end.status, 'completed', first.end.detail);
      await rollback({ state: stateFolder, toVersion: '1' }, { report: () => undefined } as unknown as CommandContext);
      const world = await begin(plan, { stateFolder, entropy: seededEntropy(7) });
      const { status, detail } = await world.coordinator.ended;
      assert.equal(status, 'stopped');
      assert.match(detail, spent(2, 1, 2));
      const versions = await world.coordinator.library();
      assert.deepEqual(
        versions.map(({ row }) => row.roundIndex),
        [-1, 0, 1, -1],
      );
      assert.equal(versions.at(-1)!.row.modelHash, versions[1]!.row.modelHash);
      await world.coordinator.close();
    } finally {
      rmSync(stateFolder, { recursive: true, force: true });
    }
  });

  it('[SPB-3] a rollback that is interrupted leaves no version without its number, and can be made again', async () => {
    const stateFolder = mkdtempSync(join(tmpdir(), 'tributary-spent-'));
    try {
      const plan = planWith(1, { noiseMultiplier: 1, epsilon: 1000 });
      assert.equal((await federate(await begin(plan, { stateFolder }))).end.status, 'completed');
      const again = () =>
        rollback({ state: stateFolder, toVersion: '0' }, { report: () => undefined } as unknown as CommandContext);
      const database = new DatabaseSync(join(stateFolder, 'coordinator.sqlite'));
      const counts = () =>
        ['rounds', 'versions'].map((table) => Number(database.prepare(`SELECT count(*) AS n FROM ${table}`).get()!.n));
      for (const [table, left] of [
        ['rounds', [1, 2]],
        ['versions', [2, 2]],
      ] as const) {
        database.exec(`CREATE TRIGGER full BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'disk full'); END`);
        await assert.rejects(again(), /disk full/);
        database.exec('DROP TRIGGER full');
        assert.deepEqual(counts(), left, table);
      }
      await again();
      assert.deepEqual(counts(), [3, 3]);
      database.close();
    } finally {
      rmSync(stateFolder, { recursive: true, force: true });
    }
  });
});
