/** What sites keep and how they weigh, in federations of two real sites: personal parts, cohort adapters with own weights, weights inside the sum. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownPartsName } from '../../client/own-parts.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { bytesOf, float32Of, toHex } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { closeWorlds, startWorld } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, runClient } from './memory-federation.ts';

/** Adapters that change something, so that there is something to weigh. */
const members = ['a', 'b'].map((id) => ({ id, method: 'bottleneck', size: 2, initialisation: 'bert', frozen: true }));

/** Rows of one site. */
function rows(site: number, task: Readonly<Record<string, string>> = {}) {
  const random = seededRandom(site, 'rows');
  return viewsOf(
    Array.from({ length: 16 }, () => {
      const label = random.uniform() < 0.5 ? 'a' : 'b';
      return { text: `${'pqr'[site]!}${(label === 'a' ? 'cde' : 'xyz')[random.integer(3)]!}`, label, ...task };
    }),
  );
}

describe('personal parts and weights in federations', () => {
  let folder = '';
  let base: BaseDescription;
  before(async () => {
    await useBackend('wasm');
    folder = mkdtempSync(join(tmpdir(), 'tributary-personal-'));
    await writeTinyBase(folder);
    base = await describeBase(folder);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  /** Runs a plan of two rounds with two sites: what is published, and what each site keeps. */
  const federate = async (
    adapter: object,
    aggregation: object,
    {
      sites = [0, 1],
      weights = [1, 1],
      masked = false,
      rounds = 2,
    }: {
      readonly sites?: readonly number[];
      readonly weights?: readonly number[];
      readonly masked?: boolean;
      readonly rounds?: number;
    } = {},
    tasks: readonly string[] = [],
  ) => {
    const names = [...new Set(['one', 'two', ...tasks])].map((name) => ({ name, labels: ['a', 'b'] }));
    const several = { kind: 'several', tasks: names, pooling: 'last', lengthMax: 16 };
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'personal',
        base: { digest: base.digest },
        task: tasks.length > 0 ? several : { labels: ['a', 'b'], pooling: 'last', lengthMax: 16 },
        adapter,
        training: { localSteps: 2, batchSize: 8, learningRate: 0.02, schedule: 'constant' },
        rounds: {
          ...{ count: rounds, cohortSize: sites.length, quorum: sites.length },
          ...{ recruitSeconds: 10, trainSeconds: 60, evaluateSeconds: 10 },
        },
        evaluation: { everyRounds: 0 },
        secureAggregation: { mode: masked ? 'on' : 'off' },
        aggregation,
      },
      'the test',
    );
    const prepared = await prepareFederation(plan, folder, 'the test');
    const world = await startWorld(prepared);
    const platforms = sites.map((_, index) => platformIn(world, 700 + index));
    const ended: Promise<unknown>[] = [];
    for (const [index, site] of sites.entries()) {
      const task = tasks[index];
      const views = task === undefined ? rows(site) : rows(site, { task });
      const columns = task === undefined ? {} : { part: 'task' };
      const learner = taskLearner({
        train: views,
        heldOut: masked || sites.length > 2 ? views.slice(0, 6) : [],
        columns,
        backend: 'wasm',
      });
      const policy = parsePolicy(
        { cohortMin: 1, quorumMin: 1, organisationsMin: 1, discloseMetrics: true, weight: weights[index] },
        'the test',
      );
      ended.push((await runClient(world, { platform: platforms[index]!, learner, policy })).ended);
    }
    await world.coordinator.ended;
    await Promise.all(ended);
    const versions = await world.coordinator.library();
    assert.equal(versions.length, rounds + 1);
    const adapters = await Promise.all(versions.map(({ row }) => world.coordinator.adapter(row)));
    const name = ownPartsName(world.coordinator.federationId, planHashOf(plan));
    const kept = await Promise.all(platforms.map(({ personal }) => personal.read(name)));
    const values = adapters.map(float32Of);
    const parts = prepared.layout.tensors.map((tensor) => ({
      ...tensor,
      before: values[0]!.subarray(tensor.offset, tensor.offset + tensor.size),
      after: values.at(-1)!.subarray(tensor.offset, tensor.offset + tensor.size),
    }));
    await closeWorlds();
    const { tensors } = exchangeOf(
      plan.aggregation,
      prepared.layout,
      prepared.trainedLayout ?? prepared.layout,
    ).uploaded;
    return { parts, kept, last: toHex(adapters.at(-1)!), sent: tensors.map((tensor) => tensor.name) };
  };
  const same = (left: Float32Array, right: Float32Array) => toHex(bytesOf(left)) === toHex(bytesOf(right));

  const bottleneck = { method: 'bottleneck', size: 2 };
  const residual = {
    method: 'stack',
    members: [
      { ...bottleneck, id: 'shared' },
      { ...bottleneck, id: 'mine' },
    ],
  };
  const cases: readonly (readonly [string, object, readonly string[], RegExp])[] = [
    ['the head', bottleneck, ['head'], /^head\./],
    ['chosen layers', bottleneck, ['layers.0'], /^layers\.0\./],
    ['a residual on what is shared', residual, ['mine'], /^mine\./],
    ['weights over cohort adapters', { method: 'average', members, learning: 'personal' }, [], /^average\./],
    ['a fusion over public adapters', { method: 'fuse', members, rank: 2 }, ['fusion'], /^fusion\./],
  ];
  for (const [what, adapter, personal, pattern] of cases) {
    it(`[PFD-1] ${what}: trained by every site for itself, kept by it, and never in what is published`, async () => {
      const { parts, kept, sent } = await federate(adapter, personal.length === 0 ? {} : { personal });
      assert.ok(sent.length > 0 && !sent.some((name) => pattern.test(name)), `${what} is in no upload`);
      const own = parts.filter(({ name }) => pattern.test(name));
      assert.ok(own.length > 0);
      for (const { name, aggregationClass } of parts)
        assert.equal(aggregationClass === 'local', pattern.test(name), name);
      for (const { name, before, after } of own) assert.ok(same(before, after), name);
      const shared = parts.filter(({ name, aggregationClass }) => !pattern.test(name) && aggregationClass === 'mean');
      assert.ok(
        shared.some(({ before, after }) => !same(before, after)),
        'what is shared moves',
      );
      const size = own.reduce((sum, tensor) => sum + tensor.size, 0);
      for (const bytes of kept) assert.equal(bytes?.length, 4 * size);
      const start = Float32Array.from(own.flatMap(({ before }) => [...before]));
      for (const bytes of kept) assert.notEqual(toHex(bytes!), toHex(bytesOf(start)), 'every site learned something');
      assert.notEqual(toHex(kept[0]!), toHex(kept[1]!), 'and another than the other');
    });
  }

  it('[PFD-2] weights inside the sum: what a site that gives itself 0 has learned changes nothing', async () => {
    const given = { weighting: 'given' };
    const weights = [1, 0];
    const { last } = await federate(bottleneck, given, { sites: [0, 1], weights });
    const other = await federate(bottleneck, given, { sites: [0, 2], weights });
    const both = await federate(bottleneck, given, { sites: [0, 1], weights: [1, 0.5] });
    assert.equal(last, other.last);
    assert.notEqual(last, both.last);
  });

  // What sites keep and how they weigh, behind masks: [what, adapter, aggregation, tasks].
  const hidden: readonly (readonly [string, object, object, readonly string[]])[] = [
    ...cases.map(
      ([what, adapter, personal]) => [what, adapter, personal.length === 0 ? {} : { personal }, []] as const,
    ),
    ['weights that sites give themselves', bottleneck, { weighting: 'given' }, []],
    ['weights by accuracy on own rows', bottleneck, { weighting: 'quality' }, []],
    ['experts by their use, and by given weights', { method: 'mixture', size: 2 }, { weighting: 'given' }, []],
    ['a head by label', { method: 'lora', rank: 1 }, { head: 'by-label', lowRank: 'freeze-a' }, []],
    ['heads of several tasks', { method: 'bottleneck', size: 2, scaling: 'channel' }, {}, ['one', 'two', 'one']],
    [
      'a personal adapter with experts and a scale',
      {
        method: 'stack',
        members: [
          { id: 'shared', method: 'bottleneck', size: 2, scaling: 'learned' },
          { id: 'mine', method: 'mixture', size: 2 },
        ],
      },
      { personal: ['mine'] },
      [],
    ],
  ];
  for (const [what, adapter, aggregation, tasks] of hidden) {
    it(`[PFD-4] ${what}: behind masks as in the open, up to the rounding of the masked sum`, async () => {
      const weights = [1, 0.5, 0.25];
      const sites = [0, 1, 2];
      const open = await federate(adapter, aggregation, { sites, weights, rounds: 1 }, tasks);
      const masked = await federate(adapter, aggregation, { sites, weights, rounds: 1, masked: true }, tasks);
      const near = (found: Float32Array, expected: Float32Array, name: string) => {
        for (const [index, value] of expected.entries())
          assert.ok(Math.abs(found[index]! - value) < 2e-4, `${name}: ${found[index]} is not ${value}`);
      };
      for (const [index, { name, after, aggregationClass }] of masked.parts.entries()) {
        near(after, open.parts[index]!.after, name);
        if (aggregationClass === 'local') assert.ok(!masked.sent.includes(name), name);
      }
      assert.ok(masked.parts.some(({ before, after }) => !same(before, after)));
      for (const [site, kept] of masked.kept.entries()) {
        assert.equal(kept === null, open.kept[site] === null);
        if (kept !== null) near(float32Of(kept.slice()), float32Of(open.kept[site]!.slice()), `kept by ${site}`);
      }
    });
  }

  it('[PFD-3] several tasks: a site without rows of one leaves its head to those that have some, at full weight', async () => {
    const headOf = ({ parts }: Awaited<ReturnType<typeof federate>>, name: string) =>
      parts.find((tensor) => tensor.name === `heads.${name}.bias`)!;
    const frozen = { frozen: ['layers'] };
    const apart = await federate(bottleneck, frozen, {}, ['one', 'two']);
    const alike = await federate(bottleneck, frozen, { sites: [0, 0] }, ['one', 'one']);
    for (const name of ['one', 'two']) assert.ok(!same(headOf(apart, name).before, headOf(apart, name).after), name);
    assert.ok(same(headOf(alike, 'two').before, headOf(alike, 'two').after), 'a task that nobody has stays as it was');
    const [own, twice] = [headOf(apart, 'one').after, headOf(alike, 'one').after];
    for (const [index, value] of own.entries())
      assert.ok(Math.abs(value - twice[index]!) < 1e-6, `${value}, ${twice[index]}`);
  });
});
