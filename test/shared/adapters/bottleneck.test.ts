import { strict as assert } from 'node:assert';
import {
  add,
  div,
  mean,
  mul,
  reshape,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  type Tensor3D,
  tensor,
  tensor3d,
} from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../../../shared/adapters/method.ts';
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription, Sublayer } from '../../../shared/model/base-model.ts';
import { bertLike, gpt2Like } from './bases.ts';
import {
  assertClose,
  assertGradients,
  evaluating,
  initialTensors,
  parameterCount,
  randomMatrix,
  randomTensors,
} from './checks.ts';

/** Layer norm without gain and bias, as the golden vectors have it. */
function hostNorm(input: Tensor3D): Tensor3D {
  const centred = sub(input, mean(input, -1, true));
  return div(centred, sqrt(add(mean(square(centred), -1, true), 1e-12)));
}

/** What a host does with a hook: its result, or the sum with or without norm. */
function sublayerOf(
  adapter: BoundAdapter,
  context: AdapterContext,
  { norm }: Pick<BaseDescription, 'norm'>,
  { output, residual }: { readonly output: Tensor3D; readonly residual: Tensor3D },
  site: { readonly layerIndex: number; readonly sublayer: Sublayer } = { layerIndex: 0, sublayer: 'feedForward' },
): Tensor3D {
  const hostsNorm = norm === 'post' ? hostNorm : undefined;
  const plain: Tensor3D = add(output, residual);
  return adapter.hooks(context).sublayer?.(site, output, residual, hostsNorm) ?? hostsNorm?.(plain) ?? plain;
}

const hosts = { post: bertLike(1, 4, 8), pre: gpt2Like(1, 4) };

describe('bottleneck: wiring', () => {
  before(() => useBackend('wasm'));

  const states = () => ({ residual: tensor3d([[[1, 2, 0, -1]]]), output: tensor3d([[[0.5, -1, 0, 1]]]) });
  const golden = {
    pfeiffer: { post: [1.06462, -0.419425, 0.791523, -1.436718], pre: [2.3, 0.7, 2.4, 0.2] },
    houlsby: { post: [1.399469, 0.340411, -0.416058, -1.323822], pre: [1.8, 1.1, 0.6, 0] },
    none: { post: [1.347151, 0.57735, -0.96225, -0.96225], pre: [1.5, 1, 0, 0] },
  };

  /** The golden vectors' weights; kernels here are `[in, out]`. */
  function goldenTensors(sublayer: Sublayer): Map<string, Tensor> {
    const site = `layers.0.${sublayer}.bottleneck`;
    return new Map<string, Tensor>([
      [`${site}.down.kernel`, tensor([1, 0, 0, 1, -1, 0, 0, 1], [4, 2])],
      [`${site}.down.bias`, tensor([0.1, -0.2])],
      [`${site}.up.kernel`, tensor([0.5, 0, 1, 0, 0, -0.5, 1, 0.25], [2, 4])],
      [`${site}.up.bias`, tensor([0, 0.1, 0, 0])],
    ]);
  }

  for (const norm of ['post', 'pre'] as const) {
    for (const placement of ['pfeiffer', 'houlsby'] as const) {
      it(`[BTL-1] ${placement} on a ${norm}-norm host gives the golden vector`, () => {
        const configuration = { method: 'bottleneck', placement, size: 2, activation: 'relu' };
        const adapter = parseAdapter(configuration, hosts[norm]);
        const sites: Sublayer[] = placement === 'houlsby' ? ['attention', 'feedForward'] : ['feedForward'];
        for (const sublayer of sites) {
          const context = evaluating(goldenTensors(sublayer));
          const site = { layerIndex: 0, sublayer };
          const found = sublayerOf(adapter, context, hosts[norm], states(), site);
          assertClose(found.dataSync(), golden[placement][norm], 2e-6);
        }
      });
    }

    it(`[BTL-2] without an adapter a ${norm}-norm host gives the golden vector`, () => {
      const adapter = parseAdapter({ method: 'none' }, hosts[norm]);
      const found = sublayerOf(adapter, evaluating(new Map()), hosts[norm], states());
      assertClose(found.dataSync(), golden.none[norm], 2e-6);
    });
  }

  it('[BTL-3] pfeiffer leaves the attention alone, and a left-out layer is left alone', () => {
    const adapter = parseAdapter({ method: 'bottleneck', leaveOut: [0] }, bertLike(3, 4, 8));
    const hooks = adapter.hooks(evaluating(randomTensors(adapter)));
    const { output, residual } = states();
    const at = (layerIndex: number, sublayer: Sublayer) =>
      hooks.sublayer!({ layerIndex, sublayer }, output, residual, hostNorm);
    assert.equal(hooks.lowestLayerIndex, 1);
    assert.equal(at(0, 'feedForward'), undefined);
    assert.equal(at(1, 'attention'), undefined);
    assert.notEqual(at(1, 'feedForward'), undefined);
  });

  it('[BTL-4] the scale multiplies what the adapter adds', () => {
    const change = (scaling: number) => {
      const adapter = parseAdapter({ method: 'bottleneck', size: 2, scaling }, hosts.pre);
      const found = sublayerOf(adapter, evaluating(goldenTensors('feedForward')), hosts.pre, states());
      return Array.from(found.dataSync(), (value, index) => value - golden.none.pre[index]!);
    };
    assertClose(
      change(2.5),
      change(1).map((value) => 2.5 * value),
      1e-5,
    );
  });
});

