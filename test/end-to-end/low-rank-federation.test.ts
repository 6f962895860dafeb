import { strict as assert } from 'node:assert';
import type { Learner } from '../../client/learner.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import type { ExchangeSettings } from '../../shared/update/federated-layout.ts';
import { declarationOf, type LowRankRule, lowRankRuleNames } from '../../shared/update/low-rank-rules.ts';
import { fixedCounts } from '../client/fixed-learner.ts';
import { exchangeFor, mapsOf, publishedOf, relativeError } from '../coordinator/aggregation/low-rank-world.ts';
import { closeWorlds, startWorld, testPlan } from '../coordinator/harness.ts';
import { platformIn, published, runClient } from './memory-federation.ts';

/** Room for two rounds of three clients of rank 2 on maps of rank 7 at most. */
const settings: Readonly<Record<LowRankRule, Partial<ExchangeSettings>>> = {
  'factor-avg': {},
  'freeze-a': { lowRank: 'freeze-a' },
  'share-a': { lowRank: 'share-a' },
  svd: { lowRank: 'svd', publishedRank: 7 },
  stack: { lowRank: 'stack', publishedRank: 14 },
  residual: { lowRank: 'residual', publishedRank: 16 },
  dense: { lowRank: 'dense', publishedRank: 7 },
  sketch: { lowRank: 'sketch', publishedRank: 7, sketchSize: 8 },
};
const weights = [10, 30, 5];
const openPolicy = { cohortMin: 1, quorumMin: 1, organisationsMin: 1, discloseMetrics: true };

/** What a learner of a test saw and did in one round. */
interface Seen {
  readonly roundIndex: number;
  readonly start: Float32Array;
  readonly after: Float32Array;
  /** Dense maps after training, frozen company included. */
  readonly maps: readonly Float64Array[];
}

/** A learner that adds seeded random numbers to everything that its rank lets it train. */
function randomLearner(exchange: Exchange, seed: number, { rankMax = 2, exampleCount = 10 } = {}) {
  const seen: Seen[] = [];
  const measured: Float32Array[] = [];
  const { trained, published: layout } = exchange;
  const learner: Learner = {
    exampleCount,
    prepare: async () => ({
      baseDigest: 'ba'.repeat(32) as Digest,
      layout,
      trainedLayout: trained,
      initialise: async (fresh) => {
        const random = seededRandom(fresh, 'fresh');
        return Float32Array.from({ length: trained.dim }, () => random.normal()).map((value, place) =>
          trained.tensors.some(
            ({ pair, offset, size }) => pair?.factor === 'b' && place >= offset && place < offset + size,
          )
            ? 0
            : value,
        );
      },
      heldOutCount: fixedCounts.exampleCount,
      train: async ({ start, frozen, roundIndex }) => {
        const random = seededRandom(seed, 'train', roundIndex);
        const delta = new Float32Array(trained.dim);
        for (const { offset, size, aggregationClass, pair, shape } of trained.tensors) {
          for (let index = 0; index < size; index++) {
            const value = random.normal();
            const rank = pair?.factor === 'a' ? Math.floor(index / shape[1]!) : index % shape.at(-1)!;
            if (aggregationClass !== 'frozen' && (pair === undefined || rank < rankMax)) delta[offset + index] = value;
          }
        }
        const own = mapsOf(
          trained,
          start.map((value, index) => value + delta[index]!),
        );
        const company = frozen === null ? own.map((map) => map.map(() => 0)) : mapsOf(layout, frozen);
        const maps = own.map((map, index) => map.map((value, place) => value + company[index]![place]!));
        seen.push({
          roundIndex,
          start: start.slice(),
          after: start.map((value, index) => value + delta[index]!),
          maps,
        });
        return { delta, exampleCount, meanLoss: 0.5, seconds: 1 };
      },
      evaluate: async (parameters) => {
        measured.push(parameters.slice());
        return fixedCounts;
      },
      dispose: () => undefined,
    }),
  };
  return { learner, seen, measured };
}

