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
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription, FrozenMap, Sublayer } from '../../../shared/model/base-model.ts';
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
import { normed, plus, type Rows, rowsOf, scaled, times } from './numbers.ts';

const hosts = { post: bertLike(1, 4, 8), pre: gpt2Like(1, 4) };
const hostEpsilon = 1e-12;
const site = { layerIndex: 0, sublayer: 'feedForward' } as const;

function hostNorm(input: Tensor3D): Tensor3D {
  const centred = sub(input, mean(input, -1, true));
  return div(centred, sqrt(add(mean(square(centred), -1, true), hostEpsilon)));
}

/** Two examples of three tokens. */
function states(width = 4): { readonly output: Tensor3D; readonly residual: Tensor3D } {
  const random = seededRandom(9);
  const draw = (): Tensor3D => reshape(randomMatrix(6, width, random), [2, 3, width]);
  return { residual: draw(), output: draw() };
}

function run(
  adapter: BoundAdapter,
  parameters: ReadonlyMap<string, Tensor>,
  { norm }: Pick<BaseDescription, 'norm'>,
  given: ReturnType<typeof states>,
  place: { readonly layerIndex: number; readonly sublayer: Sublayer } = site,
): Tensor3D {
  const host = norm === 'post' ? hostNorm : undefined;
  return adapter.hooks(evaluating(parameters)).sublayer!(place, given.output, given.residual, host)!;
}

/** AdapterHub's `pre_forward`, `forward` and `post_forward` in float64, flag by flag. */
function reference(
  settings: {
    readonly parallel: boolean;
    readonly hostNormBefore: boolean;
    readonly hostNormAfter: boolean;
    readonly residual: 'output' | 'sum' | 'input';
    readonly normBefore: boolean;
    readonly normAfter: boolean;
    readonly residualBeforeNorm: boolean;
    readonly gate: boolean;
    readonly scaling: number | 'learned' | 'channel';
  },
  parameters: ReadonlyMap<string, Tensor>,
  norm: 'post' | 'pre',
  given: ReturnType<typeof states>,
): number[] {
  const name = 'layers.0.feedForward.bottleneck';
  const vector = (part: string) => [...parameters.get(`${name}.${part}`)!.dataSync()];
  const matrix = (part: string, columns: number) => rowsOf(vector(part), columns);
  const host = (rows: Rows) => (norm === 'post' ? normed(rows, hostEpsilon) : rows);
  const own = (rows: Rows, part: string) =>
    plus(scaled(normed(rows, 1e-5), vector(`${part}.gain`)), vector(`${part}.bias`));
  const [h, x] = [rowsOf(given.output.dataSync(), 4), rowsOf(given.residual.dataSync(), 4)];
  let hidden: Rows = h;
  let carried: Rows = h;
  if (settings.parallel) hidden = x;
  else if (settings.hostNormBefore) {
    hidden = plus(h, x);
    if (settings.residual === 'sum') carried = hidden;
    hidden = host(hidden);
  }
  if (!settings.parallel && settings.residual === 'input') carried = hidden;
  const down = plus(
    times(settings.normBefore ? own(hidden, 'normBefore') : hidden, matrix('down.kernel', 2)),
    vector('down.bias'),
  );
  const up = plus(
    times(
      down.map((row) => row.map(Math.tanh)),
      matrix('up.kernel', 4),
    ),
    vector('up.bias'),
  );
  const scale = typeof settings.scaling === 'number' ? settings.scaling : vector('scale');
  let result = scaled(up, typeof scale === 'number' || scale.length > 1 ? scale : scale[0]!);
  if (settings.gate) {
    const open = plus(times(hidden, matrix('gate.kernel', 1)), vector('gate.bias')).map(
      ([value]) => 1 / (1 + Math.exp(-value!)),
    );
    result = result.map((row, index) => {
      const example = Math.floor(index / 3) * 3;
      return row.map((value) => (value * (open[example]! + open[example + 1]! + open[example + 2]!)) / 3);
    });
  }
  if (settings.residualBeforeNorm) result = plus(result, carried);
  if (settings.normAfter) result = own(result, 'normAfter');
  if (!settings.residualBeforeNorm) result = plus(result, carried);
  return (settings.hostNormAfter ? host(plus(result, x)) : result).flat();
}