describe('bottleneck: layout', () => {
  it('[BTL-5] parameter counts are the published ones', () => {
    const count = (settings: object, base: BaseDescription) =>
      parameterCount(parseAdapter({ method: 'bottleneck', ...settings }, base));
    assert.equal(count({}, bertLike()), 894_528);
    assert.equal(count({ placement: 'houlsby' }, bertLike()), 1_789_056);
    assert.equal(count({}, bertLike(6)), 447_264);
    assert.equal(count({ reductionFactor: 2 }, bertLike()), 7_091_712);
    assert.equal(count({ placement: 'houlsby', size: 64 }, bertLike(24, 1024, 4096)), 6_343_680);
  });

  it('[BTL-6] tensors are named by site, kernels are [in, out], all are averaged, only kernels decay', () => {
    const adapter = parseAdapter(
      { method: 'bottleneck', placement: 'houlsby', layers: [1], size: 3 },
      bertLike(2, 8, 16),
    );
    assert.deepEqual(
      adapter.tensors.map(({ name, shape, aggregationClass, decays }) => [name, shape, aggregationClass, decays]),
      ['attention', 'feedForward'].flatMap((sublayer) => [
        [`layers.1.${sublayer}.bottleneck.down.kernel`, [8, 3], 'mean', true],
        [`layers.1.${sublayer}.bottleneck.down.bias`, [3], 'mean', false],
        [`layers.1.${sublayer}.bottleneck.up.kernel`, [3, 8], 'mean', true],
        [`layers.1.${sublayer}.bottleneck.up.bias`, [8], 'mean', false],
      ]),
    );
  });

  it('[BTL-7] reduction factors by layer; a bottleneck has at least one unit', () => {
    const widths = (reductionFactor: unknown) =>
      parseAdapter({ method: 'bottleneck', reductionFactor }, bertLike(3, 32, 64))
        .tensors.filter(({ name }) => name.endsWith('.down.bias'))
        .map(({ shape }) => shape[0]);
    assert.deepEqual(widths({ '0': 16, default: 4 }), [2, 8, 8]);
    assert.deepEqual(widths({ '0': 16, '1': 9, '2': 1 }), [2, 3, 32]);
    assert.deepEqual(widths(64), [1, 1, 1]);
    assert.deepEqual(widths(0.5), [64, 64, 64]);
  });
});

