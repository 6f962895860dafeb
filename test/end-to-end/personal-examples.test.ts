/** The example plans of fusion weights and own parts, run whole without sockets on a small base: what every site sends, keeps, and measures with. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Learner } from '../../client/learner.ts';
import { ownPartsName } from '../../client/own-parts.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { placesOf, planOfVersion } from '../../coordinator/library/places.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { type Plan, parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { readPlan } from '../../shared/plan/read-plan.node.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { personalised } from '../../shared/update/training-start.ts';
import { closeWorlds, startWorld } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, runClient } from './memory-federation.ts';

const examples = new URL('../../shared/plan/examples/', import.meta.url).pathname;
const labels = ['billing', 'delivery', 'other'];
const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, organisationsMin: 1, discloseMetrics: true }, 'the test');

/** Rows of a site, alternately of its parts, with labels that fit the tasks. */
const rowsOf = (site: number, parts: readonly string[]) =>
  viewsOf(
    Array.from({ length: 12 }, (_, index) => {
      const part = parts[index % parts.length]!;
      const known = part === 'urgency' ? ['low', 'high'] : labels;
      const label = known[(index >> 1) % (site % 2 === 0 ? known.length : 2)]!;
      return { text: `${label[0]}${site}${label[1]}`, label, part };
    }),
  );

describe('examples of own weights and parts', function () {
  this.timeout(60_000);
  let folder = '';
  let base: BaseDescription;
  before(async () => {
    await useBackend('wasm');
    folder = mkdtempSync(join(tmpdir(), 'tributary-personal-examples-'));
    await writeTinyBase(folder);
    base = await describeBase(folder);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  /** The example on the small base, in one round of each phase, of which all sites are asked and three are enough. */
  const shortened = async (name: string, siteCount: number): Promise<Plan> => {
    const { phase: _, phases, ...written } = await readPlan(join(examples, name));
    const short = ({ task, ...rest }: Pick<Plan, 'task' | 'rounds'>) => ({
      ...rest,
      task: { ...task, lengthMax: base.positionsMax },
      rounds: { ...rest.rounds, count: 1, cohortSize: siteCount, quorum: 3 },
    });
    const changes = { base: { digest: base.digest }, evaluation: { everyRounds: 1 } };
    const whole = { ...short(written), ...changes };
    const named = phases?.map(short);
    return parsePlan({ ...written, ...whole, ...(named === undefined ? {} : { phases: named }) }, name);
  };

  /** Runs an example; `partsOf` are the parts that the rows of each site have. */
  const run = async (name: string, siteCount: number, partsOf: readonly (readonly string[])[]) => {
    const document = await shortened(name, siteCount);
    const world = await startWorld(await prepareFederation(document, folder, name));
    const platforms = partsOf.map((_, site) => platformIn(world, 800 + site));
    /** What sites measured last, by site. */
    const measured: Float32Array[] = [];
    const ended: Promise<unknown>[] = [];
    for (const [site, parts] of partsOf.entries()) {
      const rows = rowsOf(site, parts);
      const learner = taskLearner({ train: rows, heldOut: rows, columns: { part: 'part' }, backend: 'wasm' });
      const watched: Learner = {
        ...learner,
        prepare: async (plan, files) => {
          const learning = await learner.prepare(plan, files);
          return {
            ...learning,
            evaluate: (parameters, signal) => {
              measured[site] = parameters.slice();
              return learning.evaluate(parameters, signal);
            },
          };
        },
      };
      ended.push((await runClient(world, { platform: platforms[site]!, learner: watched, policy })).ended);
    }
    const end = await world.coordinator.ended;
    assert.equal(end.status, 'completed', end.detail);
    await Promise.all(ended);
    const versions = await world.coordinator.library();
    const rows = versions.map(({ row }) => row);
    const place = placesOf(versions.map(({ record }) => record)).at(-1)!;
    const plan = planOfVersion(document, place, rows);
    const { published, trained } = planAdapters(plan, base);
    const exchange = exchangeOf(plan.aggregation, published.layout, trained.layout);
    const named = ownPartsName(world.coordinator.federationId, planHashOf(plan));
    const kept = await Promise.all(platforms.map(({ personal }) => personal.read(named)));
    const last = float32Of(await world.coordinator.adapter(rows.at(-1)!));
    return { versions, exchange, kept, last, measured };
  };

  // [example, sites, parts of each site's rows, what stays with sites].
  const cases: readonly (readonly [string, number, readonly (readonly string[])[], RegExp])[] = [
    ['cohorts.yaml', 6, [0, 1, 2, 3, 4, 5].map((site) => [site < 3 ? 'north' : 'south']), /^average\./],
    ['own-fusion.yaml', 3, [0, 1, 2].map(() => ['routing', 'urgency']), /^fusion\./],
    ['residual.yaml', 3, [0, 1, 2].map(() => ['routing']), /^mine\./],
  ];
  for (const [name, siteCount, partsOf, own] of cases)
    it(`[PEX-1] ${name}: no tensor that stays is in what is sent, every site keeps its own, and measures with it`, async () => {
      const { exchange, kept, last, measured } = await run(name, siteCount, partsOf);
      const stays = exchange.published.tensors.filter(({ name: tensor }) => own.test(tensor));
      assert.ok(stays.length > 0 && stays.every(({ aggregationClass }) => aggregationClass === 'local'));
      assert.ok(exchange.uploaded.tensors.length > 0);
      assert.ok(!exchange.uploaded.tensors.some(({ name: tensor }) => own.test(tensor)));
      const values = kept.map((bytes) => float32Of(bytes!.slice()));
      for (const [site, mine] of values.entries()) {
        assert.deepEqual(measured[site], personalised(exchange, last, mine), `site ${site} measures with its own`);
        assert.notDeepEqual(measured[site], last);
      }
      // Sites with odd numbers have rows of other labels.
      assert.notDeepEqual(values[0], values[1]);
    });

  it('[PEX-2] weights.yaml: each site counts by its accuracy times its examples, as one more value of what it sends', async () => {
    const { exchange, last, versions } = await run(
      'weights.yaml',
      3,
      [0, 1, 2].map(() => ['routing']),
    );
    assert.ok(exchange.uploaded.tensors.some(({ name }) => name === 'site.weight'));
    assert.equal(versions.length, 2);
    assert.equal(versions[1]!.record.totalWeight, 36);
    assert.ok(last.every(Number.isFinite));
  });
});
