/**
 * A plan of phases over real sockets, with real training on the base that ships: an adapter for each of two tasks, then AdapterFusion over both.
 * The coordinator is closed and started again inside the second phase and between two, and the sites stay where they are.
 */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../../client/client.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import { type Coordinator, startCoordinator } from '../../coordinator/coordinator.ts';
import type { CoordinatorProgress } from '../../coordinator/events.ts';
import { placesOf, planOfVersion } from '../../coordinator/library/places.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { openExistingState } from '../../coordinator/store/state.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { bytesOf, float32Of, toHex } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import { documentHashOf, type Plan, parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { unflatten } from '../../shared/update/vector.ts';
import { policyWith } from './world.ts';

const topics = { a: ['card', 'account'], b: ['parcel', 'courier'] } as const;
const tones = { calm: ['please', 'thanks'], upset: ['never', 'awful'] } as const;

/** Rows of two tasks over the same kind of text, told apart by a column. */
function rowsOf(site: number, count: number) {
  const random = seededRandom(site, 'phases');
  const pick = <Item>(items: readonly Item[]): Item => items[random.integer(items.length)]!;
  const rows = Array.from({ length: count }, (_, index) => {
    const topic = pick(['a', 'b'] as const);
    const tone = pick(['calm', 'upset'] as const);
    const text = `${pick(tones[tone])} my ${pick(topics[topic])}`;
    return index % 2 === 0 ? { text, label: topic, task: 'topic' } : { text, label: tone, task: 'tone' };
  });
  return viewsOf(rows);
}

const rounds = { count: 2, cohortSize: 2, quorum: 2, recruitSeconds: 60, trainSeconds: 60, evaluateSeconds: 20 };
const adapter = { method: 'bottleneck', size: 4, topLayers: 1 };
const topic = { labels: ['a', 'b'], pooling: 'mean', lengthMax: 12, part: 'topic' };
const tone = { labels: ['calm', 'upset'], pooling: 'mean', lengthMax: 12, part: 'tone' };

function documentFor(digest: string): Plan {
  const members = [
    { id: 'topic', phase: 'topic' },
    { id: 'tone', phase: 'tone', frozen: false },
  ];
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'phases',
      base: { digest },
      training: { localSteps: 4, batchSize: 8, learningRate: 0.01, schedule: 'constant' },
      rounds,
      phases: [
        { name: 'topic', task: topic, adapter },
        { name: 'tone', task: tone, adapter },
        {
          name: 'both',
          task: topic,
          adapter: { method: 'fuse', rank: 4, members },
          training: { localSteps: 2, batchSize: 8, learningRate: 0.003, schedule: 'constant' },
        },
      ],
    },
    'the test',
  );
}

