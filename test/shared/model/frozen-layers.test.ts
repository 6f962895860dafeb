import { strict as assert } from 'node:assert';
import { add, engine, mul, type Scalar, scalar, sum, type Tensor, tidy, valueAndGrads } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { InvariantError } from '../../../shared/core/assert.ts';
import type { SiteHooks } from '../../../shared/model/base-model.ts';
import { frozenLayerCount } from '../../../shared/model/frozen-layers.ts';
import { allFixtures, fixtureBase, fixtureBatch } from './fixtures.ts';

/** Scales what the feed-forward of the top layer puts out by `factor`. */
const topHooks = (layerIndex: number, factor: Tensor): SiteHooks => ({
  lowestLayerIndex: layerIndex,
  sublayer: (site, output, residual, norm) => {
    if (site.layerIndex !== layerIndex || site.sublayer !== 'feedForward') return undefined;
    const total = add(mul(output, factor), residual) as typeof output;
    return norm === undefined ? total : norm(total);
  },
});

for (const family of allFixtures) {
  describe(`states below a layer of ${family}`, () => {
    before(() => useBackend('cpu'));

    it('[FRZ-1] stand in for the layers that they come from, to the bit, under hooks above and without any', () => {
      const model = fixtureBase(family);
      const { layerCount } = model.description;
      tidy(() => {
        const batch = fixtureBatch(family);
        const top = topHooks(layerCount - 1, scalar(1.5));
        for (const [hooks, layerIndex] of [
          [top, layerCount - 1],
          [top, 1],
          [{}, layerCount],
        ] as const) {
          const below = { layerIndex, states: model.encodeBelow!(batch, layerIndex) };
          const whole = model.encode(batch, hooks).dataSync();
          assert.deepEqual(model.encode({ ...batch, below }, hooks).dataSync(), whole);
        }
      });
      model.dispose();
    });

    it('[FRZ-2] are refused where hooks act below their layer', () => {
      const model = fixtureBase(family);
      const { layerCount } = model.description;
      tidy(() => {
        const batch = fixtureBatch(family);
        const below = { layerIndex: layerCount, states: model.encodeBelow!(batch, layerCount) };
        const hooks = topHooks(layerCount - 1, scalar(2));
        assert.throws(() => model.encode({ ...batch, below }, hooks), InvariantError);
        const words: SiteHooks = { words: (states, mask) => ({ states, mask }) };
        assert.equal(frozenLayerCount({ ...hooks, ...words }, layerCount), 0);
        assert.throws(() => model.encode({ ...batch, below }, words), InvariantError);
      });
      model.dispose();
    });

    it('[FRZ-3] cost no kernel on the way back, and no frozen weight gets a gradient', () => {
      const model = fixtureBase(family);
      const { layerCount, linearTargets } = model.description;
      const backwardOf = (layerIndex: number, isGiven: boolean): string[] => {
        const names: string[] = [];
        const runKernel = engine().runKernel.bind(engine());
        tidy(() => {
          const bare = fixtureBatch(family);
          const below = { layerIndex, states: model.encodeBelow!(bare, layerIndex) };
          const batch = isGiven ? { ...bare, below } : bare;
          try {
            valueAndGrads((factor) => {
              const loss: Scalar = sum(model.encode(batch, topHooks(layerIndex, factor!)));
              // What runs from here on is the way back.
              const spied = (...call: Parameters<typeof runKernel>): Tensor => {
                const result: Tensor = runKernel(...call);
                names.push(...[result].flat().map(({ shape }) => `${call[0]} ${shape.join('x')}`));
                return result;
              };
              engine().runKernel = spied as typeof runKernel;
              return loss;
            })([scalar(1.5)]);
          } finally {
            engine().runKernel = runKernel;
          }
        });
        return names;
      };
      const frozen = backwardOf(layerCount - 1, false);
      assert.ok(frozen.length > 0);
      assert.deepEqual(frozen, backwardOf(layerCount - 1, true));
      // Every layer between costs something.
      assert.ok(backwardOf(0, false).length > frozen.length);
      const weights = new Set(Object.values(linearTargets).map(({ inSize, outSize }) => `${inSize}x${outSize}`));
      for (const name of frozen) assert.ok(!weights.has(name.split(' ')[1]!), name);
      model.dispose();
    });
  });
}
