/** Methods that no other library has fixtures of, against arithmetic in float64 that shares nothing with them, and their gradients against differences. */
import { strict as assert } from 'node:assert';
import { grads, mul, sum, type Tensor, tensor, tidy } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { FrozenMap } from '../../../shared/model/base-model.ts';
import { fixtureBase, fixtureBatch } from '../model/fixtures.ts';
import { bertLike } from './bases.ts';
import { assertClose, assertGradients, evaluating, randomMatrix, randomTensors } from './checks.ts';
import { normed, plus, type Rows, rowsOf, scaled, times } from './numbers.ts';
import { hostResult, randomStates, type SublayerStates, tensorsOf } from './sublayer-host.ts';

const hiddenSize = 6;
const base = bertLike(1, hiddenSize, 12);
const members = ['a', 'b'].map((id, index) => ({ id, method: 'bottleneck', size: 2 + index }));
const shape: [number, number, number] = [2, 4, hiddenSize];
let states: SublayerStates;
const rowsIn = (values: Tensor): Rows => rowsOf(values.dataSync() as Float32Array, hiddenSize);

/** W_up relu(W_down u + c_down) + c_up of a member for rows u. */
function bottleneck(id: string, parameters: ReadonlyMap<string, Tensor>, rows: Rows): Rows {
  const own = tensorsOf(id, parameters);
  const named = (name: string): Rows => {
    const found = own.get(`layers.0.feedForward.bottleneck.${name}`)!;
    return rowsOf(found.dataSync() as Float32Array, found.shape.at(-1)!);
  };
  const inner = plus(times(rows, named('down.kernel')), named('down.bias')[0]!);
  return plus(
    times(
      inner.map((row) => row.map((value) => Math.max(0, value))),
      named('up.kernel'),
    ),
    named('up.bias')[0]!,
  );
}

/** LN(x + h + change(LN(h + x))): a Pfeiffer adapter on a post-norm host. */
function hostOf(change: (rows: Rows) => Rows): number[] {
  const whole = plus(rowsIn(states.residual), rowsIn(states.output));
  return normed(plus(whole, change(normed(whole, 1e-12))), 1e-12).flat();
}

