import { strict as assert } from 'node:assert';
import {
  add,
  grads,
  matMul,
  mul,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription, FrozenMap, LinearTarget } from '../../../shared/model/base-model.ts';
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
import { flipped, plus, rowsOf, scaled, times } from './numbers.ts';

const base = bertLike(2, 6, 10);

/** One frozen map with its input and output. */
function mapOf(target: LinearTarget, on: BaseDescription = base) {
  const { inSize, outSize } = on.linearTargets[target]!;
  const random = seededRandom(5, target);
  const kernel = randomMatrix(inSize, outSize, random);
  const bias = tensor(randomMatrix(1, outSize, random).dataSync()) as Tensor1D;
  const input = randomMatrix(4, inSize, random);
  const apply = (rows: Tensor2D): Tensor2D => add(matMul(rows, kernel), bias);
  const map: FrozenMap = { apply, kernel: () => kernel, bias: () => bias };
  return {
    map,
    input,
    output: apply(input),
    values: { kernel: kernel.dataSync() as Float32Array, bias: bias.dataSync() as Float32Array },
  };
}

function run(
  adapter: BoundAdapter,
  parameters: ReadonlyMap<string, Tensor>,
  target: LinearTarget,
): Tensor2D | undefined {
  const { map, input, output } = mapOf(target);
  return adapter.hooks(evaluating(parameters)).linear!({ layerIndex: 1, target }, input, output, map);
}

function numbersOf(parameters: ReadonlyMap<string, Tensor>): Map<string, Float32Array> {
  return new Map([...parameters].map(([name, values]) => [name, values.dataSync() as Float32Array]));
}

function gradientsOf(
  parameters: ReadonlyMap<string, Tensor>,
  scalarOf: (parameters: ReadonlyMap<string, Tensor>) => Tensor,
): Map<string, Float32Array> {
  const names = [...parameters.keys()];
  const gradients = grads((...tensors: Tensor[]) =>
    scalarOf(new Map(names.map((name, index) => [name, tensors[index]!]))).asScalar(),
  )([...parameters.values()]);
  return new Map(names.map((name, index) => [name, gradients[index]!.dataSync() as Float32Array]));
}

const methods: readonly (readonly [string, { method: string; [setting: string]: unknown }, LinearTarget])[] = [
  ['lora', { method: 'lora', rank: 3, targets: ['up'] }, 'up'],
  ['rank-stabilised lora', { method: 'lora', rank: 3, targets: ['up'], rankStabilised: true }, 'up'],
  ['dora', { method: 'dora', rank: 3, targets: ['down'], alpha: 5 }, 'down'],
  ['vera', { method: 'vera', rank: 4, targets: ['q', 'up'] }, 'up'],
  ['stored vera', { method: 'vera', rank: 4, targets: ['down', 'v'], projections: 'stored' }, 'v'],
  ['(IA)³ on an output', { method: 'ia3' }, 'k'],
  ['(IA)³ on an input', { method: 'ia3' }, 'down'],
  ['bias', { method: 'bias' }, 'o'],
];

