import { strict as assert } from 'node:assert';
import { mul, reshape, type Scalar, sum, type Tensor, type Tensor2D, type Tensor3D, tidy } from '@tensorflow/tfjs-core';
import { joinedExamples, soloMethodNames } from '../../../shared/adapters/method-names.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { takeRows } from '../../../shared/compute/rows.ts';
import { valueAndReached } from '../../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, SiteHooks, TokenBatch } from '../../../shared/model/base-model.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import { evaluating, initialTensors, randomMatrix, randomTensors } from '../adapters/checks.ts';
import { allFixtures, fixtureBase, fixtureBatch, fixtureFamilies, largestError } from './fixtures.ts';

const configurations: readonly Plan['adapter'][] = [
  ...soloMethodNames.map((method) => ({
    method,
    ...(method === 'prefix' || method === 'prompt' ? { length: 2 } : {}),
  })),
  { method: 'bottleneck', placement: 'houlsby', scaling: 'learned' },
  { method: 'bottleneck', placement: 'parallel', parallelInput: 'normed' },
  { method: 'bottleneck', placement: 'parallel', parallelInput: 'raw' },
  { method: 'bottleneck', gate: true },
  { method: 'lora', targets: 'all-linear' },
  { method: 'prefix', positions: 'shifted', length: 2 },
  ...Object.entries(joinedExamples)
    .filter(([method]) => method !== 'parallel' && method !== 'split')
    .map(([method, settings]) => ({ method, ...settings })),
];

/** Methods of which the last layer computes the tokens that are read alone. */
const tokenwise = configurations.filter(
  ({ method, gate, parallelInput }) =>
    /^(none|bottleneck|compacter|lora|dora|vera|ia3|bias|full|prefix)$/.test(method) &&
    gate !== true &&
    parallelInput !== 'normed',
);

/** In turns the last token of a text, the first, and one between. */
function somePlaces({ attentionMask }: TokenBatch): number[] {
  const last = attentionMask.arraySync().map((row) => row.lastIndexOf(1));
  return last.map((place, text) => [place, 0, Math.floor(place / 2)][text % 3]!);
}

/** The states at `places`, `[batch, hidden]`, of all states or of those alone. */
function statesAt(hidden: Tensor3D, places: readonly number[], batch: TokenBatch): Tensor2D {
  const [batchSize, length, size] = hidden.shape;
  if (length === 1) return reshape(hidden, [batchSize, size]);
  const added = length - batch.inputIds.shape[1];
  const rows = places.map((place, text) => text * length + added + place);
  return takeRows(reshape(hidden, [batchSize * length, size]), rows);
}

/** Asserts that states and gradients at `places` do not depend on whether the base is told what is read. */
function assertSame(model: BaseModel, adapter: Plan['adapter'], batch: TokenBatch, places: readonly number[]): void {
  tidy(() => {
    const bound = parseAdapter(adapter, model.description);
    const parameters = randomTensors(bound, 0.1);
    const names = [...parameters.keys()];
    const toward = randomMatrix(places.length, model.description.hiddenSize, seededRandom(5));
    const run = (own: TokenBatch) => {
      const compute = (...tensors: readonly Tensor[]): Scalar => {
        const named = new Map(names.map((name, index) => [name, tensors[index]!]));
        const hidden = model.encode(own, bound.hooks({ ...evaluating(named), attentionMask: own.attentionMask }));
        return sum(mul(statesAt(hidden, places, own), toward));
      };
      const { value, gradients } = valueAndReached(compute, [...parameters.values()]);
      return [value, ...gradients].map((one) => one?.dataSync() ?? []);
    };
    const whole = run(batch);
    const read = run({ ...batch, reads: places });
    for (const [index, values] of read.entries()) {
      const scale = Math.max(1, ...Array.from(whole[index]!, Math.abs));
      const error = largestError(values, whole[index]!) / scale;
      assert.ok(error < 1e-4, `${adapter.method} ${names[index - 1] ?? 'value'}: ${error}`);
    }
  });
}

for (const family of allFixtures) {
  const isMain = fixtureFamilies.some((one) => one === family);
  describe(`the tokens that are read of ${family}`, () => {
    before(() => useBackend('wasm'));

    it('[RDS-1] have the same states and gradients where nothing else is computed, under every method', () => {
      const model = fixtureBase(family);
      const batch = fixtureBatch(family);
      for (const adapter of isMain ? configurations : [{ method: 'lora' }, { method: 'bottleneck' }])
        assertSame(model, adapter, batch, somePlaces(batch));
      model.dispose();
    });

    it('[RDS-2] are all that is computed under methods that act token by token', () => {
      const model = fixtureBase(family);
      const batch = fixtureBatch(family);
      const reads = somePlaces(batch);
      const lengthOf = (adapter: Plan['adapter']): number =>
        tidy(() => {
          const bound = parseAdapter(adapter, model.description);
          return model.encode({ ...batch, reads }, bound.hooks(evaluating(initialTensors(bound)))).shape[1];
        });
      for (const adapter of isMain ? tokenwise : tokenwise.slice(0, 3))
        assert.equal(lengthOf(adapter), 1, adapter.method);
      const length = batch.inputIds.shape[1];
      for (const adapter of [{ method: 'bottleneck', gate: true }, { method: 'mixture' }])
        assert.equal(lengthOf(adapter), length, adapter.method);
      model.dispose();
    });

    it('[RDS-3] are the same from kept states, and of no account where all layers have passed or someone collects', () => {
      const model = fixtureBase(family);
      const { layerCount } = model.description;
      tidy(() => {
        const bare = fixtureBatch(family);
        const batch = { ...bare, reads: somePlaces(bare) };
        const belowAt = (layerIndex: number) => ({ layerIndex, states: model.encodeBelow!(bare, layerIndex) });
        const hooks: SiteHooks = { lowestLayerIndex: layerCount - 1, isTokenwise: true, linear: () => undefined };
        const found = model.encode(batch, hooks);
        assert.equal(found.shape[1], 1);
        const again = model.encode({ ...batch, below: belowAt(layerCount - 1) }, hooks);
        assert.deepEqual(again.dataSync(), found.dataSync());
        const whole = model.encode(bare);
        const passed = model.encode({ ...batch, below: belowAt(layerCount) });
        assert.deepEqual(passed.dataSync(), whole.dataSync());
        const collected = model.encode(batch, hooks, () => {});
        assert.deepEqual(collected.shape, whole.shape);
      });
      model.dispose();
    });
  });
}