describe('bottleneck: published placements', () => {
  before(async () => {
    await useBackend('wasm');
    weights.set(`${name}.down.kernel`, tensor([1, 0, 0, 1, -1, 0, 0, 1], [4, 2]));
    weights.set(`${name}.down.bias`, tensor([0.1, -0.2]));
    weights.set(`${name}.up.kernel`, tensor([0.5, 0, 1, 0, 0, -0.5, 1, 0.25], [2, 4]));
    weights.set(`${name}.up.bias`, tensor([0, 0.1, 0, 0]));
  });

  const golden = {
    parallel: { post: [0.239261, -1.047799, 1.526322, -0.717784], pre: [3.7, -0.2, 7.6, 0.8] },
    adapterplus: { post: [2.551851, 0.67735, 1.447151, -0.96225], pre: [2.3, 0.7, 2.4, 0.2] },
  };
  const name = 'layers.0.feedForward.bottleneck';
  const weights = new Map<string, Tensor>();
  for (const norm of ['post', 'pre'] as const) {
    for (const placement of ['parallel', 'adapterplus'] as const) {
      it(`[BTO-1] ${placement} on a ${norm}-norm host gives the golden vector`, () => {
        const scaling = placement === 'parallel' ? 4 : 1;
        const adapter = parseAdapter(
          { method: 'bottleneck', placement, size: 2, activation: 'relu', scaling },
          hosts[norm],
        );
        const given = { residual: tensor3d([[[1, 2, 0, -1]]]), output: tensor3d([[[0.5, -1, 0, 1]]]) };
        assertClose(run(adapter, weights, hosts[norm], given).dataSync(), golden[placement][norm], 2e-6);
      });
    }
  }

  it('[BTO-2] presets have the published settings and sizes', () => {
    const of = (placement: string) => parseAdapter({ method: 'bottleneck', placement }, bertLike());
    const { activation, scaling, reductionFactor, dropPath } = of('adapterplus').configuration;
    assert.deepEqual([activation, scaling, reductionFactor, dropPath], ['gelu', 'channel', 96, 0.1]);
    // 2 d b + b + d and a scale for each channel, b = 768 / 96.
    assert.equal(parameterCount(of('adapterplus')), 12 * (2 * 768 * 8 + 8 + 768 + 768));
    assert.equal(parameterCount(of('parallel')), 7_091_712);
    assert.equal(of('parallel').configuration.scaling, 4);
  });

  it('[BTO-3] sublayers choose the sites: attention alone, parallel at both', () => {
    const sitesOf = (settings: object) => {
      const { tensors } = parseAdapter({ method: 'bottleneck', size: 2, ...settings }, hosts.post);
      return [...new Set(tensors.map((one) => one.name.split('.')[2]))];
    };
    assert.deepEqual(sitesOf({ sublayers: ['attention'] }), ['attention']);
    assert.deepEqual(sitesOf({ placement: 'parallel', sublayers: ['feedForward', 'attention'] }), [
      'attention',
      'feedForward',
    ]);
  });

  it('[BTO-4] a parallel adapter on a pre-norm base reads the stream, or what its sublayer reads if it is asked to', () => {
    const given = states();
    const random = seededRandom(4);
    const read = randomMatrix(6, 4, random);
    const found = (parallelInput: string, input: Tensor) => {
      const adapter = parseAdapter({ method: 'bottleneck', placement: 'parallel', size: 2, parallelInput }, hosts.pre);
      const parameters = randomTensors(adapter);
      const hooks = adapter.hooks(evaluating(parameters));
      const map: FrozenMap = { apply: (rows) => rows, kernel: () => read, bias: () => null };
      assert.equal(hooks.linear?.({ layerIndex: 0, target: 'up' }, read, randomMatrix(6, 16, random), map), undefined);
      const plain = parseAdapter({ method: 'bottleneck', placement: 'parallel', size: 2 }, hosts.pre);
      const expected = run(plain, parameters, hosts.pre, { output: given.output, residual: reshape(input, [2, 3, 4]) });
      const change = sub(hooks.sublayer!(site, given.output, given.residual, undefined)!, given.residual);
      assertClose(change.dataSync(), [...sub(expected, reshape(input, [2, 3, 4])).dataSync()], 1e-5);
      return hooks.change === undefined;
    };
    assert.equal(found('raw', given.residual), false);
    assert.equal(found('normed', read), true);
  });
});

