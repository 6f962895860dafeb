import { strict as assert } from 'node:assert';
import { mul, sum, type Tensor, tensor, tensor2d } from '@tensorflow/tfjs-core';
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription, LinearTarget } from '../../../shared/model/base-model.ts';
import { bertLike, gpt2Like, unusedMap } from './bases.ts';
import {
  assertClose,
  assertGradients,
  evaluating,
  initialTensors,
  parameterCount,
  randomMatrix,
  randomTensors,
} from './checks.ts';

const names = ({ tensors }: BoundAdapter) => tensors.map(({ name }) => name);

describe('lora: layout', () => {
  it('[LOR-1] parameter counts are the published ones', () => {
    const count = (settings: object, base: BaseDescription) =>
      parameterCount(parseAdapter({ method: 'lora', ...settings }, base));
    assert.equal(count({}, bertLike()), 294_912);
    assert.equal(count({}, gpt2Like()), 294_912);
    assert.equal(count({ targets: ['q', 'v'] }, gpt2Like()), 294_912);
    // 8 (3 · 2 · 768 + 2 · 768 + 2 (768 + 3072)) per layer.
    assert.equal(count({ targets: 'all-linear' }, bertLike()), 12 * 8 * (4 * 2 * 768 + 2 * (768 + 3072)));
  });

  it('[LOR-2] A is [rank, in], B is [out, rank]; both are averaged and decay, and are one pair', () => {
    const adapter = parseAdapter({ method: 'lora', rank: 3, targets: ['down'], layers: [1] }, bertLike(2, 8, 16));
    const [name, averaged] = ['layers.1.down.lora', { aggregationClass: 'mean', decays: true }] as const;
    assert.deepEqual(adapter.tensors, [
      { name: `${name}.a`, shape: [3, 16], ...averaged, pair: { name, factor: 'a' } },
      { name: `${name}.b`, shape: [8, 3], ...averaged, pair: { name, factor: 'b' } },
    ]);
  });

  it('[LOR-3] all-linear takes a fused map once; targets come in one order whatever the plan says', () => {
    const targetsOf = (targets: unknown, base: BaseDescription) =>
      parseAdapter({ method: 'lora', targets }, base).configuration.targets;
    assert.deepEqual(targetsOf('all-linear', gpt2Like(1, 8)), ['qkv', 'o', 'up', 'down']);
    assert.deepEqual(targetsOf('all-linear', bertLike(1, 8, 16)), ['q', 'k', 'v', 'o', 'up', 'down']);
    assert.deepEqual(targetsOf(['v', 'q'], gpt2Like(1, 8)), ['q', 'v']);
    assert.deepEqual(targetsOf(undefined, gpt2Like(1, 8)), ['qkv']);
    assert.deepEqual(targetsOf(undefined, bertLike(1, 8, 16)), ['q', 'v']);
  });

  it('[LOR-4] the most exact pattern decides the rank', () => {
    const rankPattern = { q: 2, 'layers.1': 3, 'layers.1.v': 4 };
    const adapter = parseAdapter({ method: 'lora', rank: 5, rankPattern }, bertLike(2, 8, 16));
    const ranks = adapter.tensors.filter(({ name }) => name.endsWith('.a')).map(({ shape }) => shape[0]);
    assert.deepEqual(ranks, [2, 5, 3, 4]);
    assert.deepEqual(names(adapter).slice(0, 2), ['layers.0.q.lora.a', 'layers.0.q.lora.b']);
  });
});