describe('plans of phases over sockets', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-phases-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('[PHE-1] two adapters, then their fusion: one federation, joined once, on through restarts inside and between phases', async function () {
    this.timeout(120_000);
    const base = await describeBase(pretrainedFolder());
    const document = documentFor(base.digest);
    const stateFolder = join(folder, 'state');
    const events: CoordinatorProgress[] = [];
    let port = 0;
    /** Starts a coordinator; it is closed by the test as soon as an event fits. */
    const start = async (fits: (event: CoordinatorProgress) => boolean) => {
      const prepared = await prepareFederation(document, pretrainedFolder(), 'the test');
      const seen = Promise.withResolvers<void>();
      const coordinator: Coordinator = await startCoordinator({
        ...prepared,
        stateFolder,
        port,
        onEvent: (event) => {
          events.push(event);
          if (fits(event)) seen.resolve();
        },
      });
      prepared.closeBase();
      port = Number(new URL(coordinator.url).port);
      return { coordinator, seen: seen.promise };
    };

    const isPast = (type: CoordinatorProgress['type']): boolean => events.some((event) => event.type === type);
    const first = await start(({ type }) => type === 'round-started' && isPast('phase-started'));
    const policy = policyWith();
    const ended: Promise<{ readonly kind: string }>[] = [];
    for (const site of [0, 1]) {
      const client = await createClient({
        platform: await nodePlatform(join(folder, `site-${site}`)),
        learner: taskLearner({
          train: rowsOf(site, 32),
          heldOut: rowsOf(10 + site, 16),
          columns: { part: 'task' },
          backend: 'wasm',
        }),
        policy,
        invite: await first.coordinator.invite({ organisation: `site ${site}` }),
      });
      ended.push(client.run());
    }
    // Inside the second phase.
    await first.seen;
    await first.coordinator.close();
    // Between the second and the third.
    const second = await start((event) => event.type === 'published' && event.version === 5);
    await second.seen;
    await second.coordinator.close();
    const third = await start(() => false);
    assert.equal((await third.coordinator.ended).status, 'completed');
    for (const end of await Promise.all(ended)) assert.equal(end.kind, 'completed');

    const versions = await third.coordinator.library();
    const adapters = await Promise.all(versions.map(({ row }) => third.coordinator.adapter(row)));
    await third.coordinator.close();
    // 0, two rounds; start, two rounds; start, two rounds.
    assert.deepEqual(
      placesOf(versions.map(({ record }) => record)).map(({ index }) => index),
      [0, 0, 0, 1, 1, 1, 2, 2, 2],
    );
    for (const [version, { record }] of versions.entries())
      assert.equal(record.parentModelHash, versions[version - 1]?.record.modelHash ?? null);
    assert.equal(events.filter(({ type }) => type === 'enrolled').length, 2);
    assert.equal(events.filter(({ type }) => type === 'phase-started').length, 2);

    // Every phase is under its own plan, all of which are one document.
    const places = placesOf(versions.map(({ record }) => record));
    const rows = versions.map(({ row }) => row);
    const plans = [2, 5, 8].map((version) => planOfVersion(document, places[version]!, rows));
    for (const [index, plan] of plans.entries()) {
      assert.equal(planHashOf(plan), versions[3 * index + 2]!.record.planHash);
      assert.equal(documentHashOf(plan), planHashOf(document));
    }
    const members = plans[2]!.adapter.members as { readonly id: string; readonly version: string }[];
    assert.deepEqual(
      members.map(({ version }) => version),
      [versions[2]!.row.modelHash, versions[5]!.row.modelHash],
    );

    // What the first phases learned stands in the third, the frozen member bit for bit to the end.
    const layoutAt = (version: number) => planAdapters(plans[Math.floor(version / 3)]!, base).published.layout;
    const valuesAt = (version: number) => unflatten(layoutAt(version), float32Of(adapters[version]!));
    const hex = (values: Float32Array | undefined) => toHex(bytesOf(values!));
    const [learned, other, begun, fused] = [valuesAt(2), valuesAt(5), valuesAt(6), valuesAt(8)];
    const bound = parseAdapter(adapter, base);
    let moved = 0;
    for (const { name } of bound.tensors) {
      assert.equal(hex(begun.get(`topic.${name}`)), hex(learned.get(name)), name);
      assert.equal(hex(fused.get(`topic.${name}`)), hex(learned.get(name)), name);
      assert.equal(hex(begun.get(`tone.${name}`)), hex(other.get(name)), name);
      if (hex(fused.get(`tone.${name}`)) !== hex(other.get(name))) moved++;
    }
    assert.ok(moved > 0, 'the member that is not frozen goes on learning');
    assert.equal(hex(begun.get('head.kernel')), hex(learned.get('head.kernel')), 'the same task goes on with its head');
    assert.notEqual(hex(learned.get('head.kernel')), hex(valuesAt(0).get('head.kernel')));
    for (const { record } of versions.filter(({ row }) => row.roundIndex >= 0))
      assert.equal(record.contributors.length, 2);

    const { store, identity, record, close } = await openExistingState(stateFolder);
    const verdict = verifyLog({
      federation: record,
      coordinatorKey: toHex(identity.publicKey),
      rows: await store.log.rows(0),
      checkpoints: await store.log.checkpoints(),
      versions: await store.versions(),
    });
    await close();
    assert.deepEqual(verdict.faults, []);
  });
});
