import { strict as assert } from 'node:assert';
import {
  add,
  engine,
  grads,
  memory,
  mul,
  scalar,
  sum,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tidy,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { LinearSite, LinearTarget, SiteHooks, SublayerSite } from '../../../shared/model/base-model.ts';
import { randomTensor } from '../compute/finite-differences.ts';
import { fixtureBase, fixtureBatch, fixtureFamilies, largestError } from './fixtures.ts';

const expectedTargets: Readonly<Record<string, readonly LinearTarget[]>> = {
  bert: ['q', 'k', 'v', 'o', 'up', 'down'],
  gpt2: ['qkv', 'q', 'k', 'v', 'o', 'up', 'down'],
  qwen3: ['q', 'k', 'v', 'o', 'gate', 'up', 'down'],
};

for (const backend of ['cpu', 'wasm'] as const) {
  for (const family of fixtureFamilies) {
    describe(`hooks on ${family}, ${backend}`, () => {
      before(() => useBackend(backend));

      /** The last hidden states under some hooks. */
      function encoded(hooks?: SiteHooks): Float32Array {
        const model = fixtureBase(family);
        const values = tidy(() => model.encode(fixtureBatch(family), hooks).dataSync() as Float32Array);
        model.dispose();
        return values;
      }

      it('[HOK-1] are called at every site in the order of the computation, with the shapes of the contract', () => {
        const linearSites: LinearSite[] = [];
        const sublayerSites: SublayerSite[] = [];
        const model = fixtureBase(family);
        const { linearTargets, norm: placement, hiddenSize, layerCount } = model.description;
        tidy(() => {
          const batch = fixtureBatch(family);
          const [rowCount, length] = batch.inputIds.shape;
          model.encode(batch, {
            linear: (site, input, output) => {
              linearSites.push(site);
              const { inSize, outSize } = linearTargets[site.target]!;
              assert.deepEqual(
                [input.shape, output.shape],
                [
                  [rowCount * length, inSize],
                  [rowCount * length, outSize],
                ],
              );
              return undefined;
            },
            sublayer: (site, output, residual, norm) => {
              sublayerSites.push(site);
              assert.deepEqual(
                [output.shape, residual.shape],
                [
                  [rowCount, length, hiddenSize],
                  [rowCount, length, hiddenSize],
                ],
              );
              assert.equal(norm !== undefined, placement === 'post');
              return undefined;
            },
          });
        });
        model.dispose();
        const layers = Array.from({ length: layerCount }, (_, index) => index);
        assert.deepEqual(
          linearSites,
          layers.flatMap((layerIndex) => expectedTargets[family]!.map((target) => ({ layerIndex, target }))),
        );
        assert.deepEqual(
          sublayerSites,
          layers.flatMap((layerIndex) => [
            { layerIndex, sublayer: 'attention' },
            { layerIndex, sublayer: 'feedForward' },
          ]),
        );
      });

      it('[HOK-2] that return what the base does change nothing, whichever way they do it', () => {
        const plain = encoded();
        const same = encoded({
          linear: (_, __, output) => mul(output, 1) as Tensor2D,
          sublayer: (_, output, residual, norm) => {
            const summed: Tensor3D = add(output, residual);
            return norm === undefined ? summed : norm(summed);
          },
        });
        assert.ok(largestError(same, plain) < 1e-5);
        const silent = encoded({ linear: () => undefined, sublayer: () => undefined });
        assert.ok(largestError(silent, plain) < 1e-5);
      });

      it('[HOK-3] of linear maps act where they say: each target alone changes the result', () => {
        const plain = encoded();
        for (const target of expectedTargets[family]!) {
          const act = (site: LinearSite, _: Tensor2D, output: Tensor2D) =>
            site.target === target && site.layerIndex === 1 ? (mul(output, output) as Tensor2D) : undefined;
          const changed = encoded({ linear: act });
          assert.ok(largestError(changed, plain) > 1e-3, `${target} changes nothing`);
          const strict = (site: LinearSite, input: Tensor2D, output: Tensor2D) => {
            assert.equal(site.target, target, 'a hook is called for a target that it did not name');
            return act(site, input, output);
          };
          const named = encoded({ linear: strict, linearTargets: new Set([target]) });
          assert.ok(largestError(named, changed) < 1e-6);
          const unnamed = encoded({ linear: act, linearTargets: new Set() });
          assert.ok(largestError(unnamed, plain) < 1e-6);
        }
      });

      if (family === 'gpt2') {
        it('[HOK-4] on the fused map and on its slices mean the same', () => {
          const scaleOf: Partial<Record<LinearTarget, number>> = { q: 1.5, k: 1.5, v: 1.5 };
          const fused = encoded({
            linear: ({ target }, _, output) => (target === 'qkv' ? (mul(output, 1.5) as Tensor2D) : undefined),
          });
          const slices = encoded({
            linear: ({ target }, _, output) => {
              const scale = scaleOf[target];
              return scale === undefined ? undefined : (mul(output, scale) as Tensor2D);
            },
          });
          assert.ok(largestError(fused, slices) < 1e-5);
        });
      }

      it('[HOK-5] get gradients through the frozen layers above, and nothing is kept or run for those below the lowest', () => {
        const model = fixtureBase(family);
        const { hiddenSize, layerCount } = model.description;
        const [rowCount, length] = fixtureBatch(family).inputIds.shape;
        const probe = randomTensor([rowCount, length, hiddenSize], seededRandom(9), 0.1);
        const top = layerCount - 1;
        const passOf = (layerIndex: number, lowest: Pick<SiteHooks, 'lowestLayerIndex'>) =>
          tidy(() => {
            const batch = fixtureBatch(family);
            let kept = 0;
            const loss = (scale: Tensor) => {
              const hidden = model.encode(batch, {
                ...lowest,
                sublayer: (site, output, residual, norm) => {
                  if (site.layerIndex !== layerIndex || site.sublayer !== 'feedForward') return undefined;
                  kept = memory().numTensors;
                  const summed: Tensor3D = add(mul(output, scale), residual);
                  return norm === undefined ? summed : norm(summed);
                },
              });
              return sum(mul(hidden, probe)).asScalar();
            };
            const valueAt = (scale: number) => loss(scalar(scale)).dataSync()[0]!;
            const difference = (valueAt(1.02) - valueAt(0.98)) / 0.04;
            let slope = Number.NaN;
            const kernels = countKernels(() => {
              slope = grads(loss)([scalar(1)])[0]!.dataSync()[0]!;
            });
            const error = Math.abs(slope - difference);
            assert.ok(
              error <= 1e-2 * Math.max(1, Math.abs(slope)),
              `the gradient says ${slope}, differences ${difference}`,
            );
            return { slope, kernels, kept };
          });
        const told = passOf(top, { lowestLayerIndex: top });
        const untold = passOf(top, {});
        assert.ok(Math.abs(told.slope - untold.slope) < 1e-3);
        assert.ok(
          told.kept < untold.kept,
          `${told.kept} tensors are kept at the top layer, ${untold.kept} without the hint`,
        );
        assert.ok(told.kernels < passOf(0, {}).kernels);
        model.dispose();
        probe.dispose();
      });

      it('[HOK-6] a pass leaves nothing but its result', () => {
        const model = fixtureBase(family);
        const batch = fixtureBatch(family);
        const run = () => tidy(() => model.encode(batch, { lowestLayerIndex: 1, sublayer: () => undefined })).dispose();
        run();
        const before = memory().numTensors;
        run();
        assert.equal(memory().numTensors, before);
        const bare = tidy(() => {
          const inside = memory().numTensors;
          const hidden = model.encode(batch);
          assert.ok(memory().numTensors - inside <= 12, 'intermediate states outlive their layer');
          return hidden;
        });
        bare.dispose();
        assert.equal(memory().numTensors, before);
        for (const made of Object.values(batch) as Tensor[]) made.dispose();
        model.dispose();
      });
    });
  }
}

/** How many kernels run during `work`. */
function countKernels(work: () => void): number {
  let count = 0;
  const original = engine().runKernel.bind(engine());
  engine().runKernel = ((...call: Parameters<typeof original>) => {
    count++;
    return original(...call);
  }) as typeof original;
  try {
    work();
  } finally {
    Reflect.deleteProperty(engine(), 'runKernel');
  }
  return count;
}