async function federate(
  rule: LowRankRule,
  { ranks = [2, 2, 2], serverLearningRate = 1, masked = false, measured = true } = {},
) {
  const exchange = exchangeFor(settings[rule]);
  const start = publishedOf(exchange, 71, true);
  const world = await startWorld({
    plan: testPlan({
      adapter: { method: 'lora' },
      rounds: { count: 2, cohortSize: 3, quorum: 3 },
      aggregation: { ...exchange.settings, serverLearningRate },
      secureAggregation: masked ? { mode: 'on', coordBound: 64, weightMax: 30 } : { mode: 'off' },
      evaluation: { everyRounds: measured ? 1 : 0 },
    }),
    layout: exchange.published,
    trainedLayout: exchange.trained,
    initialAdapter: start,
  });
  const learners = weights.map((exampleCount, index) =>
    randomLearner(exchange, index, { rankMax: ranks[index]!, exampleCount }),
  );
  const clients = [];
  for (const [index, { learner }] of learners.entries()) {
    const policy = parsePolicy({ ...openPolicy, ...(ranks[index] === 2 ? {} : { rankMax: ranks[index] }) }, 'the test');
    const platform = platformIn(world, 200 + index);
    clients.push({ platform, ...(await runClient(world, { platform, learner, policy })) });
  }
  await published(world, 2);
  await world.coordinator.ended;
  await Promise.all(clients.map(({ ended }) => ended));
  const versions = await world.coordinator.library();
  const adapters: Float32Array[] = [];
  for (const { row } of versions) adapters.push(float32Of(await world.coordinator.adapter(row)));
  return { exchange, start, world, learners, clients, versions, adapters };
}

