/** Federations of the real learner on a tiny base: what averaging factors misses, and what exact rules do not. */
import { strict as assert } from 'node:assert';
import type { Learner } from '../../client/learner.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { initialValues } from '../../shared/training/initial-adapter.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { firstPublished } from '../../shared/update/training-start.ts';
import { mapsOf, relativeError } from '../coordinator/aggregation/low-rank-world.ts';
import { closeWorlds, startWorld } from '../coordinator/harness.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';
import { platformIn, runClient } from './memory-federation.ts';

const files = tinyBaseFiles();
const base = describeFiles(files);
const policy = parsePolicy({ cohortMin: 1, quorumMin: 1 }, 'the test');
/** Sites whose rows have nothing in common: label skew is what makes factors drift apart. */
const sites = ['yes', 'no', 'perhaps'].map((label) =>
  Array.from({ length: 4 }, (_, index) => ({ text: `${label} ${index}`, label, line: index + 1 })),
);

async function federate(aggregation: object) {
  const plan = parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'trained',
      base: { digest: base.digest },
      task: { labels: ['no', 'perhaps', 'yes'], pooling: 'last', lengthMax: 8 },
      adapter: { method: 'lora', rank: 2, targets: ['qkv'] },
      training: { localSteps: 4, batchSize: 4, learningRate: 0.1 },
      rounds: { count: 2, cohortSize: 3, quorum: 3 },
      aggregation,
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: 'off' },
    },
    'the test',
  );
  const { published, trained } = planAdapters(plan, base);
  const exchange = exchangeOf(plan.aggregation, published.layout, trained.layout);
  const start = firstPublished(exchange, initialValues(trained.layout, trained.adapter, plan.training.seed));
  const world = await startWorld({
    plan,
    baseFiles: files,
    baseDigest: base.digest,
    layout: published.layout,
    trainedLayout: trained.layout,
    initialAdapter: start,
  });
  const maps: Float64Array[][][] = [[], []];
  const ends = [];
  for (const [index, rows] of sites.entries()) {
    const real = taskLearner({ train: viewsOf(rows), heldOut: [], backend: 'cpu' });
    const learner: Learner = {
      ...real,
      prepare: async (...given) => {
        const learning = await real.prepare(...given);
        return {
          ...learning,
          train: async (options) => {
            const learned = await learning.train(options);
            const after = options.start.map((value, place) => value + learned.delta[place]!);
            const own = mapsOf(trained.layout, after);
            const company =
              options.frozen === null ? own.map((map) => map.map(() => 0)) : mapsOf(published.layout, options.frozen);
            maps[options.roundIndex]![index] = own.map((map, at) =>
              map.map((value, place) => value + company[at]![place]!),
            );
            return learned;
          },
        };
      },
    };
    ends.push((await runClient(world, { platform: platformIn(world, 600 + index), learner, policy })).ended);
  }
  await world.coordinator.ended;
  await Promise.all(ends);
  const [, , last] = await world.coordinator.library();
  const found = mapsOf(published.layout, float32Of(await world.coordinator.adapter(last!.row)));
  const target = found.map((map, at) =>
    map.map((_, place) => maps[1]!.reduce((sum, client) => sum + client[at]![place]! / sites.length, 0)),
  );
  return {
    error: relativeError(found, target),
    measures: new Map(last!.record.measures.map(({ name, value }) => [name, value])),
  };
}

describe('federations that train', () => {
  afterEach(closeWorlds);

  it('[TFN-1] averaged factors miss part of what sites with different labels learned, and the record says how much', async () => {
    const { error, measures } = await federate({});
    const bias = measures.get('factor-bias')!;
    assert.ok(bias > 0.02, `a bias of ${bias}`);
    assert.ok(Math.abs(error - bias) < 1e-4, `${error} and ${bias}`);
  });

  for (const aggregation of [
    { lowRank: 'svd', publishedRank: 12 },
    { lowRank: 'stack', publishedRank: 12 },
    { lowRank: 'freeze-a' },
  ]) {
    it(`[TFN-2] exact: ${JSON.stringify(aggregation)}`, async () => {
      const { error } = await federate(aggregation);
      assert.ok(error < 1e-5, `${error}`);
    });
  }
});
