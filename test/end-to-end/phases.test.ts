/** Plans of phases without sockets: what a second phase takes over, a stop between phases, and what sites and commands see of it. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { taskLearner } from '../../client/task-learner.ts';
import { placesOf } from '../../coordinator/library/places.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { bytesOf, float32Of, toHex } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { planOfPhase } from '../../shared/plan/phases.ts';
import { documentHashOf, type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { unflatten } from '../../shared/update/vector.ts';
import { closeWorlds, seededEntropy, settled, startWorld, until } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, runClient } from './memory-federation.ts';

const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'last', lengthMax: 16 } as const;
const rounds = { count: 1, cohortSize: 2, quorum: 2, recruitSeconds: 10, trainSeconds: 60, evaluateSeconds: 10 };

function rows(site: number) {
  const random = seededRandom(site, 'rows');
  return viewsOf(
    Array.from({ length: 16 }, () => {
      const label = random.uniform() < 0.5 ? 'a' : 'b';
      return { text: `${'pq'[site]!}${(label === 'a' ? 'cde' : 'xyz')[random.integer(3)]!}`, label };
    }),
  );
}

describe('plans of phases', () => {
  let folder = '';
  let base: BaseDescription;
  before(async () => {
    await useBackend('wasm');
    folder = mkdtempSync(join(tmpdir(), 'tributary-phases-'));
    await writeTinyBase(folder);
    base = await describeBase(folder);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  const documentOf = (phases: readonly object[]): Plan =>
    parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'phases',
        base: { digest: base.digest },
        task,
        training: { localSteps: 2, batchSize: 8, learningRate: 0.01, schedule: 'constant' },
        rounds,
        evaluation: { everyRounds: 0 },
        phases,
      },
      'the test',
    );
  const joined = async (world: Awaited<ReturnType<typeof startWorld>>, policy: object = {}, seed = 500) => {
    const ended: Promise<unknown>[] = [];
    for (const site of [0, 1]) {
      const learner = taskLearner({ train: rows(site), heldOut: [], backend: 'wasm' });
      const agreed = parsePolicy({ cohortMin: 1, quorumMin: 1, ...policy }, 'the test');
      ended.push((await runClient(world, { platform: platformIn(world, seed + site), learner, policy: agreed })).ended);
    }
    return ended;
  };

  it('[PHE-2] a phase goes on from another, whose head it keeps; sites approve the document alone', async () => {
    const bottleneck = { method: 'bottleneck', size: 4 };
    const document = documentOf([
      { name: 'first', adapter: bottleneck },
      { name: 'second', start: 'first', aggregation: { frozen: ['layers'] } },
    ]);
    const world = await startWorld(await prepareFederation(document, folder, 'the test'));
    const ended = await joined(world, { approvedPlans: [documentHashOf(document)], roundsMax: 2 });
    await world.coordinator.ended;
    await Promise.all(ended);
    const versions = await world.coordinator.library();
    assert.equal(versions.length, 4);
    const adapters = await Promise.all(versions.map(({ row }) => world.coordinator.adapter(row)));
    assert.equal(toHex(adapters[2]!), toHex(adapters[1]!), 'the second phase begins with what the first published');
    const first = planOfPhase(document, { index: 0, firstRound: 0, results: [] });
    const { layout } = planAdapters(first, base).published;
    const [before, last] = [1, 3].map((version) => unflatten(layout, float32Of(adapters[version]!)));
    const moved = [...before!].filter(([name, values]) => toHex(bytesOf(values)) !== toHex(bytesOf(last!.get(name)!)));
    assert.deepEqual(
      moved.map(([name]) => name),
      ['head.kernel', 'head.bias'],
    );
  });

  it('[PHE-3] a site refuses a document of which any phase breaks its policy', async () => {
    const document = documentOf([
      { name: 'first', adapter: { method: 'bottleneck', size: 4 } },
      { name: 'second', adapter: { method: 'lora', rank: 2 } },
    ]);
    const world = await startWorld(await prepareFederation(document, folder, 'the test'));
    void (await joined(world, { methods: ['bottleneck'] }));
    await until(() => world.events.some(({ type }) => type === 'client-declined'), 'a refusal');
    const declined = world.events.find((event) => event.type === 'client-declined');
    assert.match(declined!.reason, /method-not-allowed: the plan trains with lora/);
  });

  it('[PHE-4] a coordinator that ends between two phases, or once the next has begun, goes on there', async () => {
    const document = documentOf([
      { name: 'first', adapter: { method: 'bottleneck', size: 4 } },
      {
        name: 'second',
        adapter: {
          method: 'fuse',
          members: [
            { id: 'a', phase: 'first' },
            { id: 'b', phase: 'first' },
          ],
        },
      },
    ]);
    const prepared = await prepareFederation(document, folder, 'the test');
    const memory = memoryState(seededEntropy(1));
    const state = { ...memory, close: async () => undefined };
    // The version that begins the phase is never written by the first coordinator.
    let isDown = true;
    const store: typeof memory.store = {
      ...memory.store,
      addVersion: async (version) => {
        if (isDown) throw new Error('the disk is gone');
        await memory.store.addVersion(version);
      },
    };
    const first = await startWorld({ ...prepared, state: { ...state, store }, isDoomed: true });
    void (await joined(first));
    await assert.rejects(first.coordinator.ended, /the disk is gone/);
    await settled();
    assert.equal((await memory.store.versions()).length, 2);
    isDown = false;
    const second = await startWorld({ ...prepared, state, isDoomed: true });
    await until(() => second.events.some(({ type }) => type === 'phase-started'), 'the second phase');
    await second.coordinator.close();
    const third = await startWorld({ ...prepared, state });
    const ended = await joined(third, {}, 600);
    await third.coordinator.ended;
    await Promise.all(ended);
    const versions = await third.coordinator.library();
    assert.deepEqual(
      placesOf(versions.map(({ record }) => record)).map(({ index }) => index),
      [0, 0, 1, 1],
    );
    assert.equal(third.events.filter(({ type }) => type === 'phase-started').length, 0);
  });
});
