/** Every adapter method goes through a federation of two sites with real models, without sockets; and federations that build on each other. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { taskLearner } from '../../client/task-learner.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { type AdapterDocument, createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { composeDocuments } from '../../shared/adapters/composition/compose-documents.ts';
import { methodNames, parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { bytesOf, float32Of, toHex } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { initialValues, taskLayout } from '../../shared/training/initial-adapter.ts';
import { trainsLocally } from '../../shared/update/layout.ts';
import { closeWorlds, startWorld, until } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, published, runClient } from './memory-federation.ts';

const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'last', lengthMax: 16 } as const;
const members = ['one', 'two'].map((id) => ({ id, method: 'bottleneck', size: 4 }));
/** Settings of methods that need some, or that are large without. */
const settings: Readonly<Record<string, object>> = {
  bottleneck: { size: 4, scaling: 'learned', gate: true },
  hyperformer: { tasks: ['one', 'two'], embeddingSize: 4, reductionFactor: 4 },
  mixture: { size: 4 },
  stack: { members },
  fuse: { members },
  average: { members, learning: 'personal' },
  gate: { members: members.slice(0, 1), penalty: 0.1 },
  split: { members, at: [1] },
  'batch-split': { members, sizes: [3, 5] },
  parallel: { members },
};

/** Rows of one site: it tells letters apart, and begins its texts with one of its own. */
function rows(site: number, count: number) {
  const random = seededRandom(site, 'rows');
  return viewsOf(
    Array.from({ length: count }, () => {
      const label = random.uniform() < 0.5 ? 'a' : 'b';
      return { text: `${'pq'[site]!}${(label === 'a' ? 'cde' : 'xyz')[random.integer(3)]!}`, label };
    }),
  );
}

