/** Property (d) of aggregation: where the documentation says that a mean of parts is exact, the frozen map with it is the mean of the clients' maps. */
import { strict as assert } from 'node:assert';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { LinearTarget } from '../../../shared/model/base-model.ts';
import { type ExchangeSettings, federatedLayout, plainExchange } from '../../../shared/update/federated-layout.ts';
import { layoutOf, trainsLocally } from '../../../shared/update/layout.ts';
import { unflatten } from '../../../shared/update/vector.ts';
import { bertLike } from '../../shared/adapters/bases.ts';

const base = bertLike(1, 64, 128);
const shares = [0.2, 0.5, 0.3];

/** Relative distance of the map of the mean from the mean of the maps, over all maps of the layer. */
function distanceOf(settings: { readonly method: string }, exchange: Partial<ExchangeSettings>): number {
  const adapter = parseAdapter(settings, base);
  const layout = federatedLayout(layoutOf([...adapter.tensors]), { ...plainExchange, ...exchange });
  const start = new Float32Array(layout.dim);
  for (const tensor of layout.tensors) {
    const random = seededRandom(1, tensor.name);
    start.set(adapter.initialise(tensor, random), tensor.offset);
  }
  const clients = shares.map((_, client) => {
    const random = seededRandom(client, 'client');
    const values = start.slice();
    for (const { offset, size, aggregationClass } of layout.tensors)
      if (trainsLocally(aggregationClass))
        for (let index = offset; index < offset + size; index++) values[index]! += 0.3 * random.normal();
    return values;
  });
  const mean = start.map((_, index) => clients.reduce((sum, own, client) => sum + shares[client]! * own[index]!, 0));
  const random = seededRandom(7, 'maps');
  let [missed, whole] = [0, 0];
  for (const [target, { inSize, outSize }] of Object.entries(base.linearTargets)) {
    const kernel = Float32Array.from({ length: inSize * outSize }, () => random.normal());
    const bias = Float32Array.from({ length: outSize }, () => random.normal());
    const mapOf = (values: Float32Array): number[] | null => {
      const site = { layerIndex: 0, target: target as LinearTarget };
      const merged = adapter.merge!(site, { kernel, bias }, unflatten(layout, values));
      return merged === undefined ? null : [...merged.kernel, ...merged.bias!];
    };
    const found = mapOf(mean);
    if (found === null) continue;
    const own = clients.map((values) => mapOf(values)!);
    for (const [index, value] of found.entries()) {
      const expected = own.reduce((sum, map, client) => sum + shares[client]! * map[index]!, 0);
      missed += (value - expected) ** 2;
      whole += (expected - (index < kernel.length ? kernel[index]! : bias[index - kernel.length]!)) ** 2;
    }
  }
  assert.ok(whole > 0, 'the adapter acts on some map');
  return Math.sqrt(missed / whole);
}

describe('means of parts that are exact', () => {
  const exact: readonly [{ readonly method: string }, Partial<ExchangeSettings>][] = [
    [{ method: 'bias' }, {}],
    [{ method: 'ia3' }, {}],
    [{ method: 'lora' }, { lowRank: 'freeze-a' }],
    [{ method: 'vera' }, { frozen: ['layers.*.*.vera.d'] }],
  ];
  for (const [settings, exchange] of exact) {
    it(`[AGM-2] ${settings.method}: the map of the mean is the mean of the maps`, () => {
      const distance = distanceOf(settings, exchange);
      assert.ok(distance < 1e-5, `off by ${distance}`);
    });
  }

  it('[AGM-3] without what freezes one of two factors they are not', () => {
    for (const method of ['lora', 'vera']) {
      const distance = distanceOf({ method }, {});
      assert.ok(distance > 0.01, `${method}: off by ${distance}`);
    }
  });
});