describe('bottleneck: every wiring', () => {
  before(() => useBackend('wasm'));

  const flags = [false, true];
  const wirings = flags.flatMap((hostNormBefore) =>
    flags.flatMap((hostNormAfter) =>
      flags.flatMap((normAfter) =>
        (['output', 'sum', 'input'] as const)
          .filter((residual) => residual !== 'sum' || hostNormBefore)
          .flatMap((residual) =>
            (normAfter ? flags : [false]).map((residualBeforeNorm) => {
              return { hostNormBefore, hostNormAfter, normAfter, residual, residualBeforeNorm };
            }),
          ),
      ),
    ),
  );

  for (const norm of ['post', 'pre'] as const) {
    it(`[BTO-5] on a ${norm}-norm host equals AdapterHub's three steps in float64`, () => {
      let count = 0;
      for (const [index, wiring] of wirings.entries()) {
        const scaling = ([2.5, 'learned', 'channel'] as const)[index % 3]!;
        const settings = {
          ...wiring,
          parallel: index % 4 === 0 && !wiring.residualBeforeNorm,
          normBefore: index % 2 === 0,
          gate: index % 5 < 2,
          scaling,
        };
        const adapter = parseAdapter({ method: 'bottleneck', size: 2, activation: 'tanh', ...settings }, hosts[norm]);
        const parameters = randomTensors(adapter, 0.7, index);
        const given = states();
        const found = run(adapter, parameters, hosts[norm], given);
        assertClose(found.dataSync(), reference(settings, parameters, norm, given), 1e-4);
        count++;
      }
      assert.equal(count, 30);
    });
  }

  it('[BTO-6] what compositions get is the change of the sublayer, wherever there is one', () => {
    for (const wiring of wirings) {
      const adapter = parseAdapter({ method: 'bottleneck', size: 2, ...wiring }, hosts.pre);
      const hooks = adapter.hooks(evaluating(randomTensors(adapter)));
      const isChange = wiring.hostNormAfter && wiring.residual === 'output' && !wiring.residualBeforeNorm;
      assert.equal(hooks.change !== undefined, isChange, JSON.stringify(wiring));
      if (hooks.change === undefined) continue;
      const { output, residual } = states();
      const whole = add(add(output, hooks.change(site, output, residual, undefined)!), residual);
      assertClose(hooks.sublayer!(site, output, residual, undefined)!.dataSync(), [...whole.dataSync()], 1e-6);
    }
  });
});