describe('adapters of linear maps', () => {
  before(() => useBackend('wasm'));

  for (const [name, own, target] of methods) {
    const settings = { ...own, layers: [1] };
    it(`[LME-1] ${name}: nothing changes before training`, () => {
      const adapter = parseAdapter(settings, base);
      const found = run(adapter, initialTensors(adapter), target)!;
      assert.deepEqual(found.dataSync(), mapOf(target).output.dataSync());
    });

    it(`[LME-2] ${name}: gradients equal finite differences`, () => {
      const adapter = parseAdapter(settings, base);
      const isUsed = (part: string) => part.startsWith(`layers.1.${target}.`) && !part.startsWith('vera.');
      const all = randomTensors(adapter);
      const trained = new Map([...all].filter(([part]) => isUsed(part)));
      const probe = randomMatrix(4, base.linearTargets[target]!.outSize, seededRandom(7));
      // The norm of DoRA counts as a constant: its factors are held against differences in DOR-2.
      if (settings.method === 'dora') for (const part of ['a', 'b']) trained.delete(`layers.1.${target}.lora.${part}`);
      assert.ok(trained.size > 0);
      assertGradients(trained, (tensors) => sum(mul(probe, run(adapter, new Map([...all, ...tensors]), target)!)));
    });

    it(`[LME-3] ${name}: the merged map gives what the adapter gives, and takes it out again`, () => {
      const adapter = parseAdapter(settings, base);
      const parameters = randomTensors(adapter);
      const site = { layerIndex: 1, target };
      const { input, values } = mapOf(target);
      const merged = adapter.merge!(site, values, numbersOf(parameters))!;
      const { inSize, outSize } = base.linearTargets[target]!;
      const expected = plus(times(rowsOf(input.dataSync(), inSize), rowsOf(merged.kernel, outSize)), [...merged.bias!]);
      assertClose(run(adapter, parameters, target)!.dataSync(), expected.flat(), 1e-4);
      assert.equal(adapter.merge!({ layerIndex: 0, target }, values, numbersOf(parameters)), undefined);
      if (settings.method === 'dora') return assert.equal(adapter.unmerge, undefined);
      const back = adapter.unmerge!(site, merged, numbersOf(parameters))!;
      for (const part of ['kernel', 'bias'] as const) {
        const before = values[part];
        // Both were rounded to float32 once: the error is within a unit in the last place of the larger.
        for (const [index, value] of back[part]!.entries()) {
          const size = Math.max(Math.abs(before[index]!), Math.abs(merged[part]![index]!));
          assert.ok(
            Math.abs(value - before[index]!) <= 2 ** -22 * size,
            `${part}[${index}]: ${value} is not ${before[index]}`,
          );
        }
      }
    });
  }

  it('[LME-4] parameter counts on the published bases are the published ones', () => {
    const count = (settings: { method: string; [setting: string]: unknown }, on = bertLike()) =>
      parameterCount(parseAdapter(settings, on));
    assert.equal(count({ method: 'dora' }), 294_912 + 24 * 768);
    assert.equal(count({ method: 'vera' }), 24 * (256 + 768));
    assert.equal(count({ method: 'ia3' }), 55_296);
    assert.equal(count({ method: 'ia3', variant: 'adapterhub' }), 55_296);
    assert.equal(count({ method: 'ia3', inputs: ['o', 'down'] }), 64_512);
    assert.equal(count({ method: 'bias' }), 12 * (5 * 768 + 3072));
  });
});

describe('dora', () => {
  before(() => useBackend('wasm'));

  it('[DOR-1] gives the golden vector', () => {
    const small = bertLike(1, 2, 4);
    const adapter = parseAdapter({ method: 'dora', rank: 1, alpha: 2, targets: ['q'] }, small);
    const parameters = new Map([
      ['layers.0.q.lora.a', Float32Array.of(0.5, -0.5)],
      ['layers.0.q.lora.b', Float32Array.of(1, 2)],
      ['layers.0.q.lora.magnitude', Float32Array.of(0, 0)],
    ]);
    const kernel = Float32Array.of(3, 1, 4, 0);
    const merged = adapter.merge!({ layerIndex: 0, target: 'q' }, { kernel, bias: null }, parameters)!;
    assertClose(merged.kernel, [4, 0.83205, 3, -0.5547], 1e-6);
    const frozen: FrozenMap = { apply: (rows) => rows, kernel: () => tensor2d(kernel, [2, 2]), bias: () => null };
    const unit = tensor2d([1, 0, 0, 1], [2, 2]);
    const tensors = new Map(
      [...parameters].map(([name, values]) => {
        const { shape } = adapter.tensors.find((one) => one.name === name)!;
        return [name, tensor(values, [...shape])];
      }),
    );
    const hooks = adapter.hooks(evaluating(tensors));
    const found = hooks.linear!({ layerIndex: 0, target: 'q' }, unit, matMul(unit, frozen.kernel()), frozen)!;
    assertClose(found.dataSync(), [4, 0.83205, 3, -0.5547], 1e-6);
  });

  it('[DOR-2] the norm counts as a constant for the gradient of the factors', () => {
    const adapter = parseAdapter({ method: 'dora', rank: 2, targets: ['q'] }, base);
    const all = randomTensors(adapter);
    const name = 'layers.1.q.lora';
    const { input, map, values } = mapOf('q');
    const numbers = (part: string, columns: number) => rowsOf(all.get(`${name}.${part}`)!.dataSync(), columns);
    const w = rowsOf(values.kernel, 6);
    const change = scaled(times(flipped(numbers('a', 6)), flipped(numbers('b', 2))), 8);
    const columnNorms = (rows: number[][]) => flipped(rows).map((column) => Math.hypot(...column));
    const norms = columnNorms(plus(w, change));
    const ratio = columnNorms(w).map(
      (own, output) => (own + all.get(`${name}.magnitude`)!.dataSync()[output]!) / norms[output]!,
    );
    // With constant ratios the branch is linear in each factor: y = ... + ratio ∘ s B A x.
    const probe = randomMatrix(4, 6, seededRandom(7));
    const factors = new Map([...all].filter(([part]) => part === `${name}.a` || part === `${name}.b`));
    const rest = new Map([...all].filter(([part]) => !factors.has(part)));
    const held = (tensors: ReadonlyMap<string, Tensor>): Tensor => {
      const [a, b] = [tensors.get(`${name}.a`) as Tensor2D, tensors.get(`${name}.b`) as Tensor2D];
      const low = mul(matMul(matMul(input, a.transpose()), b.transpose()), 8);
      return sum(mul(probe, mul(low, tensor(ratio))));
    };
    const output = map.apply(input);
    const site = { layerIndex: 1, target: 'q' } as const;
    const ours = (tensors: ReadonlyMap<string, Tensor>): Tensor =>
      sum(mul(probe, adapter.hooks(evaluating(new Map([...rest, ...tensors]))).linear!(site, input, output, map)!));
    const found = gradientsOf(factors, ours);
    const expected = gradientsOf(factors, held);
    for (const part of factors.keys()) assertClose(found.get(part)!, [...expected.get(part)!], 1e-3);
  });
});

