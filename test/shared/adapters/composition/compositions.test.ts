import { strict as assert } from 'node:assert';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { add, mul, slice, sub, sum, type Tensor, type Tensor3D, tensor, tensor3d } from '@tensorflow/tfjs-core';
import { stackHooks } from '../../../../shared/adapters/composition/stack.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { UsageError } from '../../../../shared/core/errors.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { FrozenMap } from '../../../../shared/model/base-model.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import { readPlan } from '../../../../shared/plan/read-plan.node.ts';
import { bertLike } from '../bases.ts';
import { assertClose, assertGradients, evaluating, initialTensors, randomMatrix, randomTensors } from '../checks.ts';
import { hostResult, randomStates, type SublayerStates, tensorsOf } from '../sublayer-host.ts';

const base = bertLike(2, 6, 12);
const bottleneck = (id: string, further: object = {}) => ({
  id,
  method: 'bottleneck',
  size: 3,
  layers: [0],
  ...further,
});
const pair = [bottleneck('a'), bottleneck('b', { size: 2 })];
const zero = { layerIndex: 0, sublayer: 'feedForward' } as const;

function valuesOf(found: Tensor): Float32Array {
  return found.dataSync() as Float32Array;
}

describe('stack', () => {
  before(() => useBackend('wasm'));

  it('[CPN-1] two identical adapters give the golden vector', () => {
    const site = 'layers.0.feedForward.bottleneck';
    const golden = (id: string): [string, Tensor][] => [
      [`${id}.${site}.down.kernel`, tensor([1, 0, 0, 1, -1, 0, 0, 1], [4, 2])],
      [`${id}.${site}.down.bias`, tensor([0.1, -0.2])],
      [`${id}.${site}.up.kernel`, tensor([0.5, 0, 1, 0, 0, -0.5, 1, 0.25], [2, 4])],
      [`${id}.${site}.up.bias`, tensor([0, 0.1, 0, 0])],
    ];
    const host = bertLike(1, 4, 8);
    const members = ['a', 'b'].map((id) => ({ id, method: 'bottleneck', size: 2, activation: 'relu' }));
    const stack = parseAdapter({ method: 'stack', members }, host);
    const states = { residual: tensor3d([[[1, 2, 0, -1]]]), output: tensor3d([[[0.5, -1, 0, 1]]]) };
    const found = hostResult(stack, evaluating(new Map([...golden('a'), ...golden('b')])), host, states);
    assertClose(valuesOf(found), [0.97994, -0.433178, 0.889073, -1.435835], 2e-6);
  });

  it('[CPN-2] LoRA after LoRA adds both changes to a map; a later one that runs the map sees the earlier', () => {
    const members = ['a', 'b'].map((id) => ({ id, method: 'lora', targets: ['q'], rank: 2, layers: [0] }));
    const stack = parseAdapter({ method: 'stack', members }, base);
    const parameters = randomTensors(stack);
    const input = randomMatrix(5, 6, seededRandom(4));
    const output = randomMatrix(5, 6, seededRandom(5));
    const map: FrozenMap = { apply: (other) => other, kernel: () => input, bias: () => null };
    const linearOf = (adapter: ReturnType<typeof parseAdapter>, named: ReadonlyMap<string, Tensor>) =>
      adapter.hooks(evaluating(named)).linear!({ layerIndex: 0, target: 'q' }, input, output, map)!;
    const change = (id: string) => {
      const { id: _id, ...settings } = members.find((member) => member.id === id)!;
      return sub(linearOf(parseAdapter(settings, base), tensorsOf(id, parameters)), output);
    };
    const expected = add(output, add(change('a'), change('b')));
    assertClose(valuesOf(linearOf(stack, parameters)), [...valuesOf(expected)], 1e-5);
  });

  it('[CPN-18] a later member that runs the map on another input sees what earlier ones added to it', () => {
    const input = randomMatrix(2, 3, seededRandom(4));
    const map: FrozenMap = { apply: (other) => mul(other, 10), kernel: () => input, bias: () => null };
    const hooks = stackHooks([
      { linear: (_, __, output) => add(output, 7) },
      { linear: (_, given, ___, seen) => seen.apply(mul(given, 2)) },
    ]);
    const found = hooks.linear!({ layerIndex: 0, target: 'q' }, input, map.apply(input), map)!;
    assertClose(valuesOf(found), [...valuesOf(add(mul(input, 20), 7))], 1e-5);
  });

  it('[CPN-19] a frozen member neither drops out nor adds losses', () => {
    const members = [
      bottleneck('a', { dropout: 0.5, frozen: true }),
      { id: 'm', method: 'mixture', size: 2, layers: [0], jitter: 0.5, frozen: true },
    ];
    const stack = parseAdapter({ method: 'stack', members }, base);
    const parameters = randomTensors(stack);
    const states = randomStates([2, 3, 6]);
    const addLoss = () => assert.fail('a frozen member has no loss');
    const training = { parameters, training: true, random: seededRandom(1), addLoss };
    const expected = hostResult(stack, evaluating(parameters), base, states);
    assert.deepEqual(valuesOf(hostResult(stack, training, base, states)), valuesOf(expected));
  });

  it('[CPN-3] at its start a stack changes nothing, and its gradients equal finite differences', () => {
    const stack = parseAdapter({ method: 'stack', members: pair }, base);
    const states = randomStates([2, 3, 6]);
    const plain = hostResult(parseAdapter({ method: 'none' }, base), evaluating(new Map()), base, states);
    const start = hostResult(stack, evaluating(initialTensors(stack)), base, states);
    assert.deepEqual(valuesOf(start), valuesOf(plain));
    const probe = randomStates([2, 3, 6], 9).output;
    assertGradients(randomTensors(stack), (parameters) =>
      sum(mul(hostResult(stack, evaluating(parameters), base, states), probe)),
    );
  });

  it('[CPN-16] states in front of the first layer pass members in order, those in front of the head in reverse; prefixes join', () => {
    const hooks = stackHooks(
      [2, 3].map((factor) => ({
        embedding: (states, mask) => ({ states: states.mul(factor).add(1) as Tensor3D, mask }),
        output: (hidden) => hidden.sub(1).div(factor) as Tensor3D,
        keysAndValues: () => {
          const part = tensor3d([[[factor]]]);
          return { keys: part, values: part };
        },
        weight: (_, frozen) => frozen.mul(factor),
        positionStart: factor,
      })),
    );
    const states = tensor3d([[[1, 5]]]);
    const changed = hooks.embedding!(states, tensor([1], [1, 1], 'int32') as never)!.states;
    assertClose(valuesOf(changed), [10, 34], 1e-6);
    assertClose(valuesOf(hooks.output!(changed)), [1, 5], 1e-6);
    assert.deepEqual(valuesOf(hooks.keysAndValues!({ layerIndex: 0 }, 1)!.keys), Float32Array.of(2, 3));
    assertClose(valuesOf(hooks.weight!('w', tensor([1]))!), [6], 1e-6);
    assert.equal(hooks.positionStart, 5);
  });

  it('[CPN-4] what acts after the norm can only come last', () => {
    const plus = { ...bottleneck('plus'), placement: 'adapterplus' };
    const last = parseAdapter({ method: 'stack', members: [bottleneck('a'), plus] }, base);
    assert.equal(last.hooks(evaluating(new Map())).change, undefined);
    assert.throws(
      () => parseAdapter({ method: 'stack', members: [plus, bottleneck('a')] }, base),
      /adapter stack: members\[0\] must be the last that acts at the ends of sublayers, since bottleneck/,
    );
  });
});

