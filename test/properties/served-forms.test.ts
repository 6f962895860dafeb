/** Property (f) of aggregation for every method of the registry: what is served of an aggregate, in whatever form, computes what the aggregate computes. */
import { strict as assert } from 'node:assert';
import { add, type Tensor, tensor, tensor1d, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { frozenProduct } from '../../shared/adapters/frozen-product.ts';
import { type BoundAdapter, methodNames, parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { BaseModel, SiteHooks } from '../../shared/model/base-model.ts';
import { fixtureBase, fixtureBatch, largestError } from '../shared/model/fixtures.ts';
import { servedForms } from './method-cases.ts';

type Parameters = ReadonlyMap<string, Float32Array>;

/** The mean of what three clients trained from one start. */
function aggregateOf(adapter: BoundAdapter): Parameters {
  return new Map(
    adapter.tensors.map((specification) => {
      const { name } = specification;
      const values = adapter.initialise(specification, seededRandom(1, name));
      for (const [client, share] of [0.2, 0.5, 0.3].entries()) {
        const random = seededRandom(client, name);
        for (let index = 0; index < values.length; index++) values[index]! += share * 0.2 * random.normal();
      }
      return [name, values];
    }),
  );
}

function hooksOf(adapter: BoundAdapter, values: Parameters): SiteHooks {
  const parameters = new Map<string, Tensor>(
    adapter.tensors.map(({ name, shape }) => [name, tensor(values.get(name)!, [...shape])]),
  );
  return adapter.hooks({ parameters, training: false, random: seededRandom(1) });
}

/** A base whose frozen maps have the adapter in them. */
function mergedHooks(adapter: BoundAdapter, parameters: Parameters): SiteHooks {
  return {
    linear: (site, input, _output, map) => {
      const frozen = map.kernel();
      const bias = map.bias(input);
      const weights = { kernel: frozen.dataSync() as Float32Array, bias: (bias?.dataSync() as Float32Array) ?? null };
      const merged = adapter.merge!(site, weights, parameters);
      if (merged === undefined) return undefined;
      const product = frozenProduct(input, tensor2d(merged.kernel, frozen.shape));
      return merged.bias === null ? product : add(product, tensor1d(merged.bias));
    },
  };
}

describe('served forms of aggregates', () => {
  it('[PRP-5] the table has every method of the registry, and who merges or ejects is tested as such', () => {
    assert.deepEqual(Object.keys(servedForms).sort(), [...methodNames].sort());
  });

  for (const family of ['bert', 'gpt2', 'qwen3']) {
    describe(family, () => {
      let model: BaseModel;
      before(async () => {
        await useBackend('wasm');
        model = fixtureBase(family);
      });
      after(() => model.dispose());

      for (const [method, served] of Object.entries(servedForms)) {
        const title = served.form === 'own' ? `itself, since ${served.why}` : `what it is when ${served.form}`;
        it(`[PRP-6] ${method}: (f) an aggregate is served as ${title}`, () => {
          const adapter = parseAdapter({ method, ...served.settings }, model.description);
          if (served.form === 'own') {
            assert.ok(adapter.merge === undefined && adapter.eject === undefined, 'it has another form');
            return;
          }
          const parameters = aggregateOf(adapter);
          if (method === 'bias' && family === 'qwen3') {
            // A base without biases has no place for those of the adapter.
            assert.throws(() => tidy(() => model.encode(fixtureBatch(family), mergedHooks(adapter, parameters))), {
              code: 'not-mergeable',
            });
            return;
          }
          tidy(() => {
            const batch = fixtureBatch(family);
            const own = model.encode(batch, hooksOf(adapter, parameters)).dataSync();
            const bare = model.encode(batch).dataSync();
            const simpler = (): SiteHooks => {
              if (served.form === 'merged') return mergedHooks(adapter, parameters);
              const ejected = adapter.eject!(parameters);
              return hooksOf(ejected.adapter, ejected.parameters);
            };
            const found = model.encode(batch, simpler()).dataSync();
            assert.ok(largestError(own, bare) > 0.01, 'the adapter does something');
            assert.ok(largestError(found, own) < 2e-4, `off by ${largestError(found, own)}`);
          });
        });
      }
    });
  }
});