describe('bottleneck: start and training', () => {
  before(() => useBackend('wasm'));

  const states = (rows: number, width: number) => {
    const random = seededRandom(9);
    const draw = () => reshape(randomMatrix(rows, width, random), [1, rows, width]) as Tensor3D;
    return { residual: draw(), output: draw() };
  };

  it('[BTL-8] nothing changes before training, in either placement and on either host', () => {
    for (const base of [bertLike(1, 8, 16), gpt2Like(1, 8)]) {
      for (const placement of ['pfeiffer', 'houlsby']) {
        const adapter = parseAdapter({ method: 'bottleneck', placement, size: 3 }, base);
        const given = states(5, 8);
        const bare = sublayerOf(parseAdapter({ method: 'none' }, base), evaluating(new Map()), base, given);
        const found = sublayerOf(adapter, evaluating(initialTensors(adapter)), base, given);
        assert.deepEqual(found.dataSync(), bare.dataSync());
      }
    }
  });

  it('[BTL-9] initialisations have their distributions', () => {
    const kernels = (initialisation: string) => {
      const adapter = parseAdapter({ method: 'bottleneck', initialisation, reductionFactor: 4 }, bertLike(1, 128, 256));
      const tensors = initialTensors(adapter);
      const values = (part: string) => [...tensors.get(`layers.0.feedForward.bottleneck.${part}`)!.dataSync()];
      assert.ok([...values('down.bias'), ...values('up.bias')].every((value) => value === 0));
      const all = { down: values('down.kernel'), up: values('up.kernel') };
      const deviation = (list: number[]) =>
        Math.sqrt(list.reduce((total, value) => total + value * value, 0) / list.length);
      const largest = (list: number[]) => Math.max(...list.map(Math.abs));
      return {
        down: { deviation: deviation(all.down), largest: largest(all.down) },
        up: { deviation: deviation(all.up), largest: largest(all.up) },
      };
    };
    const identity = kernels('identity');
    assert.equal(identity.up.largest, 0);
    assertClose([identity.down.deviation], [1 / Math.sqrt(3 * 128)], 0.002);
    assert.ok(identity.down.largest <= 1 / Math.sqrt(128));
    const bert = kernels('bert');
    assertClose([bert.down.deviation, bert.up.deviation], [0.02, 0.02], 0.001);
    const houlsby = kernels('houlsby');
    // A normal cut off at two deviations has 0.8796 of its deviation.
    assertClose([houlsby.down.deviation, houlsby.up.deviation], [0.008796, 0.008796], 0.0004);
    assert.ok(houlsby.down.largest <= 0.02 + 1e-9);
  });

  for (const activation of ['gelu', 'gelu_new', 'swish', 'tanh', 'sigmoid', 'relu']) {
    it(`[BTL-10] gradients with ${activation} equal finite differences`, () => {
      const base = bertLike(1, 6, 12);
      const placement = activation === 'swish' ? 'houlsby' : 'pfeiffer';
      const configuration = { method: 'bottleneck', placement, size: 2, activation, scaling: 1.5 };
      const adapter = parseAdapter(configuration, base);
      const given = states(4, 6);
      const probe = states(4, 6).residual;
      const site = { layerIndex: 0, sublayer: 'feedForward' } as const;
      // Away from the corner of relu: a difference across it is no derivative.
      const parameters = randomTensors(adapter, 0.5, activation === 'relu' ? 5 : 2);
      const used = new Map([...parameters].filter(([name]) => name.includes('feedForward')));
      assertGradients(used, (tensors) => sum(mul(probe, sublayerOf(adapter, evaluating(tensors), base, given, site))));
    });
  }

  it('[BTL-11] dropout: the same seed gives the same result, another seed another, evaluation none', () => {
    const base = gpt2Like(1, 16);
    const dropped = parseAdapter({ method: 'bottleneck', size: 4, dropout: 0.5, initialisation: 'bert' }, base);
    const kept = parseAdapter({ method: 'bottleneck', size: 4, initialisation: 'bert' }, base);
    const parameters = randomTensors(dropped);
    const given = states(50, 16);
    const run = (adapter: BoundAdapter, training: boolean, seed: number) => [
      ...sub(
        sublayerOf(adapter, { parameters, training, random: seededRandom(seed) }, base, given),
        add(given.output, given.residual),
      ).dataSync(),
    ];
    const whole = run(kept, true, 1);
    const half = run(dropped, true, 1);
    assert.deepEqual(run(dropped, true, 1), half);
    assert.notDeepEqual(run(dropped, true, 2), half);
    assert.deepEqual(run(dropped, false, 1), whole);
    const zeros = half.filter((value) => value === 0).length;
    assert.ok(zeros > 0.42 * half.length && zeros < 0.58 * half.length, `${zeros} of ${half.length} are dropped`);
    const doubled = half.filter((value, index) => value !== 0 && Math.abs(value - 2 * whole[index]!) > 1e-4);
    assert.deepEqual(doubled, []);
  });
});