describe('methods without fixtures', () => {
  before(async () => {
    await useBackend('wasm');
    states = randomStates(shape);
  });

  const softmax = (logits: readonly number[]): number[] => {
    const powers = logits.map(Math.exp);
    return powers.map((power) => power / powers.reduce((left, right) => left + right));
  };
  const cases: readonly (readonly [
    string,
    { readonly method: string; readonly [setting: string]: unknown },
    (rows: Rows, parameters: ReadonlyMap<string, Tensor>) => Rows,
  ])[] = [
    [
      'average at fixed weights',
      { method: 'average', members, weights: [3, 1] },
      (rows, parameters) =>
        plus(scaled(bottleneck('a', parameters, rows), 0.75), scaled(bottleneck('b', parameters, rows), 0.25)),
    ],
    [
      'average at learned weights',
      { method: 'average', members, learning: 'shared' },
      (rows, parameters) => {
        const [a, b] = softmax([...parameters.get('average.logits')!.dataSync()]);
        return plus(scaled(bottleneck('a', parameters, rows), a!), scaled(bottleneck('b', parameters, rows), b!));
      },
    ],
    [
      'gate',
      { method: 'gate', members: members.slice(0, 1), penalty: 0 },
      (rows, parameters) => {
        // Of layer 0 the second gate is that of the feed-forward.
        const logit = parameters.get('gate.logits')!.dataSync()[1]!;
        const z = Math.min(1, Math.max(0, 1.2 / (1 + Math.exp(-logit)) - 0.1));
        return scaled(bottleneck('a', parameters, rows), z);
      },
    ],
    [
      'split',
      { method: 'split', members, at: [3] },
      (rows, parameters) => {
        const [a, b] = [bottleneck('a', parameters, rows), bottleneck('b', parameters, rows)];
        return rows.map((_, index) => (index % shape[1] < 3 ? a : b)[index]!);
      },
    ],
  ];
  for (const [what, settings, change] of cases) {
    it(`[NFX-1] ${what} is in float64 what its equation says, and its gradients equal finite differences`, () => {
      const adapter = parseAdapter(settings, base);
      const parameters = randomTensors(adapter, 0.4);
      const found = hostResult(adapter, evaluating(parameters), base, states);
      assertClose(
        found.dataSync(),
        hostOf((rows) => change(rows, parameters)),
        1e-5,
      );
      const probe = randomStates(shape, 9).output;
      assertGradients(parameters, (moved) => sum(mul(hostResult(adapter, evaluating(moved), base, states), probe)));
    });
  }

  it('[NFX-2] bias adds its δ to every row of a map, in float64', () => {
    const adapter = parseAdapter({ method: 'bias', targets: ['up'] }, base);
    const parameters = randomTensors(adapter);
    const [input, output] = [randomMatrix(3, hiddenSize, seededRandom(1)), randomMatrix(3, 12, seededRandom(2))];
    const unused = () => assert.fail('the frozen map is not needed');
    const map: FrozenMap = { apply: unused, kernel: unused, bias: unused };
    const found = adapter.hooks(evaluating(parameters)).linear!({ layerIndex: 0, target: 'up' }, input, output, map)!;
    const change = [...parameters.get('layers.0.up.bias')!.dataSync()];
    assertClose(found.dataSync(), plus(rowsOf(output.dataSync() as Float32Array, 12), change).flat(), 1e-6);
  });

  it('[NFX-3] full: w + δ in every tensor of the base, whose gradients equal finite differences of all that the base computes', () => {
    const model = fixtureBase('bert');
    const adapter = parseAdapter({ method: 'full' }, model.description);
    const used = new Map([...randomTensors(adapter, 0.05)].filter(([name]) => /embeddings|layer\.1\./.test(name)));
    const batch = fixtureBatch('bert');
    const scalarOf = (parameters: ReadonlyMap<string, Tensor>): Tensor => {
      const hidden = model.encode(batch, adapter.hooks(evaluating(parameters)));
      return sum(mul(hidden, randomProbe(hidden)));
    };
    const frozen = tensor([1, 2, 3]);
    const [name, change] = ['bias', tensor([0.5, 0.25, -1])];
    const one = adapter.hooks(evaluating(new Map([[`base.${name}`, change]]))).weight!(name, frozen)!;
    assertClose(one.dataSync(), [1.5, 2.25, 2], 1e-7);
    const names = [...used.keys()];
    const gradients = grads((...tensors: Tensor[]) =>
      scalarOf(new Map(names.map((own, index) => [own, tensors[index]!]))).asScalar(),
    )([...used.values()]);
    const random = seededRandom(5);
    for (const [index, own] of names.entries()) {
      const found = [...gradients[index]!.dataSync()];
      const scale = Math.max(1, ...found.map(Math.abs));
      // Where the gradient is largest, so that a place which no text reaches does not stand for the tensor.
      const largest = found.reduce(
        (most, value, place) => (Math.abs(value) > Math.abs(found[most]!) ? place : most),
        0,
      );
      for (const place of [largest, random.integer(found.length)]) {
        const at = (step: number): number =>
          tidy(() => {
            const start = used.get(own)!;
            const values = Float32Array.from(start.dataSync());
            values[place]! += step;
            return scalarOf(new Map([...used, [own, tensor(values, start.shape)]])).dataSync()[0]!;
          });
        const expected = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert.ok(Math.abs(found[place]! - expected) < 0.02 * scale, `${own}[${place}]: ${found[place]}, ${expected}`);
      }
    }
    model.dispose();
  });
});

function randomProbe(like: Tensor): Tensor {
  const random = seededRandom(8, 'probe');
  return tensor(
    Float32Array.from({ length: like.size }, () => random.normal()),
    like.shape,
  );
}