describe('vera', () => {
  before(() => useBackend('wasm'));

  it('[LMV-1] equals λ_b ∘ B (λ_d ∘ A x) in float64, with projections from the seed or stored', () => {
    for (const projections of ['seed', 'stored']) {
      const adapter = parseAdapter(
        { method: 'vera', rank: 4, targets: ['q', 'up', 'down'], projections, projectionSeed: 3 },
        base,
      );
      const stored = parseAdapter({ ...adapter.configuration, projections: 'stored' }, base);
      const initial = initialTensors(stored);
      const all = new Map([
        ...randomTensors(adapter),
        ...['vera.a', 'vera.b'].map((name) => [name, initial.get(name)!] as const),
      ]);
      const { input, output } = mapOf('q');
      const numbers = (name: string, columns: number) => rowsOf(all.get(name)!.dataSync(), columns);
      // A has the width of the widest input, B the height of the widest output, both 10; the map is 6 by 6.
      const [a, b] = [numbers('vera.a', 10).map((row) => row.slice(0, 6)), numbers('vera.b', 4).slice(0, 6)];
      const inner = scaled(times(rowsOf(input.dataSync(), 6), flipped(a)), numbers('layers.1.q.vera.d', 4)[0]!);
      const expected = plus(
        rowsOf(output.dataSync(), 6),
        scaled(times(inner, flipped(b)), numbers('layers.1.q.vera.b', 6)[0]!),
      );
      assertClose(run(adapter, all, 'q')!.dataSync(), expected.flat(), 1e-4);
    }
  });

  it('[LMV-2] seeded projections do not travel; stored ones are frozen, start as those, and are spread as PEFT has them', () => {
    const settings = { method: 'vera', rank: 64, targets: ['q', 'up'] };
    const wide = bertLike(1, 64, 128);
    assert.deepEqual(
      parseAdapter(settings, wide).tensors.map(({ name, shape }) => [name, shape]),
      [
        ['layers.0.q.vera.d', [64]],
        ['layers.0.q.vera.b', [64]],
        ['layers.0.up.vera.d', [64]],
        ['layers.0.up.vera.b', [128]],
      ],
    );
    const stored = parseAdapter({ ...settings, projections: 'stored' }, wide);
    assert.deepEqual(
      stored.tensors.slice(0, 2).map(({ name, shape, aggregationClass }) => [name, shape, aggregationClass]),
      [
        ['vera.a', [64, 64], 'frozen'],
        ['vera.b', [128, 64], 'frozen'],
      ],
    );
    const alone = parseAdapter({ ...settings, trains: 'b' }, wide).tensors.map(
      ({ aggregationClass }) => aggregationClass,
    );
    assert.deepEqual(alone, ['frozen', 'mean', 'frozen', 'mean']);
    const values = [...initialTensors(stored).get('vera.a')!.dataSync()];
    const bound = Math.sqrt(6 / 64);
    assert.ok(values.every((value) => Math.abs(value) <= bound));
    assertClose(
      [Math.sqrt(values.reduce((total, value) => total + value ** 2, 0) / values.length)],
      [bound / Math.sqrt(3)],
      0.01,
    );
  });
});

