import { strict as assert } from 'node:assert';
import { tidy } from '@tensorflow/tfjs-core';
import { joinedExamples, joiningMethodNames, soloMethodNames } from '../../../shared/adapters/method-names.ts';
import { methodNames, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import { layoutDigest, layoutOf } from '../../../shared/update/layout.ts';
import { allFixtures, fixtureBase, fixtureBatch } from '../model/fixtures.ts';
import { bertLike } from './bases.ts';
import { initialTensors } from './checks.ts';

const base = bertLike(2, 32, 64);

describe('adapter registry', () => {
  it('[ARG-1] knows the methods by name', () => {
    assert.ok(['none', 'bottleneck', 'lora', 'stack', 'fuse'].every((method) => methodNames.includes(method)));
    const member = (id: string) => ({ id, method: 'bottleneck' });
    const members = [member('a'), member('b')];
    const settings: Readonly<Record<string, object>> = {
      stack: { members },
      fuse: { members },
      average: { members },
      'batch-split': { members },
      parallel: { members },
      split: { members, at: [3] },
      gate: { members: [member('a')], penalty: 0.1 },
    };
    for (const method of methodNames) assert.equal(parseAdapter({ method, ...settings[method] }, base).method, method);
  });

  it('[ARG-7] the list of methods that stand by themselves is that of the registry', () => {
    const needsOthers = (method: string): boolean => {
      try {
        parseAdapter({ method }, base);
        return false;
      } catch (thrown) {
        return thrown instanceof UsageError && /members must be/.test(thrown.message);
      }
    };
    assert.deepEqual(
      methodNames.filter((method) => !needsOthers(method)),
      soloMethodNames,
    );
    assert.deepEqual(methodNames, [...soloMethodNames, ...joiningMethodNames]);
    for (const method of joiningMethodNames)
      assert.equal(parseAdapter({ method, ...joinedExamples[method] }, bertLike(2, 32, 64)).method, method);
  });

  it('[ARG-2] an unknown method is named with the known ones and the nearest', () => {
    assert.throws(
      () => parseAdapter({ method: 'lorra' }, base),
      (error) =>
        error instanceof UsageError &&
        error.code === 'bad-adapter' &&
        /^adapter: method must be one of none, .* \(did you mean lora\?\), found "lorra"$/.test(error.message),
    );
  });

  it('[ARG-3] no adapter has no tensors, no hooks and no settings', () => {
    const adapter = parseAdapter({ method: 'none' }, base);
    assert.deepEqual(adapter.tensors, []);
    assert.deepEqual(adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(1) }), {});
    assert.throws(() => parseAdapter({ method: 'none', rank: 4 }, base), /adapter none: rank is not a known field/);
  });

  const frozenDigests: readonly (readonly [{ method: string; [setting: string]: unknown }, string])[] = [
    [{ method: 'none' }, 'cb07e08720d5fe87304ce533596d6760fffe52167b13a9b0d5da23c881c610bd'],
    [{ method: 'bottleneck', reductionFactor: 4 }, '179ebd7b93b730e6afb65b2c777608513f5f7ad1001dccad1928f414e5216f6a'],
    [
      { method: 'bottleneck', placement: 'houlsby', size: 3, layers: [1] },
      'ec15373f9fb2805585f653152b543e13119e2efc09e1ec127327f8130faac763',
    ],
    [
      { method: 'bottleneck', placement: 'adapterplus', gate: true, normBefore: true, normAfter: true },
      '202383aa14f4e753a6d2cf8b5d296a1105dae97e8d32cdf6e7690049249c207a',
    ],
    [{ method: 'compacter', placement: 'houlsby' }, '50a0ce58863fe67bf9a7673de18dfb5355f22aa3522bdf9809244abed59470ee'],
    [{ method: 'lora', rank: 4 }, '4dbee3e5d7c25c8d73996c7bbaac002aa8cb44c485c8eaf7bc938189588da240'],
    [
      { method: 'lora', targets: 'all-linear', rankPattern: { up: 2 } },
      '0f95fd2bee1e1c142e80aa519a8d6028ff3c47146ad476ae25d302397e7586ad',
    ],
    [{ method: 'dora' }, '0bef543d865a756906bda113a85f23ed96f6a088c44ef67226b7dd06b60ace20'],
    [{ method: 'vera', projections: 'stored' }, '5495ea0549e904a41d1f4188e126e5f14007eb2ce4a8249b4d742c7ae76cff9b'],
    [{ method: 'ia3' }, 'c36993a4c9b382d4939a832068bb95aa2d0a8067892898a0deb83760563313e1'],
    [{ method: 'bias' }, 'b9bb3ebcf6d27de6cc8e115d3540c0700e284f31cebcf650cf7d33c2be485202'],
    [{ method: 'prefix', networkSize: 8 }, '310c2d464927e3632beace4e87e29f33e6d413099e311d1c8fa356fba576b18c'],
    [{ method: 'prompt' }, '34021d13ed97c1a3acbf58ddb1c2bedae82b83448208aa353b10e4822681bb36'],
    [{ method: 'invertible' }, 'a98c83c309f17d529d99672dfd7b46cd13a10a88ed58fbbd4f7826b9dab75f43'],
  ];
  for (const [configuration, digest] of frozenDigests) {
    it(`[ARG-4] the digest of a layout is frozen, clients agree on it or not at all (${JSON.stringify(configuration)})`, () => {
      assert.equal(layoutDigest(layoutOf(parseAdapter(configuration, base).tensors)), digest);
    });

    it(`[ARG-5] names are unique, shapes have extents of at least 1, start values fit (${JSON.stringify(configuration)})`, () => {
      const { tensors, initialise } = parseAdapter(configuration, base);
      assert.equal(new Set(tensors.map(({ name }) => name)).size, tensors.length);
      for (const tensor of tensors) {
        assert.ok(tensor.shape.every((extent) => Number.isInteger(extent) && extent >= 1));
        const size = tensor.shape.reduce((product, extent) => product * extent, 1);
        const values = initialise(tensor, seededRandom(1, tensor.name));
        assert.equal(values.length, size, tensor.name);
        assert.deepEqual(initialise(tensor, seededRandom(1, tensor.name)), values);
      }
    });
  }
});

for (const family of allFixtures) {
  describe(`adapters before training on ${family}`, () => {
    let model: BaseModel;
    before(async () => {
      await useBackend('wasm');
      model = fixtureBase(family);
    });
    after(() => model.dispose());

    for (const configuration of [
      { method: 'bottleneck' },
      { method: 'bottleneck', placement: 'houlsby', gate: true, scaling: 'learned' },
      { method: 'bottleneck', placement: 'parallel', parallelInput: 'normed' },
      { method: 'bottleneck', placement: 'adapterplus' },
      { method: 'compacter' },
      { method: 'lora', targets: 'all-linear' },
      { method: 'dora', targets: 'all-linear' },
      { method: 'vera' },
      { method: 'ia3' },
      { method: 'bias' },
      { method: 'invertible' },
    ]) {
      it(`[ARG-6] ${JSON.stringify(configuration)} changes nothing, to the last bit`, () => {
        tidy(() => {
          const adapter = parseAdapter(configuration, model.description);
          const hooks = adapter.hooks({
            parameters: initialTensors(adapter),
            training: false,
            random: seededRandom(1),
          });
          const batch = fixtureBatch(family);
          assert.deepEqual(model.encode(batch, hooks).dataSync(), model.encode(batch).dataSync());
        });
      });
    }
  });
}