describe('bottleneck: scales, gate, norms, drop path', () => {
  before(() => useBackend('wasm'));

  const rich = { scaling: 'channel', gate: true, normBefore: true, normAfter: true, size: 2, activation: 'tanh' };

  it('[BTO-7] gradients of scale, gate and norms equal finite differences', () => {
    for (const settings of [
      rich,
      { ...rich, scaling: 'learned', placement: 'adapterplus', residualBeforeNorm: true },
    ]) {
      const adapter = parseAdapter({ method: 'bottleneck', ...settings }, hosts.post);
      const given = states();
      const probe = states().residual;
      assertGradients(randomTensors(adapter), (tensors) => sum(mul(probe, run(adapter, tensors, hosts.post, given))));
    }
  });

  it('[BTO-8] nothing changes before training, whatever is switched on', () => {
    for (const norm of ['post', 'pre'] as const) {
      for (const placement of ['pfeiffer', 'houlsby', 'parallel', 'adapterplus']) {
        const adapter = parseAdapter({ method: 'bottleneck', placement, ...rich }, hosts[norm]);
        const given = states();
        const plain: Tensor3D = add(given.output, given.residual);
        const expected = norm === 'post' ? hostNorm(plain) : plain;
        const found = run(adapter, initialTensors(adapter), hosts[norm], given);
        assert.deepEqual(found.dataSync(), expected.dataSync(), `${placement} ${norm}`);
      }
    }
  });

  it('[BTO-9] a trained scale is folded into the map before it; the other tensors are averaged', () => {
    const name = 'layers.0.feedForward.bottleneck';
    const { tensors } = parseAdapter({ method: 'bottleneck', ...rich }, hosts.post);
    const scale = tensors.find((one) => one.name === `${name}.scale`);
    assert.deepEqual(scale, {
      name: `${name}.scale`,
      shape: [4],
      aggregationClass: 'folded',
      decays: false,
      foldInto: [`${name}.up.kernel`, `${name}.up.bias`],
    });
    const further = tensors.slice(4).map((one) => [one.name.slice(name.length + 1), one.shape, one.aggregationClass]);
    assert.deepEqual(further.slice(1), [
      ['gate.kernel', [4, 1], 'mean'],
      ['gate.bias', [1], 'mean'],
      ['normBefore.gain', [4], 'mean'],
      ['normBefore.bias', [4], 'mean'],
      ['normAfter.gain', [4], 'mean'],
      ['normAfter.bias', [4], 'mean'],
    ]);
  });

  it('[BTO-10] drop path drops an example as a whole, and only in training', () => {
    const adapter = parseAdapter({ method: 'bottleneck', size: 2, dropPath: 0.5, initialisation: 'bert' }, hosts.pre);
    const parameters = randomTensors(adapter);
    const random = seededRandom(8);
    const wide = (): Tensor3D => reshape(randomMatrix(400 * 2, 4, random), [400, 2, 4]);
    const given = { output: wide(), residual: wide() };
    const change = (training: boolean) => {
      const hooks = adapter.hooks({ parameters, training, random: seededRandom(1) });
      return rowsOf(hooks.change!(site, given.output, given.residual, undefined)!.dataSync(), 8);
    };
    const [whole, dropped] = [change(false), change(true)];
    const zeros = dropped.filter((example) => example.every((value) => value === 0)).length;
    assert.ok(zeros > 160 && zeros < 240, `${zeros} of 400 examples are dropped`);
    for (const [index, example] of dropped.entries()) {
      if (example.every((value) => value === 0)) continue;
      assertClose(
        example,
        whole[index]!.map((value) => 2 * value),
        1e-4,
      );
    }
  });

  const faults: readonly [string, object, RegExp][] = [
    ['a scale', { scaling: 'train' }, /scaling must be a number, learned .* or channel .*, found "train"/],
    [
      'a residual',
      { placement: 'houlsby', residual: 'sum' },
      /residual must be output or input without hostNormBefore/,
    ],
    ['an own norm', { residualBeforeNorm: true }, /residualBeforeNorm must be false without normAfter, .*, found true/],
    [
      'an input',
      { parallelInput: 'normed' },
      /parallelInput must be left out unless the adapter is parallel, where it is raw or normed, found normed/,
    ],
    ['a path', { dropPath: 1 }, /dropPath must be a number at least 0 and below 1, found 1/],
    ['sublayers', { sublayers: ['ffn'] }, /sublayers\[0\] must be one of attention, feedForward, found "ffn"/],
    ['no sublayer', { sublayers: [] }, /sublayers must be a list of attention, feedForward, or both, found \[\]/],
  ];
  for (const [what, settings, message] of faults) {
    it(`[BTO-11] a fault (${what}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parseAdapter({ method: 'bottleneck', ...settings }, hosts.post),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }

  it('[BTO-12] what comes out of a configuration goes in again', () => {
    for (const settings of [rich, { placement: 'adapterplus' }, { placement: 'parallel', parallelInput: 'normed' }]) {
      const { configuration } = parseAdapter({ method: 'bottleneck', ...settings }, hosts.pre);
      assert.deepEqual(parseAdapter(configuration, hosts.pre).configuration, configuration);
    }
  });
});
