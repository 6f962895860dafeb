import { strict as assert } from 'node:assert';
import { add, grads, mul, sum, type Tensor, tensor, zerosLike } from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../../../shared/adapters/method.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { bertLike } from './bases.ts';
import { assertClose, assertGradients, evaluating, initialTensors, parameterCount, randomTensors } from './checks.ts';
import { hostResult, randomStates } from './sublayer-host.ts';

const base = bertLike(2, 8, 16);
const small = { embeddingSize: 3, projectionHidden: 4, projectionSize: 3, reductionFactor: 4 };
const bind = (settings: object = {}) => parseAdapter({ method: 'hyperformer', ...small, ...settings }, base);
const at = { layerIndex: 1, sublayer: 'feedForward' } as const;
const two = { tasks: ['qa', 'nli'] };

describe('hyperformer', () => {
  before(() => useBackend('wasm'));

  /** What it adds to h. */
  function changeOf(adapter: ReturnType<typeof bind>, context: AdapterContext, states = randomStates([2, 3, 8])) {
    return [...adapter.hooks(context).change!(at, states.output, states.residual, undefined)!.dataSync()];
  }

  it('[HYF-1] has the published parameter counts: (e + 1) b d for each generated matrix', () => {
    const { tensors } = parseAdapter({ method: 'hyperformer' }, bertLike(12, 768));
    const of = (name: string) => parameterCount({ tensors: tensors.filter((tensor_) => tensor_.name.includes(name)) });
    assert.equal(of('.generator.down.'), 1_198_080);
    assert.equal(of('.generator.up.'), 1_198_080);
    assert.equal(of('.generator.gain.') + of('.generator.bias.'), 2 * 65 * 768);
    assert.equal(of('.source.first.') + of('.source.second.'), 193 * 128 + 129 * 64);
    const each = parseAdapter({ method: 'hyperformer', generators: 'perSublayer' }, bertLike(12, 768));
    assert.ok(parameterCount(each) > 1.9 * parameterCount({ tensors }));
  });

  it('[HYF-2] at its start it changes nothing, and as published nearly nothing', () => {
    const identity = bind();
    assert.ok(changeOf(identity, evaluating(initialTensors(identity))).every((value) => value === 0));
    const published = bind({ initialisation: 'published' });
    const change = changeOf(published, evaluating(initialTensors(published))).map(Math.abs);
    assert.ok(Math.max(...change) > 0 && Math.max(...change) < 0.2);
  });

  it('[HYF-10] a step of Adam moves what is generated about as far as its rate, however many inputs the generator has', () => {
    for (const { name, shape, learningRateFactor = 1 } of parseAdapter({ method: 'hyperformer' }, bertLike(2, 64))
      .tensors) {
      const isKernel = name.endsWith('.kernel');
      assert.equal(learningRateFactor, isKernel ? 1 / shape[0]! : 1, name);
    }
  });

  it('[HYF-3] interpolates vectors of tasks, which is not the same as interpolating what they generate', () => {
    const adapter = bind({ ...two, projectionHidden: 16, projectionSize: 8 });
    const parameters = randomTensors(adapter);
    const change = (task: AdapterContext['task']) =>
      changeOf(adapter, { ...evaluating(parameters), ...(task && { task }) });
    assert.deepEqual(change(undefined), change('qa'));
    assert.deepEqual(change({ qa: 1, nli: 0 }), change('qa'));
    assert.notDeepEqual(change('nli'), change('qa'));
    const half = change({ qa: 0.5, nli: 0.5 });
    const vector = (name: string) => parameters.get(`hypernetwork.tasks.${name}`)!;
    const mixed = new Map([
      ...parameters,
      ['hypernetwork.tasks.qa', mul(vector('qa').add(vector('nli')), 0.5)] as const,
    ]);
    assertClose(half, changeOf(adapter, evaluating(mixed)), 1e-6);
    const [first, second] = [change('qa'), change('nli')];
    assert.ok(half.some((value, index) => Math.abs(value - (first[index]! + second[index]!) / 2) > 1e-3));
  });

  it('[HYF-4] the vector of a task that did not train gets no gradient; a pass counts the examples of every task once', () => {
    const adapter = bind(two);
    const parameters = randomTensors(adapter);
    const names = adapter.tensors.map(({ name }) => name);
    const seen: number[][] = [];
    const observe = (name: string, value: Tensor) => name === 'hypernetwork.uses' && seen.push([...value.dataSync()]);
    const states = randomStates([2, 3, 8]);
    const found = grads((...tensors: Tensor[]) => {
      const named = new Map(names.map((name, index) => [name, tensors[index]!]));
      const { change } = adapter.hooks({ ...evaluating(named), task: 'nli', observe });
      const sites = [0, 1].flatMap((layerIndex) =>
        (['attention', 'feedForward'] as const).map((sublayer) => ({ layerIndex, sublayer })),
      );
      const results = sites.map((site) => change!(site, states.output, states.residual, undefined)!);
      // Every tensor takes part, since the library refuses gradients of those that do not.
      const touched = tensors.map((one) => sum(mul(zerosLike(one), one)));
      return [...results.map((one) => sum(mul(one, states.residual))), ...touched].reduce((left, right) =>
        add(left, right),
      );
    })(names.map((name) => parameters.get(name)!));
    const gradient = (name: string) => [...found[names.indexOf(`hypernetwork.tasks.${name}`)]!.dataSync()];
    assert.ok(gradient('qa').every((value) => value === 0));
    assert.ok(gradient('nli').some((value) => value !== 0));
    assert.deepEqual(seen, [[0, 2]]);
  });

  it('[HYF-5] of an instance: every example has the adapter of its own tokens, whatever stands beside it', () => {
    const adapter = bind({ task: 'instance' });
    const parameters = randomTensors(adapter);
    const states = randomStates([3, 4, 8]);
    const mask = tensor([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0], [3, 4], 'int32') as never;
    const together = changeOf(adapter, { ...evaluating(parameters), attentionMask: mask }, states);
    for (const [row, length] of [4, 2, 3].entries()) {
      const own = (one: typeof states.output) => one.slice([row, 0, 0], [1, length, 8]);
      const alone = changeOf(adapter, evaluating(parameters), {
        output: own(states.output),
        residual: own(states.residual),
      });
      assertClose(together.slice(32 * row, 32 * row + 8 * length), alone, 1e-5);
    }
  });

  for (const settings of [
    { ...two, task: { qa: 0.3, nli: 0.7 } },
    { generators: 'perSublayer' },
    { task: 'instance' },
  ]) {
    it(`[HYF-6] gradients with ${JSON.stringify(settings)} equal finite differences`, () => {
      const tiny = { embeddingSize: 2, projectionHidden: 3, projectionSize: 2, reductionFactor: 2, activation: 'tanh' };
      const adapter = parseAdapter({ method: 'hyperformer', ...tiny, ...settings }, bertLike(2, 4, 8));
      const states = randomStates([2, 2, 4]);
      const trained = new Map([...randomTensors(adapter, 0.5)].filter(([name]) => !name.endsWith('.uses')));
      assertGradients(trained, (parameters) => {
        const { change } = adapter.hooks(evaluating(parameters));
        const sites = [
          { layerIndex: 0, sublayer: 'attention' },
          { layerIndex: 1, sublayer: 'feedForward' },
        ] as const;
        const results = sites.map((site) => change!(site, states.output, states.residual, undefined)!);
        // Every tensor takes part, since the library refuses gradients of those that do not.
        const touched = [...parameters.values()].map((one) => sum(mul(zerosLike(one), one)));
        return [...results.map((one) => sum(mul(one, states.residual))), ...touched].reduce((left, right) =>
          add(left, right),
        );
      });
    });
  }

  it('[HYF-7] every layer and position has an adapter of its own; left-out layers have none', () => {
    const adapter = bind({ layers: [1] });
    const parameters = randomTensors(adapter);
    const states = randomStates([1, 2, 8]);
    const result = (layerIndex: number, sublayer: 'attention' | 'feedForward') => [
      ...hostResult(adapter, evaluating(parameters), base, states, { layerIndex, sublayer }).dataSync(),
    ];
    assert.notDeepEqual(result(1, 'attention'), result(1, 'feedForward'));
    assert.deepEqual(result(0, 'attention'), result(0, 'feedForward'));
    assert.equal(adapter.tensors.find(({ name }) => name === 'hypernetwork.layers')!.shape[0], 1);
  });

  it('[HYF-8] vectors of tasks weigh by use, all else is averaged; what comes out as configuration goes in again', () => {
    const { tensors, configuration } = bind(two);
    for (const { name, aggregationClass, countName, countIndex } of tensors) {
      const place = two.tasks.findIndex((task) => name === `hypernetwork.tasks.${task}`);
      if (place !== -1)
        assert.deepEqual([aggregationClass, countName, countIndex], ['count-weighted', 'hypernetwork.uses', place]);
      else assert.equal(aggregationClass, name === 'hypernetwork.uses' ? 'count' : 'mean');
    }
    assert.ok(bind().tensors.every(({ aggregationClass }) => aggregationClass === 'mean'));
    assert.deepEqual(parseAdapter(configuration, base).configuration, configuration);
  });

  const faults: readonly [string, object, RegExp][] = [
    [
      'a task',
      { ...two, task: 'qu' },
      /task must be instance, the name of a task, or weights .*\(qa, nli\), found "qu"/,
    ],
    ['weights', { ...two, task: { qa: 0.5, nli: 0.6 } }, /task must be instance, .* that sum to 1/],
    ['tasks', { tasks: ['a', 'a'] }, /tasks must be a list of different names without dots and blanks/],
    ['generators', { generators: 'one' }, /generators must be one of shared, perSublayer, found "one"/],
  ];
  for (const [what, settings, message] of faults) {
    it(`[HYF-9] a fault (${what}) is named with what is allowed`, () => {
      assert.throws(
        () => bind(settings),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});