describe('bottleneck: configuration', () => {
  const base = bertLike(3, 32, 64);
  const parse = (settings: object) => parseAdapter({ method: 'bottleneck', ...settings }, base).configuration;

  it('[BTL-12] defaults are filled in, and what comes out goes in again', () => {
    const filled = {
      method: 'bottleneck',
      placement: 'pfeiffer',
      reductionFactor: 16,
      activation: 'relu',
      scaling: 1,
      dropout: 0,
      layers: [0, 1, 2],
      initialisation: 'identity',
    };
    assert.deepEqual(parse({}), filled);
    assert.equal(parse({ placement: 'houlsby' }).activation, 'swish');
    for (const settings of [{}, { size: 4, leaveOut: [1] }, { reductionFactor: { '2': 8 }, layers: [2] }]) {
      const once = parse(settings);
      assert.deepEqual(parseAdapter(once, base).configuration, once);
    }
  });

  const faults: readonly [string, object, RegExp][] = [
    [
      'an unknown field',
      { reductionfactor: 4 },
      /reductionfactor is not a known field; did you mean reductionFactor\?/,
    ],
    [
      'a placement',
      { placement: 'pfeifer' },
      /placement must be one of pfeiffer, houlsby, parallel, adapterplus \(did you mean pfeiffer\?\), found "pfeifer"/,
    ],
    [
      'an activation',
      { activation: 'gelu2' },
      /activation must be one of relu, .*did you mean gelu\?\), found "gelu2"/,
    ],
    ['a factor', { reductionFactor: 0 }, /reductionFactor must be a number above 0 and at most 65536, found 0/],
    [
      'a factor without default',
      { reductionFactor: { '0': 4 } },
      /reductionFactor must have a number for layer 1 or under default/,
    ],
    [
      'a factor of no layer',
      { reductionFactor: { '7': 4, default: 2 } },
      /reductionFactor\.7 must be a layer index from 0 to 2 or default/,
    ],
    ['both widths', { reductionFactor: 4, size: 4 }, /size must not stand beside reductionFactor/],
    ['a size', { size: 1.5 }, /size must be a whole number from 1 to 65536, found 1.5/],
    ['dropout', { dropout: 1 }, /dropout must be a number at least 0 and below 1, found 1/],
    ['a layer', { layers: [0, 3] }, /layers\[1\] must be at most 2, the last layer of this bert, found 3/],
    ['layers', { layers: 'some' }, /layers must be all, or a list of layer indices, counted from 0, found "some"/],
    ['no layer', { leaveOut: [0, 1, 2] }, /layers must leave at least one of the layers 0 to 2 in/],
    [
      'an initialisation',
      { initialisation: 'zero' },
      /initialisation must be one of identity, bert, houlsby, found "zero"/,
    ],
  ];
  for (const [what, settings, message] of faults) {
    it(`[BTL-13] a fault (${what}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parse(settings),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }

  it('[BTL-14] all faults are listed at once', () => {
    assert.throws(() => parse({ dropout: -1, placement: 'x' }), /placement must[^\n]*\n[^\n]*dropout must/);
  });
});
