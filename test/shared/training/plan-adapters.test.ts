import { strict as assert } from 'node:assert';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { readPlan } from '../../../shared/plan/read-plan.node.ts';
import { planAdapters } from '../../../shared/training/plan-adapters.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import { pairsOf } from '../../../shared/update/federated-layout.ts';
import { bertLike, gpt2Like } from '../adapters/bases.ts';
import { minimalPlan } from '../plan/minimal-plan.ts';

const base = bertLike(2, 64, 128);
const planWith = (adapter: object, aggregation: object) =>
  parsePlan({ ...minimalPlan(), adapter: { method: 'lora', ...adapter }, aggregation }, 'the test');
/** Ranks and scales of all maps. */
const numbersOf = ({ adapter, layout }: ReturnType<typeof planAdapters>['published']) => {
  const { alpha, alphaPattern } = adapter.configuration as unknown as {
    alpha: number;
    alphaPattern: Record<string, number>;
  };
  return pairsOf(layout).map(({ name, rank }) => {
    const own = alphaPattern[name.replace(/\.lora$/, '')] ?? alpha;
    return [name, rank, own / rank] as const;
  });
};

describe('adapters of a plan', () => {
  it('[PAD-1] are one where the published rank is the trained one', () => {
    for (const aggregation of [{}, { lowRank: 'svd' }, { lowRank: 'freeze-a' }]) {
      const { published, trained } = planAdapters(planWith({ rank: 4 }, aggregation), base);
      assert.equal(published, trained);
    }
  });

  it('[PAD-2] a wider published adapter has the same maps with the same scales', () => {
    for (const more of [{}, { rankStabilised: true }, { alphaPattern: { q: 3 } }]) {
      const { published, trained } = planAdapters(
        planWith({ rank: 4, alpha: 8, ...more }, { lowRank: 'svd', publishedRank: 16 }),
        base,
      );
      const stabilised = 'rankStabilised' in more ? 2 : 1;
      const [wide, own] = [numbersOf(published), numbersOf(trained)];
      assert.deepEqual(
        wide.map(([name, rank]) => [name, rank]),
        own.map(([name]) => [name, 16]),
      );
      if ('alphaPattern' in more) continue;
      // alpha / sqrt(rank) as published is alpha / sqrt(rank) as trained, so alpha / rank halves when the rank is four times as large.
      for (const [index, [, , scale]] of wide.entries()) assert.equal(scale * stabilised, own[index]![2]);
    }
  });

  it('[PAD-3] ranks of patterns grow to the published one, as far as a map is wide', () => {
    const rankPattern = { 'layers.0.q': 6 };
    const { published } = planAdapters(
      planWith({ rank: 4, alpha: 8, rankPattern }, { lowRank: 'stack', publishedRank: 100 }),
      base,
    );
    assert.ok(numbersOf(published).every(([, rank]) => rank === 64));
    const scales = numbersOf(published).map(([name, , scale]) => [name, Math.round(scale * 1e9) / 1e9]);
    assert.deepEqual(scales[0], ['layers.0.q.lora', Math.round((8 / 6) * 1e9) / 1e9]);
    assert.deepEqual(scales[1], ['layers.0.v.lora', 2]);
  });

  it('[PAD-4] refuses a rank below the trained one, other methods, and rules without pairs', () => {
    const refused = (adapter: object, aggregation: object, message: RegExp): void =>
      assert.throws(() => planAdapters(planWith(adapter, aggregation), base), { code: 'bad-plan', message });
    refused({ rank: 4 }, { lowRank: 'svd', publishedRank: 2 }, /publishedRank must be at least 4, .* found 2/);
    refused(
      { method: 'bottleneck' },
      { lowRank: 'svd', publishedRank: 8 },
      /lowRank must be factor-avg, or left out, for an adapter without low-rank pairs, found svd/,
    );
    const members = ['one', 'two'].map((id) => ({ id, method: 'lora' }));
    refused(
      { method: 'stack', members },
      { lowRank: 'svd', publishedRank: 9 },
      /publishedRank must be left out with the adapter stack/,
    );
    refused({ method: 'dora' }, { lowRank: 'svd' }, /without low-rank pairs/);
  });

  it('[PAD-5] every example plan has its three layouts', async () => {
    const folder = new URL('../../../shared/plan/examples/', import.meta.url).pathname;
    for (const name of readdirSync(folder)) {
      const plan = await readPlan(join(folder, name));
      const { published, trained } = planAdapters(plan, gpt2Like(2, 64));
      const exchange = exchangeOf(plan.aggregation, published.layout, trained.layout);
      assert.ok(exchange.uploaded.dim > 0, name);
    }
  });
});
