import { strict as assert } from 'node:assert';
import {
  mul,
  profile,
  type Scalar,
  sum,
  type Tensor,
  type Tensor3D,
  tensor,
  tensor2d,
  valueAndGrads,
} from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { balanceLoss, dispatchTokens } from '../../../shared/adapters/routing.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { bertLike } from './bases.ts';
import { assertClose, assertGradients, evaluating, initialTensors, randomTensors } from './checks.ts';
import { hostResult, randomStates } from './sublayer-host.ts';

const base = bertLike(1, 6, 12);
const site = 'layers.0.feedForward.mixture';
const bind = (settings: object = {}) =>
  parseAdapter({ method: 'mixture', size: 3, activation: 'tanh', ...settings }, base);
const at = { layerIndex: 0, sublayer: 'feedForward' } as const;
type Named = ReadonlyMap<string, Tensor>;

/** What the mixture adds to h on a pre-norm host, in float64 and over all experts: Σ p̂_e (W_up tanh(W_down u + c) + c), u = h + x. */
function denseChange(
  named: Named,
  { output, residual }: { output: Tensor3D; residual: Tensor3D },
  experts: number,
  choices: number,
) {
  const values = (name: string) => [...named.get(`${site}.${name}`)!.dataSync()];
  const [rows, width] = [output.shape[0] * output.shape[1], output.shape[2]];
  const [h, x] = [output.dataSync(), residual.dataSync()];
  const times = (u: number[], kernel: number[], outSize: number) =>
    Array.from({ length: outSize }, (_, column) =>
      u.reduce((total, value, row) => total + value * kernel[row * outSize + column]!, 0),
    );
  return Array.from({ length: rows }, (_, row) => {
    const u = Array.from({ length: width }, (__, index) => h[row * width + index]! + x[row * width + index]!);
    const weights = times(u, values('router.kernel'), experts).map(Math.exp);
    const best = [...weights.keys()].sort((left, right) => weights[right]! - weights[left]!).slice(0, choices);
    const total = (choices === 1 ? weights : best.map((expert) => weights[expert]!)).reduce(
      (left, right) => left + right,
    );
    const result = Array.from({ length: width }, () => 0);
    for (const expert of best) {
      const part = (name: string) => values(`experts.${expert}.${name}`);
      const inner = times(u, part('down.kernel'), 3).map((value, index) =>
        Math.tanh(value + part('down.bias')[index]!),
      );
      const outer = times(inner, part('up.kernel'), width);
      for (const index of result.keys())
        result[index]! += (weights[expert]! / total) * (outer[index]! + part('up.bias')[index]!);
    }
    return result;
  }).flat();
}

describe('routing', () => {
  before(() => useBackend('wasm'));
  const logits = [1, 0, -1, 0.5, 0.2, 0.1, 0, -0.1, 0, 2, 1, 0];
  const probabilities = Float32Array.from({ length: 12 }, (_, index) => {
    const row = logits.slice(4 * Math.floor(index / 4), 4 * Math.floor(index / 4) + 4).map(Math.exp);
    return row[index % 4]! / row.reduce((left, right) => left + right);
  });
  const options = { probabilities, expertCount: 4, choices: 2, groups: [0, 0, 0] };
  const unlimited = () => Number.POSITIVE_INFINITY;

  it('[RTG-1] chooses the experts of the golden vector and gives its balance loss', () => {
    const dispatch = dispatchTokens({ ...options, capacityOf: unlimited });
    assert.deepEqual(dispatch.tokens, [[0, 1], [1, 2], [2], [0]]);
    assert.deepEqual([...dispatch.chosen], [1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0]);
    assertClose(balanceLoss(tensor2d(probabilities, [3, 4]), dispatch, options).dataSync(), [1.086908], 1e-6);
  });

  it('[RTG-2] fills experts up in the order of positions, first choices before second', () => {
    const { tokens, droppedCount } = dispatchTokens({ ...options, capacityOf: () => 1 });
    assert.deepEqual(
      tokens,
      [[0], [2], [], [0]].map((own, expert) => (expert === 2 ? [2] : own)),
    );
    assert.equal(droppedCount, 2);
  });

  it('[RTG-3] a text is filled up by itself, whatever stands beside it', () => {
    const twice = Float32Array.from([...probabilities, ...probabilities]);
    const both = dispatchTokens({ ...options, probabilities: twice, groups: [0, 0, 0, 1, 1, 1], capacityOf: () => 1 });
    const alone = dispatchTokens({ ...options, capacityOf: () => 1 });
    for (const [expert, own] of alone.tokens.entries())
      assert.deepEqual(both.tokens[expert], [...own, ...own.map((token) => token + 3)]);
  });

  it('[RTG-4] of equal probabilities the first counts, and uniform routing has the loss 1', () => {
    const uniform = { ...options, probabilities: new Float32Array(12).fill(0.25) };
    const dispatch = dispatchTokens({ ...uniform, capacityOf: unlimited });
    assert.deepEqual(dispatch.tokens, [[0, 1, 2], [0, 1, 2], [], []]);
    assertClose(balanceLoss(tensor2d(uniform.probabilities, [3, 4]), dispatch, options).dataSync(), [1], 1e-6);
  });
});