describe('average', () => {
  let states: SublayerStates;
  before(async () => {
    await useBackend('wasm');
    states = randomStates([2, 3, 6]);
  });

  it('[CPN-5] is the weighted mean of changes, with weights that sum to 1', () => {
    const average = parseAdapter({ method: 'average', members: pair, weights: [3, 1] }, base);
    const parameters = randomTensors(average);
    const changeOf = (adapter: ReturnType<typeof parseAdapter>, named: ReadonlyMap<string, Tensor>) =>
      adapter.hooks(evaluating(named)).change!(zero, states.output, states.residual, undefined)!;
    const [a, b] = pair.map(({ id, ...settings }) =>
      changeOf(parseAdapter(settings as never, base), tensorsOf(id, parameters)),
    ) as [Tensor3D, Tensor3D];
    const expected = add(mul(a, 0.75), mul(b, 0.25));
    assertClose(valuesOf(changeOf(average, parameters)), [...valuesOf(expected)], 1e-6);
    const sums = parseAdapter({ method: 'average', members: pair, weights: [3, 1], normalise: false }, base);
    assertClose(valuesOf(changeOf(sums, parameters)), [...valuesOf(mul(expected, 4))], 1e-5);
  });

  it('[CPN-6] learned weights start at the given ones; personal ones never leave the client', () => {
    const settings = { method: 'average', members: pair, weights: [3, 1] };
    const fixed = parseAdapter(settings, base);
    const learned = parseAdapter({ ...settings, learning: 'shared' }, base);
    const parameters = randomTensors(fixed);
    const logits = initialTensors(learned).get('average.logits')!;
    const all = new Map([...parameters, ['average.logits', logits]]);
    const expected = hostResult(fixed, evaluating(parameters), base, states);
    assertClose(valuesOf(hostResult(learned, evaluating(all), base, states)), [...valuesOf(expected)], 1e-5);
    assertGradients(all, (moved) => sum(mul(hostResult(learned, evaluating(moved), base, states), states.residual)));
    const personal = parseAdapter({ ...settings, learning: 'personal' }, base);
    assert.equal(personal.tensors.at(-1)!.aggregationClass, 'local');
    assert.equal(learned.tensors.at(-1)!.aggregationClass, 'mean');
  });
});