describe('federations of every method', () => {
  let folder = '';
  let base: BaseDescription;
  before(async () => {
    await useBackend('wasm');
    folder = mkdtempSync(join(tmpdir(), 'tributary-method-federation-'));
    await writeTinyBase(folder);
    base = await describeBase(folder);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  const planOf = (adapter: object, further: object = {}): Plan =>
    parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'method',
        base: { digest: base.digest },
        task,
        adapter,
        training: { localSteps: 2, batchSize: 8, learningRate: 0.01, schedule: 'constant' },
        rounds: { count: 1, cohortSize: 2, quorum: 2, recruitSeconds: 10, trainSeconds: 60, evaluateSeconds: 10 },
        ...further,
      },
      'the test',
    );

  /** Runs a plan to its end; gives the first and the last adapter and what each of their tensors is. */
  const federate = async (plan: Plan, start: AdapterDocument | null = null, adapterTasks: readonly string[] = []) => {
    const prepared = await prepareFederation(plan, folder, 'the test', start);
    const world = await startWorld(prepared);
    const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, discloseMetrics: true }, 'the test');
    const ended: Promise<unknown>[] = [];
    for (const site of [0, 1]) {
      const adapterTask = adapterTasks[site];
      const learner = taskLearner({
        train: rows(site, 16),
        heldOut: rows(site, 8),
        backend: 'wasm',
        ...(adapterTask === undefined ? {} : { adapterTask }),
      });
      const client = await runClient(world, { platform: platformIn(world, 400 + site), learner, policy });
      ended.push(client.ended);
      assert.deepEqual(client.problems, []);
    }
    await published(world, plan.rounds.count);
    await world.coordinator.ended;
    await Promise.all(ended);
    const versions = await world.coordinator.library();
    const adapters = await Promise.all(versions.map(({ row }) => world.coordinator.adapter(row)));
    const first = float32Of(adapters[0]!);
    const last = float32Of(adapters.at(-1)!);
    const parts = prepared.layout.tensors.map(({ name, offset, size, aggregationClass }) => ({
      name,
      aggregationClass,
      before: first.subarray(offset, offset + size),
      after: last.subarray(offset, offset + size),
    }));
    await closeWorlds();
    return { versions, last, layout: prepared.layout, parts };
  };
  const same = (left: Float32Array, right: Float32Array) => toHex(bytesOf(left)) === toHex(bytesOf(right));

  for (const method of methodNames) {
    it(`[FDM-1] ${method}: a round moves what is shared, and neither what is frozen nor what stays with clients`, async () => {
      // Adapters side by side have a head each: rows with one label are of both tasks.
      const heads = members.map(({ id }) => ({ name: id, labels: task.labels }));
      const { labels: _, ...shape } = task;
      const further = method === 'parallel' ? { task: { ...shape, kind: 'several', tasks: heads } } : {};
      const plan = planOf({ method, ...settings[method] }, further);
      const { versions, parts } = await federate(plan, null, method === 'hyperformer' ? ['one', 'two'] : []);
      assert.equal(versions.length, 2);
      assert.equal(versions[1]!.record.metrics!.exampleCount, 16);
      let moved = 0;
      for (const { name, aggregationClass, before, after } of parts) {
        assert.ok(after.every(Number.isFinite), name);
        const isShared = trainsLocally(aggregationClass) && aggregationClass !== 'local';
        if (!isShared && aggregationClass !== 'count') assert.ok(same(before, after), name);
        if (isShared && !same(before, after)) moved++;
      }
      assert.ok(moved > 0);
    });
  }

  it('[FDM-5] under privacy a mixture sends no counts: experts move by the plain mean, noised, and counts stay as they began', async () => {
    const privacy = { unit: 'client', clipNorm: 0.1, noiseMultiplier: 0.5, epsilon: 500 };
    const plan = planOf({ method: 'mixture', size: 4 }, { privacy, aggregation: { weighting: 'equal' } });
    const { versions, parts } = await federate(plan);
    assert.match(versions[1]!.record.privacy, /epsilon/);
    const experts = parts.filter(({ name }) => name.includes('expert'));
    assert.ok(experts.length > 0);
    for (const { name, aggregationClass, before, after } of experts) {
      assert.equal(aggregationClass, 'mean', name);
      assert.ok(after.every(Number.isFinite) && !same(before, after), name);
    }
    const counts = parts.filter(({ name }) => name.endsWith('.uses'));
    assert.ok(counts.length > 0);
    for (const { name, aggregationClass, before, after } of counts) {
      assert.equal(aggregationClass, 'frozen', name);
      assert.ok(same(before, after), name);
    }
  });

  it('[FDM-2] stages: adapters of two federations, then a third that learns their fusion and leaves them as they are', async () => {
    const stage = async (seed: number): Promise<AdapterDocument> => {
      const adapter = { method: 'bottleneck', size: 4 };
      const plan = planOf(adapter, { training: { localSteps: 2, learningRate: 0.01, seed } });
      const { last: parameters, layout } = await federate(plan);
      const { configuration } = parseAdapter(adapter, base);
      return createAdapterDocument({ base, adapter: configuration, task, layout, parameters });
    };
    const documents = [await stage(1), await stage(2)] as const;
    const composed = composeDocuments({
      method: 'fuse',
      members: documents.map((document, index) => ({ id: members[index]!.id, document })),
      base,
      task,
      seed: 3,
    });
    const { parts } = await federate(planOf(composed.adapter), composed);
    let held = 0;
    for (const { name, after } of parts) {
      const place = members.findIndex(({ id }) => name.startsWith(`${id}.`));
      if (place === -1) continue;
      const { layout, parameters } = documents[place]!;
      const { offset, size } = layout.tensors.find((tensor) => name === `${members[place]!.id}.${tensor.name}`)!;
      assert.ok(same(after, parameters.subarray(offset, offset + size)), name);
      held++;
    }
    assert.equal(held, 2 * 4);
    const isMoved = (word: string) =>
      parts.some(({ name, before, after }) => name.includes(word) && !same(before, after));
    assert.ok(isMoved('query') || isMoved('value'));
    assert.ok(isMoved('head'));
  });

  it('[FDM-6] members that are not what the plan names by their content are refused by the coordinator, and by every site', async () => {
    const documents = [1, 2].map((seed) => {
      const adapter = parseAdapter({ method: 'bottleneck', size: 4, initialisation: 'bert' }, base);
      const layout = taskLayout(adapter, base, task);
      const parameters = initialValues(layout, adapter, seed);
      return createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });
    });
    const fused = composeDocuments({
      method: 'fuse',
      members: documents.map((document, index) => ({ id: members[index]!.id, document })),
      ...{ base, task, seed: 3 },
    });
    const [first, second] = fused.adapter.members as readonly [object, { readonly content: string }];
    const plan = planOf(fused.adapter);
    const wrong = planOf({ ...fused.adapter, members: [{ ...first, content: second.content }, second] });
    const refusal = /adapter\.members\[0\]\.content says that the member one has the content [\s\S]*adapters combine/;
    await assert.rejects(prepareFederation(wrong, folder, 'the test', fused), refusal);
    await assert.rejects(prepareFederation(plan, folder, 'the test'), refusal);
    const prepared = await prepareFederation(plan, folder, 'the test', fused);
    const world = await startWorld({ ...prepared, plan: wrong });
    const policy = parsePolicy({ cohortMin: 1, quorumMin: 1 }, 'the test');
    const running: Awaited<ReturnType<typeof runClient>>[] = [];
    for (const site of [0, 1]) {
      const learner = taskLearner({ train: rows(site, 16), heldOut: [], backend: 'wasm' });
      running.push(await runClient(world, { platform: platformIn(world, 420 + site), learner, policy }));
    }
    await until(() => running.every(({ problems }) => problems.length > 0), 'sites refuse');
    for (const { problems, stop } of running) {
      assert.match(
        problems[0]!,
        /plan-mismatch: adapter\.members\[0\]\.content: the plan says .* the member one .* has/,
      );
      stop();
    }
    await Promise.all(running.map(({ ended }) => ended));
  });

  it('[FDM-3] a fusion over public adapters that every site learns for itself never leaves the sites', async () => {
    const plan = planOf({ method: 'fuse', members }, { aggregation: { personal: ['fusion'] } });
    const { parts } = await federate(plan);
    const fusion = parts.filter(({ name }) => name.startsWith('fusion.'));
    assert.ok(fusion.length >= 3);
    for (const { name, aggregationClass, before, after } of fusion) {
      assert.equal(aggregationClass, 'local');
      assert.ok(same(before, after), name);
    }
  });

  it('[FDM-4] a schedule of freezing runs over the rounds of a plan', async () => {
    const training = {
      localSteps: 2,
      learningRate: 0.01,
      freezing: [
        { tensors: ['layers'], until: 0.5 },
        { tensors: ['head'], from: 0.5 },
      ],
    };
    const rounds = { count: 1, cohortSize: 2, quorum: 2 };
    const adapter = { method: 'lora', rank: 2 };
    const half = await federate(
      planOf(adapter, {
        training: { ...training, freezing: [training.freezing[0]!] },
        rounds: { ...rounds, count: 2 },
      }),
    );
    const moved = (parts: typeof half.parts, word: string) =>
      parts.some(({ name, before, after }) => name.startsWith(word) && !same(before, after));
    assert.ok(moved(half.parts, 'layers') && moved(half.parts, 'head'));
    // In the first half of the steps nothing but the head moves.
    const never = [{ tensors: ['layers'] }];
    const frozen = await federate(planOf(adapter, { training: { ...training, freezing: never }, rounds }));
    assert.ok(!moved(frozen.parts, 'layers') && moved(frozen.parts, 'head'));
  });
});
