/** Property (f) of the low-rank rules: a version that a rule made computes the same merged into its base as beside it. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor1d, tidy } from '@tensorflow/tfjs-core';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { mergeCheckpoint } from '../../../shared/adapters/formats/merge.node.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, SiteHooks } from '../../../shared/model/base-model.ts';
import { readBaseFiles } from '../../../shared/model/load.node.ts';
import { networkFrom } from '../../../shared/model/load.ts';
import { readSafetensors } from '../../../shared/model/safetensors.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { planAdapters } from '../../../shared/training/plan-adapters.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import type { ExchangeSettings } from '../../../shared/update/federated-layout.ts';
import { type LowRankRule, lowRankRuleNames } from '../../../shared/update/low-rank-rules.ts';
import { batchOf } from '../../parity/fixture-files.ts';
import { fixture, writeFixtureBase } from '../../shared/adapters/formats/fixtures.ts';
import { type LowRankClient, publishedOf, runRound } from './low-rank-world.ts';

const fixtureName = 'peft_gpt2_lora';
/** Published ranks that leave room for three clients of rank 2, and one that has to be cut. */
const settings: Readonly<Record<LowRankRule, Partial<ExchangeSettings>>> = {
  'factor-avg': {},
  'freeze-a': { lowRank: 'freeze-a' },
  'share-a': { lowRank: 'share-a' },
  svd: { lowRank: 'svd', publishedRank: 3 },
  stack: { lowRank: 'stack', publishedRank: 8 },
  residual: { lowRank: 'residual', publishedRank: 10 },
  dense: { lowRank: 'dense', publishedRank: 8 },
  sketch: { lowRank: 'sketch', publishedRank: 8, sketchSize: 8 },
};
const clients: readonly LowRankClient[] = [10, 30, 5].map((weight, seed) => ({ seed, weight, drift: 0.1 }));

describe('versions of low-rank rules, merged', () => {
  let folder = '';
  before(() => useBackend('wasm'));
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-merged-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const place = async (name: string): Promise<string> => mkdtemp(join(folder, name));
  const expected = readSafetensors(fixture(fixtureName, 'expected.safetensors'), fixtureName);
  const scoresOf = (model: BaseModel, hooks?: SiteHooks): Float32Array =>
    tidy(
      () =>
        model
          .languageModelScores(model.encode(batchOf(expected), hooks), hooks)
          .dataSync()
          .slice() as Float32Array,
    );
  const largest = (left: Float32Array, right: Float32Array): number =>
    left.reduce((worst, value, index) => Math.max(worst, Math.abs(value - right[index]!)), 0);

  for (const rule of lowRankRuleNames) {
    it(`[LRM-f] ${rule}: a merged version computes what the version computes beside its base`, async () => {
      const [base, out] = [await place('base'), await place('out')];
      writeFixtureBase(fixtureName, base);
      const model = networkFrom(await readBaseFiles(base));
      const plan = parsePlan(
        {
          format: 'tributary-plan-1',
          name: 'test',
          base: { digest: model.description.digest },
          task: { kind: 'causal', lengthMax: 16 },
          adapter: { method: 'lora', targets: ['q', 'v', 'down'], rank: 2, alpha: 4 },
          training: {},
          rounds: { count: 1, quorum: 2 },
          secureAggregation: { mode: 'off' },
          aggregation: settings[rule],
        },
        'the test',
      );
      const { published, trained } = planAdapters(plan, model.description);
      const exchange = exchangeOf(plan.aggregation, published.layout, trained.layout);
      const start = publishedOf(exchange, 3).map((value) => 0.1 * value);
      const { next } = await runRound(exchange, start, clients);

      const { adapter, layout } = published;
      const document = createAdapterDocument({
        base: model.description,
        adapter: adapter.configuration,
        task: plan.task,
        layout,
        parameters: next,
      });
      await mergeCheckpoint({ base, document, out, shardBytesMax: 1e9 });
      const merged = networkFrom(await readBaseFiles(out));
      const parameters = new Map(
        layout.tensors.map(({ name, shape, offset, size }) => [
          name,
          tensor1d(next.subarray(offset, offset + size)).reshape([...shape]),
        ]),
      );
      const beside = scoresOf(model, adapter.hooks({ parameters, training: false, random: seededRandom(1) }));
      assert.ok(largest(scoresOf(merged), beside) < 2e-5, `off by ${largest(scoresOf(merged), beside)}`);
      assert.ok(largest(scoresOf(model), beside) > 1e-2, 'the version does nothing');
      for (const tensor of parameters.values()) tensor.dispose();
      merged.dispose();
      model.dispose();
    });
  }
});