describe('federations of low-rank adapters', () => {
  afterEach(closeWorlds);

  for (const rule of lowRankRuleNames) {
    const { guarantee, insteadForMixedRanks } = declarationOf(rule);

    it(`[LRF-1] ${rule}: two rounds with real clients end in the version that the rule promises`, async () => {
      const { exchange, learners, versions, adapters } = await federate(rule);
      assert.equal(adapters.length, 3);
      assert.match(
        versions[2]!.record.aggregationRule,
        rule === 'factor-avg' ? /^fedavg$/ : new RegExp(`^fedavg, ${rule}$`),
      );
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const round of [0, 1]) {
        const target = mapsOf(exchange.published, adapters[0]!).map((map) => map.fill(0));
        for (const [index, { seen }] of learners.entries())
          for (const [place, map] of seen[round]!.maps.entries())
            for (let at = 0; at < map.length; at++) target[place]![at]! += (weights[index]! / total) * map[at]!;
        const error = relativeError(mapsOf(exchange.published, adapters[round + 1]!), target);
        if (guarantee === 'exact') assert.ok(error < 1e-5, `round ${round}: ${error}`);
        if (guarantee === 'biased') {
          const bias = versions[round + 1]!.record.measures.find(({ name }) => name === 'factor-bias')!.value;
          assert.ok(bias > 0.1 && Math.abs(bias - error) < 1e-5, `round ${round}: ${error}, measured ${bias}`);
        }
      }
    });

    if (declarationOf(rule).insteadWhenMasked === null) {
      it(`[LRF-10] ${rule}: masked rounds end in the versions of readable ones, but for what the ring rounds`, async () => {
        const masked = await federate(rule, { masked: true, measured: false });
        const readable = await federate(rule, { measured: false });
        assert.ok(masked.world.events.some((event) => event.type === 'masking' && event.stage === 'opened'));
        for (const round of [1, 2]) {
          const [found, wanted] = [masked, readable].map(({ exchange, adapters }) =>
            mapsOf(exchange.published, adapters[round]!),
          );
          const error = relativeError(found!, wanted!);
          assert.ok(error < 1e-5, `round ${round}: ${error}`);
        }
      });
    }

    if (insteadForMixedRanks === null) {
      it(`[LRF-2] ${rule}: sites that limit their rank train less and the mean stays exact`, async () => {
        const { exchange, learners, adapters } = await federate(rule, { ranks: [2, 1, 1] });
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const target = mapsOf(exchange.published, adapters[0]!).map((map) => map.fill(0));
        for (const [index, { seen }] of learners.entries())
          for (const [place, map] of seen[1]!.maps.entries())
            for (let at = 0; at < map.length; at++) target[place]![at]! += (weights[index]! / total) * map[at]!;
        assert.ok(relativeError(mapsOf(exchange.published, adapters[2]!), target) < 1e-5);
      });
    }
  }

  it('[LRF-3] share-a: B never travels, clients go on with their own and measure with it', async () => {
    const { exchange, start, adapters, learners, clients } = await federate('share-a');
    const { b } = exchange.published.tensors.reduce<{ b?: { offset: number; size: number } }>(
      (found, tensor) => (tensor.pair?.factor === 'b' ? { b: tensor } : found),
      {},
    );
    const partOf = (values: Float32Array): number[] => [...values.subarray(b!.offset, b!.offset + b!.size)];
    for (const adapter of adapters) assert.deepEqual(partOf(adapter), partOf(start));
    const own = learners.map(({ measured }) => partOf(measured.at(-1)!));
    assert.notDeepEqual(own[0], own[1]);
    for (const [index, { seen }] of learners.entries()) {
      // The second round begins with the B that the first one ended with, and that was measured then.
      assert.deepEqual(partOf(seen[1]!.start), partOf(learners[index]!.measured[0]!));
      assert.equal(clients[index]!.platform.personalParts.size, 1);
    }
  });

  it('[LRF-4] a rule that needs one rank of all is declined by a site that limits its rank, naming one that does not', async () => {
    const exchange = exchangeFor(settings['factor-avg']);
    const world = await startWorld({
      plan: testPlan({ adapter: { method: 'lora' }, rounds: { count: 1, cohortSize: 1, quorum: 1, voidsMax: 1 } }),
      layout: exchange.published,
      initialAdapter: publishedOf(exchange, 72),
    });
    const platform = platformIn(world, 300);
    const policy = parsePolicy({ ...openPolicy, rankMax: 1 }, 'the test');
    const { ended, problems } = await runClient(world, {
      platform,
      learner: randomLearner(exchange, 1).learner,
      policy,
    });
    await world.coordinator.ended;
    await ended;
    assert.match(
      problems.join('\n'),
      /rank-too-large: q has a higher rank than 1.*rule factor-avg.*svd is the nearest/,
    );
  });

  for (const [weighting, shares] of [
    ['given', [0.25, 1]],
    // Accuracy 0.8 of both, and their examples.
    ['quality', [0.8 * 10, 0.8 * 30]],
  ] as const) {
    it(`[LRF-5] weights that sites give themselves (${weighting}) are in the sum`, async () => {
      const exchange = exchangeFor({ weighting });
      const start = publishedOf(exchange, 73);
      const world = await startWorld({
        plan: testPlan({ rounds: { count: 1 }, aggregation: { weighting }, evaluation: { everyRounds: 0 } }),
        layout: exchange.published,
        initialAdapter: start,
      });
      const learners = [0, 1].map((index) => randomLearner(exchange, index, { exampleCount: weights[index]! }));
      const ends = [];
      for (const [index, { learner }] of learners.entries()) {
        const policy = parsePolicy({ ...openPolicy, weight: [0.25, 1][index] }, 'the test');
        ends.push((await runClient(world, { platform: platformIn(world, 400 + index), learner, policy })).ended);
      }
      await world.coordinator.ended;
      await Promise.all(ends);
      const { row } = (await world.coordinator.library()).at(-1)!;
      const next = float32Of(await world.coordinator.adapter(row));
      const sum = shares[0] + shares[1];
      for (const [place, value] of next.entries()) {
        const [first, second] = learners.map(({ seen }) => seen[0]!.after[place]!);
        assert.ok(Math.abs(value - (shares[0] * first! + shares[1] * second!) / sum) < 1e-5, `value ${place}`);
      }
    });
  }

  it('[LRF-6] a site without held-out rows is not weighed by its accuracy', async () => {
    const exchange = exchangeFor({ weighting: 'quality' });
    const world = await startWorld({
      plan: testPlan({
        rounds: { count: 1, cohortSize: 1, quorum: 1, voidsMax: 1 },
        aggregation: { weighting: 'quality' },
      }),
      layout: exchange.published,
      initialAdapter: publishedOf(exchange, 74),
    });
    const { learner } = randomLearner(exchange, 1);
    const blind: Learner = {
      ...learner,
      prepare: async (...given) => ({ ...(await learner.prepare(...given)), heldOutCount: 0 }),
    };
    const policy = parsePolicy(openPolicy, 'the test');
    const { ended, problems } = await runClient(world, { platform: platformIn(world, 500), learner: blind, policy });
    await world.coordinator.ended;
    await ended;
    assert.match(problems.join('\n'), /no-held-out-rows/);
  });

  it('[LRF-7] the server learning rate is the step of products too', async () => {
    const { exchange, learners, adapters } = await federate('svd', { serverLearningRate: 0.5 });
    const [before, after] = [0, 1].map((version) => mapsOf(exchange.published, adapters[version]!));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const target = before!.map((map, at) =>
      map.map((value, place) => {
        const mean = learners.reduce(
          (sum, { seen }, index) => sum + (weights[index]! / total) * seen[0]!.maps[at]![place]!,
          0,
        );
        return value + 0.5 * (mean - value);
      }),
    );
    assert.ok(relativeError(after!, target) < 1e-5);
  });
});