describe('vera: configuration', () => {
  for (const [settings, message] of [
    [{ rank: 5000 }, /rank must be a whole number from 1 to 4096, found 5000/],
    [{ projections: 'saved' }, /projections must be one of seed, stored, found "saved"/],
    [{ trains: 'd' }, /trains must be one of both, b .*found "d"/],
  ] as const) {
    it(`[LMV-3] a fault (${JSON.stringify(settings)}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parseAdapter({ method: 'vera', ...settings }, base),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});

describe('(IA)³', () => {
  before(() => useBackend('wasm'));

  it('[IA3-1] the variants scale what the published ones scale', () => {
    const scaledMaps = (settings: object, on: BaseDescription) =>
      parseAdapter({ method: 'ia3', ...settings }, on).tensors.map(
        ({ name, shape }) => `${name.split('.')[2]} ${shape[0]}`,
      );
    assert.deepEqual(scaledMaps({}, bertLike(1, 6, 10)), ['k 6', 'v 6', 'down 10']);
    assert.deepEqual(scaledMaps({ variant: 'adapterhub' }, bertLike(1, 6, 10)), ['k 6', 'v 6', 'up 10']);
    assert.deepEqual(scaledMaps({ outputs: ['qkv'], inputs: ['down'] }, gpt2Like(1, 6)), ['qkv 18', 'down 24']);
  });

  it('[IA3-2] a scale of zero cannot be taken out again', () => {
    const adapter = parseAdapter({ method: 'ia3', outputs: ['k'], inputs: [] }, base);
    const parameters = new Map([['layers.1.k.ia3.scale', Float32Array.of(1, 0, 1, 1, 1, 1)]]);
    assert.throws(
      () => adapter.unmerge!({ layerIndex: 1, target: 'k' }, mapOf('k').values, parameters),
      (error) =>
        error instanceof UsageError &&
        error.code === 'cannot-unmerge' &&
        /layers\.1\.k\.ia3\.scale/.test(error.message),
    );
  });

  const faults: readonly [object, BaseDescription, RegExp][] = [
    [{ outputs: ['key'] }, base, /outputs\[0\] must be one of q, k, v, o, up, down .*on this bert, found "key"/],
    [{ outputs: ['k'], inputs: ['k'] }, base, /inputs must not name a map that outputs names, found "k"/],
    [{ inputs: ['q'] }, gpt2Like(1, 8), /inputs must name qkv on a base that fuses it, found "q"/],
    [{ outputs: [], inputs: [] }, base, /outputs must name a linear map where inputs names none/],
    [{ variant: 'pefft' }, base, /variant must be one of peft, adapterhub \(did you mean peft\?\), found "pefft"/],
  ];
  for (const [settings, on, message] of faults) {
    it(`[IA3-3] a fault (${JSON.stringify(settings)}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parseAdapter({ method: 'ia3', ...settings }, on),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});

describe('bias', () => {
  it('[BIA-1] a base without biases cannot hold it merged', () => {
    const adapter = parseAdapter({ method: 'bias', targets: ['k'] }, base);
    const parameters = new Map([['layers.1.k.bias', new Float32Array(6)]]);
    assert.throws(
      () => adapter.merge!({ layerIndex: 1, target: 'k' }, { kernel: new Float32Array(36), bias: null }, parameters),
      (error) => error instanceof UsageError && error.code === 'not-mergeable',
    );
  });
});
