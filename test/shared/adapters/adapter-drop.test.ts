import { strict as assert } from 'node:assert';
import { engine, grads, type Scalar, sum, type Tensor, tidy } from '@tensorflow/tfjs-core';
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import { fixtureBase, fixtureBatch } from '../model/fixtures.ts';
import { bertLike } from './bases.ts';
import { randomTensors } from './checks.ts';

describe('adapter drop', () => {
  let model: BaseModel;
  before(async () => {
    await useBackend('wasm');
    model = fixtureBase('bert');
  });
  after(() => model.dispose());

  const states = (adapter: BoundAdapter, parameters: ReadonlyMap<string, Tensor>, more: object = {}) => {
    return tidy(() => {
      const hooks = adapter.hooks({ parameters, training: false, random: seededRandom(1), ...more });
      return model.encode(fixtureBatch('bert'), hooks).dataSync();
    });
  };

  for (const settings of [
    { method: 'bottleneck', placement: 'houlsby', size: 3 },
    { method: 'lora', rank: 2 },
    { method: 'prefix', length: 2 },
    { method: 'ia3' },
  ]) {
    it(`[DRP-1] a pass that drops the lowest layers computes what an adapter without them does (${settings.method})`, () => {
      const whole = parseAdapter(settings, model.description);
      const top = parseAdapter({ ...settings, leaveOut: [0, 1] }, model.description);
      const parameters = randomTensors(whole, 0.2);
      assert.deepEqual(states(whole, parameters, { dropLowest: 2 }), states(top, parameters));
      assert.notDeepEqual(states(whole, parameters, { dropLowest: 1 }), states(top, parameters));
      assert.equal(
        whole.hooks({ parameters, training: false, random: seededRandom(1), dropLowest: 2 }).lowestLayerIndex,
        2,
      );
      for (const tensor of parameters.values()) tensor.dispose();
    });
  }

  it('[DRP-2] with every layer dropped the base alone is left', () => {
    const adapter = parseAdapter({ method: 'bottleneck' }, model.description);
    const parameters = randomTensors(adapter);
    const bare = parseAdapter({ method: 'none' }, model.description);
    assert.deepEqual(states(adapter, parameters, { dropLowest: 3 }), states(bare, new Map()));
  });

  it('[DRP-3] robust training drops 0 to n layers, each number as often, the same for the same seed; evaluation none', () => {
    const adapter = parseAdapter({ method: 'lora', adapterDrop: 3 }, bertLike(6, 8, 16));
    const lowest = (seed: number, training = true) =>
      adapter.hooks({ parameters: new Map(), training, random: seededRandom(seed) }).lowestLayerIndex!;
    const counts = [0, 0, 0, 0];
    for (let seed = 0; seed < 2000; seed++) {
      counts[lowest(seed)]! += 1;
      assert.equal(lowest(seed), lowest(seed));
      assert.equal(lowest(seed, false), 0);
    }
    assert.ok(
      counts.every((count) => count > 400 && count < 600),
      counts.join(),
    );
  });

  it('[DRP-4] what the pass says overrides the configuration', () => {
    const adapter = parseAdapter({ method: 'lora', adapterDrop: 3 }, bertLike(6, 8, 16));
    for (const dropLowest of [0, 2]) {
      const context = { parameters: new Map(), training: true, random: seededRandom(1), dropLowest };
      assert.equal(adapter.hooks(context).lowestLayerIndex, dropLowest);
    }
  });

  it('[DRP-5] what is dropped is neither computed nor gone back through', () => {
    const adapter = parseAdapter({ method: 'bottleneck' }, model.description);
    const parameters = randomTensors(adapter);
    const kernelsOf = (dropLowest: number): number => {
      const names = [...parameters.keys()].filter((name) => Number(name.split('.')[1]) >= dropLowest);
      let count = 0;
      const original = engine().runKernel.bind(engine());
      engine().runKernel = ((...call: Parameters<typeof original>) => {
        count++;
        return original(...call);
      }) as typeof original;
      try {
        tidy(() => {
          const lossOf = (...tensors: Tensor[]): Scalar => {
            const named = new Map([...parameters, ...names.map((name, index) => [name, tensors[index]!] as const)]);
            const hooks = adapter.hooks({ parameters: named, training: true, random: seededRandom(1), dropLowest });
            return sum(model.encode(fixtureBatch('bert'), hooks));
          };
          grads(lossOf)(names.map((name) => parameters.get(name)!));
        });
      } finally {
        engine().runKernel = original;
      }
      return count;
    };
    const counts = [0, 1, 2].map(kernelsOf);
    assert.ok(counts[1]! < 0.8 * counts[0]! && counts[2]! < 0.6 * counts[0]!, counts.join());
  });

  const faults: readonly [object, RegExp][] = [
    [{ adapterDrop: 6 }, /adapterDrop must be at most 5, so that the last layer with an adapter keeps it, found 6/],
    [{ layers: [0, 2], adapterDrop: 3 }, /adapterDrop must be at most 2/],
    [{ adapterDrop: 0 }, /adapterDrop must be a whole number from 1 to 10000, found 0/],
    [{ topLayers: 7 }, /topLayers must be at most 6, the layers of this bert, found 7/],
    [{ topLayers: 2, layers: [1] }, /topLayers must not stand beside layers, which says the same; found both/],
    [{ topLayers: 1, leaveOut: [5] }, /layers must leave at least one of the layers/],
  ];
  for (const [settings, message] of faults) {
    it(`[DRP-6] a fault (${JSON.stringify(settings)}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parseAdapter({ method: 'bottleneck', ...settings }, bertLike(6, 8, 16)),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }

  it('[DRP-7] topLayers counts from the last layer', () => {
    const layers = (settings: object) =>
      parseAdapter({ method: 'lora', ...settings }, bertLike(6, 8, 16)).configuration.layers;
    assert.deepEqual(layers({ topLayers: 2 }), [4, 5]);
    assert.deepEqual(layers({ topLayers: 3, leaveOut: [4] }), [3, 5]);
    const { configuration } = parseAdapter({ method: 'lora', topLayers: 2, adapterDrop: 5 }, bertLike(6, 8, 16));
    assert.deepEqual(parseAdapter(configuration, bertLike(6, 8, 16)).configuration, configuration);
    assert.equal(configuration.adapterDrop, 5);
  });
});