describe('lora: computation', () => {
  before(() => useBackend('wasm'));

  const apply = (
    adapter: BoundAdapter,
    parameters: ReadonlyMap<string, Tensor>,
    target: LinearTarget = 'q',
    mode: { training: boolean; seed: number } = { training: false, seed: 1 },
  ) => {
    const input = tensor2d([1, 2, 3, -1, 0.5, 0], [2, 3]);
    const output = tensor2d([10, 20, 30, 40, 50, 60], [2, 3]);
    const hooks = adapter.hooks({ parameters, training: mode.training, random: seededRandom(mode.seed) });
    return hooks.linear!({ layerIndex: 0, target }, input, output, unusedMap);
  };
  const base = bertLike(1, 3, 6);
  const factors = () =>
    new Map<string, Tensor>([
      ['layers.0.q.lora.a', tensor([1, 0, -1, 0.5, 1, 0], [2, 3])],
      ['layers.0.q.lora.b', tensor([1, 0, 0, 2, -1, 1], [3, 2])],
    ]);
  // x = [1, 2, 3]: A x = [-2, 2.5], B A x = [-2, 5, 4.5]; x = [-1, .5, 0]: A x = [-1, 0], B A x = [-1, 0, 1].
  const low = [-2, 5, 4.5, -1, 0, 1];
  const frozen = [10, 20, 30, 40, 50, 60];
  const settings = { method: 'lora', targets: ['q'], rank: 2 };

  it('[LOR-5] adds alpha / rank B A x, rank-stabilised alpha / √rank; other maps are left alone', () => {
    const scales: readonly [object, number][] = [
      [{ alpha: 2 }, 1],
      [{ alpha: 6 }, 3],
      [{ alpha: 6, rankStabilised: true }, 6 / Math.SQRT2],
      [{ alpha: 2, alphaPattern: { 'layers.0.q': 8 } }, 4],
    ];
    for (const [more, scale] of scales) {
      const adapter = parseAdapter({ ...settings, ...more }, base);
      const expected = low.map((value, index) => frozen[index]! + scale * value);
      assertClose(apply(adapter, factors())!.dataSync(), expected, 1e-4);
      assert.equal(apply(adapter, factors(), 'v'), undefined);
    }
  });

  it('[LOR-6] nothing changes before training; A is uniform in ±1/√in', () => {
    const adapter = parseAdapter({ ...settings, rank: 64 }, base);
    const parameters = initialTensors(adapter);
    assert.deepEqual([...apply(adapter, parameters)!.dataSync()], frozen);
    const a = [...parameters.get('layers.0.q.lora.a')!.dataSync()];
    const largest = Math.max(...a.map(Math.abs));
    assert.ok(largest <= 1 / Math.sqrt(3) && largest > 0.9 / Math.sqrt(3));
  });

  it('[LOR-7] gradients equal finite differences, also when one input feeds several maps', () => {
    const wide = gpt2Like(1, 4);
    const adapter = parseAdapter({ method: 'lora', rank: 2, targets: 'all-linear' }, wide);
    const random = seededRandom(4);
    const input = randomMatrix(5, 4, random);
    const qkv = { output: randomMatrix(5, 12, random), probe: randomMatrix(5, 12, random) };
    const up = { output: randomMatrix(5, 16, random), probe: randomMatrix(5, 16, random) };
    const parameters = randomTensors(adapter);
    const used = new Map([...parameters].filter(([name]) => /\.(qkv|up)\./.test(name)));
    assertGradients(used, (tensors) => {
      const hooks = adapter.hooks(evaluating(tensors));
      const first = hooks.linear!({ layerIndex: 0, target: 'qkv' }, input, qkv.output, unusedMap)!;
      const second = hooks.linear!({ layerIndex: 0, target: 'up' }, input, up.output, unusedMap)!;
      return sum(mul(first, qkv.probe)).add(sum(mul(second, up.probe)));
    });
  });

  it('[LOR-8] dropout acts on the input of A in training only, the same with the same seed', () => {
    const adapter = parseAdapter({ ...settings, alpha: 2, dropout: 0.5 }, base);
    const plain = low.map((value, index) => frozen[index]! + value);
    assertClose(apply(adapter, factors(), 'q', { training: false, seed: 1 })!.dataSync(), plain, 1e-5);
    const run = (seed: number) => [...apply(adapter, factors(), 'q', { training: true, seed })!.dataSync()];
    assert.deepEqual(run(1), run(1));
    const several = new Set(Array.from({ length: 10 }, (_, seed) => run(seed).join()));
    assert.ok(several.size > 5, 'seeds give different masks');
    // Inverted dropout keeps the mean.
    const count = 4000;
    const mean = new Float64Array(6);
    for (let seed = 0; seed < count; seed++)
      for (const [index, value] of run(seed).entries()) mean[index]! += value / count;
    assertClose(mean, plain, 0.4);
  });

  it('[LOR-9] gradients stop below the lowest layer with an adapter', () => {
    const adapter = parseAdapter({ method: 'lora', layers: [2, 5] }, bertLike());
    assert.equal(adapter.hooks(evaluating(new Map())).lowestLayerIndex, 2);
  });
});

describe('lora: configuration', () => {
  const parse = (settings: object, base = bertLike(2, 32, 64)) =>
    parseAdapter({ method: 'lora', ...settings }, base).configuration;

  it('[LOR-10] defaults are filled in, and what comes out goes in again', () => {
    assert.deepEqual(parse({}), {
      method: 'lora',
      targets: ['q', 'v'],
      rank: 8,
      alpha: 16,
      rankPattern: {},
      alphaPattern: {},
      rankStabilised: false,
      dropout: 0,
      layers: [0, 1],
    });
    for (const settings of [{}, { targets: 'all-linear', leaveOut: [0] }, { rankPattern: { v: 2 } }]) {
      const once = parse(settings);
      assert.deepEqual(parse(once), once);
    }
  });

  const faults: readonly [string, object, RegExp][] = [
    ['an unknown field', { r: 4 }, /r is not a known field.*\(known here: targets, rank, alpha/],
    ['a rank', { rank: 0 }, /rank must be a whole number from 1 to 65536, found 0/],
    ['an alpha', { alpha: 0 }, /alpha must be a number above 0, found 0/],
    [
      'a target',
      { targets: ['query'] },
      /targets\[0\] must be one of q, k, v, o, up, down on this bert, found "query"/,
    ],
    [
      'a target of other bases',
      { targets: ['q', 'qkv'] },
      /targets\[1\] must be one of q, k, v, o, up, down on this bert, found "qkv"/,
    ],
    ['targets', { targets: 'all' }, /targets must be all-linear, or a list of linear maps of the base, found "all"/],
    ['no target', { targets: [] }, /targets must be all-linear, or of q, .*, found an empty list/],
    [
      'a pattern',
      { rankPattern: { 'layers.9.q': 3 } },
      /rankPattern\.layers\.9\.q must name chosen maps, such as layers\.0\.q/,
    ],
    ['a pattern value', { alphaPattern: { q: 'x' } }, /alphaPattern\.q must be a number above 0, found "x"/],
    ['a switch', { rankStabilised: 'yes' }, /rankStabilised must be true or false, found "yes"/],
    ['dropout', { dropout: 1.5 }, /dropout must be a number at least 0 and below 1, found 1.5/],
    ['a layer', { leaveOut: [2] }, /leaveOut\[0\] must be at most 1, the last layer of this bert, found 2/],
  ];
  for (const [what, settings, message] of faults) {
    it(`[LOR-11] a fault (${what}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parse(settings),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }

  it('[LOR-12] a fused map and its parts exclude each other', () => {
    assert.throws(() => parse({ targets: ['qkv', 'v'] }, gpt2Like(1, 8)), /either qkv or its parts q, k, v/);
  });
});