describe('mixture', () => {
  before(() => useBackend('wasm'));

  for (const [experts, choices] of [
    [4, 2],
    [3, 1],
    [2, 2],
  ] as const) {
    it(`[MIX-1] with ${choices} of ${experts} experts it is what all experts and a mask give in float64`, () => {
      const adapter = bind({ experts, choices });
      const named = randomTensors(adapter);
      const states = randomStates([2, 5, 6]);
      const found = adapter.hooks(evaluating(named)).change!(at, states.output, states.residual, undefined)!;
      assertClose(found.dataSync(), denseChange(named, states, experts, choices), 2e-5);
    });
  }

  it('[MIX-2] at its start it changes nothing', () => {
    const adapter = bind();
    const states = randomStates([2, 3, 6]);
    const plain = hostResult(parseAdapter({ method: 'none' }, base), evaluating(new Map()), base, states);
    assert.deepEqual(
      hostResult(adapter, evaluating(initialTensors(adapter)), base, states).dataSync(),
      plain.dataSync(),
    );
  });

  it('[MIX-3] inactive experts cost nothing: multiply-adds forward and backward are those of k experts, and the router', async () => {
    const width = 16;
    const host = bertLike(1, width, 32);
    const tokens = 40;
    const countFor = async (experts: number, choices: number): Promise<number> => {
      const adapter = parseAdapter({ method: 'mixture', size: 8, experts, choices }, host);
      const named = randomTensors(adapter);
      const names = adapter.tensors
        .filter(({ aggregationClass }) => aggregationClass !== 'count')
        .map(({ name }) => name);
      const states = randomStates([2, tokens / 2, width]);
      const lossOf = (...tensors: Tensor[]): Scalar => {
        const parameters = new Map(names.map((name, index) => [name, tensors[index]!]));
        const { change } = adapter.hooks(evaluating(parameters));
        return sum(mul(change!(at, states.output, states.residual, undefined)!, states.residual));
      };
      const { kernels } = await profile(() => {
        valueAndGrads(lossOf)(names.map((name) => named.get(name)!));
        return states.output;
      });
      return kernels
        .filter(({ name }) => name === 'BatchMatMul' || name === '_FusedMatMul')
        .reduce((total, { inputShapes, outputShapes }) => {
          const output = outputShapes[0]!.reduce((size, extent) => size * extent, 1);
          const [rows, columns] = [outputShapes[0]!.at(-2)!, outputShapes[0]!.at(-1)!];
          const size = inputShapes[0]!.reduce((product, extent) => product * extent, 1);
          return total + output * (size / (output / columns / rows) / rows / columns) * columns;
        }, 0);
    };
    // Forward, and backward to inputs and weights: 3 · 2 · width · 8 a token and choice, and a row of ones for each bias.
    const ofExperts = (choices: number) => choices * tokens * (3 * 2 * width * 8 + width + 8);
    const ofRouter = (experts: number) => 3 * tokens * width * experts;
    for (const [experts, choices] of [
      [4, 1],
      [4, 2],
      [16, 2],
    ] as const)
      assert.equal(
        await countFor(experts, choices),
        ofExperts(choices) + ofRouter(experts),
        `${choices} of ${experts}`,
      );
  });

  it('[MIX-4] gradients of experts and router equal finite differences, those of the losses with them', () => {
    const adapter = bind({ experts: 3, balanceLoss: 0.5, routerLoss: 0.5 });
    const named = randomTensors(adapter, 0.6);
    const states = randomStates([1, 4, 6], 5);
    const trained = new Map([...named].filter(([name]) => !name.endsWith('.uses')));
    assertGradients(trained, (parameters) => {
      const losses: Tensor[] = [];
      const context = { ...evaluating(parameters), addLoss: (_: string, loss: Scalar) => losses.push(loss) };
      const change = adapter.hooks(context).change!(at, states.output, states.residual, undefined)!;
      return losses.reduce((left, right) => left.add(right), sum(mul(change, states.residual)));
    });
  });

  it('[MIX-5] padding is neither changed nor counted, and changes nothing for the tokens', () => {
    const adapter = bind({ evaluationCapacityFactor: 0.75 });
    const named = randomTensors(adapter);
    const states = randomStates([1, 5, 6]);
    const run = (length: number, attentionMask?: Tensor) => {
      const uses: number[][] = [];
      const observe = (name: string, value: Tensor) => name.endsWith('.uses') && uses.push([...value.dataSync()]);
      const context = {
        ...evaluating(named),
        observe,
        ...(attentionMask && { attentionMask: attentionMask as never }),
      };
      const cut = (one: Tensor3D) => one.slice([0, 0, 0], [1, length, 6]);
      const change = adapter.hooks(context).change!(at, cut(states.output), cut(states.residual), undefined)!;
      return { change: [...change.dataSync()], uses: uses[0]! };
    };
    const alone = run(3);
    const padded = run(5, tensor([1, 1, 1, 0, 0], [1, 5], 'int32'));
    assertClose(padded.change.slice(0, 18), alone.change, 1e-6);
    assert.ok(padded.change.slice(18).every((value) => value === 0));
    assert.deepEqual(padded.uses, alone.uses);
  });

  it('[MIX-6] what overflows a capacity goes on along the residual path', () => {
    const adapter = bind({ experts: 2, choices: 1, evaluationCapacityFactor: 0.01 });
    const named = new Map(randomTensors(adapter));
    named.set(`${site}.router.kernel`, tensor2d(new Float32Array(12), [6, 2]));
    const states = randomStates([2, 3, 6]);
    const seen = new Map<string, number[]>();
    const observe = (name: string, value: Tensor) => seen.set(name, [...value.dataSync()]);
    const change = adapter.hooks({ ...evaluating(named), observe }).change!(
      at,
      states.output,
      states.residual,
      undefined,
    )!;
    // Equal probabilities: all tokens ask for the first expert, which takes the first token of each text.
    const rows = [...change.dataSync()];
    const isZero = Array.from({ length: 6 }, (_, row) =>
      rows.slice(6 * row, 6 * row + 6).every((value) => value === 0),
    );
    assert.deepEqual(isZero, [false, true, true, false, true, true]);
    assert.deepEqual(seen.get(`${site}.uses`), [2, 0]);
    assert.deepEqual(seen.get(`${site}.dropped`), [4]);
    assertClose(seen.get(`${site}.probability`)!, [0.5, 0.5], 1e-6);
  });

  it('[MIX-7] jitter and noise act in training alone, and come from the seed', () => {
    const adapter = bind({ jitter: 0.4, noise: true, experts: 4, choices: 1 });
    const named = randomTensors(adapter);
    const states = randomStates([2, 6, 6]);
    const run = (training: boolean, seed: number) => {
      const context = { parameters: named, training, random: seededRandom(seed) };
      return [...adapter.hooks(context).change!(at, states.output, states.residual, undefined)!.dataSync()];
    };
    assert.deepEqual(run(true, 1), run(true, 1));
    assert.notDeepEqual(run(true, 1), run(true, 2));
    assert.deepEqual(run(false, 1), run(false, 2));
    assert.deepEqual(run(false, 1), run(false, 1));
  });

  it('[MIX-8] experts weigh by the count of their tokens, the router is averaged', () => {
    const { tensors } = bind({ experts: 2, placement: 'houlsby' });
    const own = tensors.filter(({ name }) => name.startsWith(site));
    assert.deepEqual(
      own.map(({ name, shape, aggregationClass, countName, countIndex }) => [
        name.slice(site.length + 1),
        shape,
        aggregationClass,
        countName,
        countIndex,
      ]),
      [
        ['router.kernel', [6, 2], 'mean', undefined, undefined],
        ...[0, 1].flatMap((expert) =>
          [
            ['down.kernel', [6, 3]],
            ['down.bias', [3]],
            ['up.kernel', [3, 6]],
            ['up.bias', [6]],
          ].map(([part, shape]) => [
            `experts.${expert}.${part as string}`,
            shape,
            'count-weighted',
            `${site}.uses`,
            expert,
          ]),
        ),
        ['uses', [2], 'count', undefined, undefined],
      ],
    );
    assert.equal(tensors.length, 2 * own.length);
  });

  it('[MIX-9] what comes out as configuration goes in again', () => {
    for (const settings of [{}, { capacityFactor: 1.25, evaluationCapacityFactor: 2, noise: true }]) {
      const { configuration } = bind(settings);
      assert.deepEqual(parseAdapter(configuration, base).configuration, configuration);
    }
  });

  const faults: readonly [string, object, RegExp][] = [
    ['choices', { experts: 2, choices: 3 }, /choices must be at most the number of experts, 2, found 3/],
    ['experts', { experts: 1 }, /experts must be a whole number from 2 to 256, found 1/],
    ['a placement', { placement: 'adapterplus' }, /placement must be one of pfeiffer, houlsby, parallel/],
    ['a capacity', { capacityFactor: 0 }, /capacityFactor must be a number above 0, found 0/],
    ['a field', { topK: 2 }, /topK is not a known field/],
  ];
  for (const [what, settings, message] of faults) {
    it(`[MIX-10] a fault (${what}) is named with what is allowed`, () => {
      assert.throws(
        () => bind(settings),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});