describe('split', () => {
  before(() => useBackend('wasm'));

  it('[CPN-7] every token passes its own member, whatever the length of the text', () => {
    const split = parseAdapter({ method: 'split', members: pair, at: [2] }, base);
    const parameters = randomTensors(split);
    for (const length of [1, 2, 5]) {
      const states = randomStates([2, length, 6]);
      const found = hostResult(split, evaluating(parameters), base, states);
      const alone = pair.map(({ id, ...settings }) =>
        hostResult(parseAdapter(settings as never, base), evaluating(tensorsOf(id, parameters)), base, states),
      );
      for (let position = 0; position < length; position++) {
        const at = (result: Tensor3D) => [...valuesOf(slice(result, [0, position, 0], [2, 1, 6]))];
        assertClose(at(found), at(alone[position < 2 ? 0 : 1]!), 1e-6);
      }
    }
  });
});

describe('compositions', () => {
  it('[CPN-15] a stack of LoRA adapters merges into a map as its members do one after the other, and out again', () => {
    const members = ['a', 'b'].map((id) => ({ id, method: 'lora', targets: ['q'], rank: 2, layers: [0] }));
    const stack = parseAdapter({ method: 'stack', members }, base);
    const random = seededRandom(8);
    const normal = (size: number) => Float32Array.from({ length: size }, () => random.normal());
    const values = new Map(stack.tensors.map(({ name, shape }) => [name, normal(shape[0]! * shape[1]!)]));
    const map = { kernel: normal(36), bias: null };
    const site = { layerIndex: 0, target: 'q' } as const;
    const inOrder = members.reduce(
      (current, { id, ...settings }) => {
        const own = [...values].filter(([name]) => name.startsWith(`${id}.`));
        const named = new Map(own.map(([name, value]) => [name.slice(id.length + 1), value]));
        return parseAdapter(settings, base).merge!(site, current, named)!;
      },
      map as { kernel: Float32Array; bias: Float32Array | null },
    );
    const merged = stack.merge!(site, map, values)!;
    assert.deepEqual(merged.kernel, inOrder.kernel);
    assertClose(stack.unmerge!(site, merged, values)!.kernel, [...map.kernel], 1e-5);
    const mixed = [members[0]!, { id: 'c', method: 'bottleneck' }];
    assert.equal(parseAdapter({ method: 'stack', members: mixed }, base).merge, undefined);
  });

  it('[CPN-12] tensors carry the id of their member, and so does what they refer to; frozen ones are of the class frozen', () => {
    const learned = { scaling: 'learned' };
    const members = [bottleneck('a', learned), bottleneck('b', { ...learned, frozen: true })];
    const { tensors } = parseAdapter({ method: 'stack', members }, base);
    const scale = (id: string) => tensors.find(({ name }) => name === `${id}.layers.0.feedForward.bottleneck.scale`)!;
    assert.deepEqual(
      scale('a').foldInto,
      ['up.kernel', 'up.bias'].map((part) => `a.layers.0.feedForward.bottleneck.${part}`),
    );
    assert.equal(scale('b').foldInto, undefined);
    assert.ok(tensors.every(({ name, aggregationClass }) => name.startsWith('b.') === (aggregationClass === 'frozen')));
    const { tensors: factors } = parseAdapter({ method: 'stack', members: [{ id: 'a', method: 'lora' }] }, base);
    assert.ok(factors.every(({ pair: factor }) => factor === undefined || factor.name.startsWith('a.')));
  });

  it('[CPN-13] nest, and what comes out as configuration goes in again', () => {
    const inner = { id: 'inner', method: 'stack', members: pair };
    for (const configuration of [
      { method: 'fuse', members: [inner, bottleneck('c')] },
      {
        method: 'stack',
        members: [
          { ...inner, frozen: true },
          { id: 'later', method: 'average', members: pair },
        ],
      },
      { method: 'batch-split', members: [inner, { id: 'low', method: 'lora' }], sizes: [1, 2] },
    ] satisfies Plan['adapter'][]) {
      const once = parseAdapter(configuration, base);
      const twice = parseAdapter(once.configuration, base);
      assert.deepEqual(twice.configuration, once.configuration);
      assert.deepEqual(twice.tensors, once.tensors);
      assert.equal(new Set(once.tensors.map(({ name }) => name)).size, once.tensors.length);
      for (const tensor_ of once.tensors) {
        const size = tensor_.shape.reduce((product, extent) => product * extent, 1);
        assert.equal(once.initialise(tensor_, seededRandom(1)).length, size);
      }
    }
  });

  const faults: readonly [string, Plan['adapter'], RegExp][] = [
    ['no members', { method: 'stack' }, /members must be a list of 1 to 64 members, .*found nothing/],
    ['an id', { method: 'stack', members: [bottleneck('a.b')] }, /members\[0\]\.id must be a name of letters/],
    ['a reserved id', { method: 'stack', members: [bottleneck('layers')] }, /members\[0\]\.id must be a name/],
    ['an id twice', { method: 'stack', members: [bottleneck('a'), bottleneck('a')] }, /members\[1\]\.id must differ/],
    [
      'a setting of a member',
      { method: 'stack', members: [bottleneck('a', { activation: 'rely' })] },
      /adapter stack: members\[0\]: adapter bottleneck: activation must be one of relu, .*did you mean relu/,
    ],
    [
      'a method',
      { method: 'stack', members: [{ id: 'a', method: 'lorra' }] },
      /members\[0\]: adapter: method must be one of/,
    ],
    [
      'weights',
      { method: 'average', members: pair, weights: [1] },
      /weights must be a list of one number of at least 0 for each/,
    ],
    [
      'weights that are learned as they are',
      { method: 'average', members: pair, normalise: false, learning: 'shared' },
      /normalise must be true where weights are learned/,
    ],
    [
      'sizes',
      { method: 'batch-split', members: pair, sizes: [1] },
      /sizes must be a list of one number of rows for each/,
    ],
    ['positions', { method: 'split', members: pair, at: [3, 2] }, /at must be a rising list of positions/],
    [
      'a member that acts elsewhere',
      { method: 'fuse', members: [bottleneck('a'), { id: 'b', method: 'lora' }] },
      /members\[1\]\.method must act on what a sublayer puts out, before the norm to stand in fuse; lora/,
    ],
    ['a temperature', { method: 'fuse', members: pair, temperature: 0 }, /temperature must be a number above 0/],
  ];
  for (const [what, configuration, message] of faults) {
    it(`[CPN-14] a fault (${what}) is named with what is allowed`, () => {
      assert.throws(
        () => parseAdapter(configuration, base),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});

describe('example plans', () => {
  const folder = new URL('../../../../shared/plan/examples/', import.meta.url).pathname;
  for (const name of readdirSync(folder)) {
    it(`[CPN-17] the adapter of ${name} binds to a base, and to what its defaults say again`, async () => {
      const { adapter } = await readPlan(join(folder, name));
      const { configuration } = parseAdapter(adapter, bertLike());
      assert.deepEqual(parseAdapter(configuration, bertLike()).configuration, configuration);
    });
  }
});
