/** Compositions of adapters that change linear maps: what they make of one map. */
import { strict as assert } from 'node:assert';
import { add, matMul, mul, type Tensor, type Tensor2D, tensor, tensor2d, tidy, transpose } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { FrozenMap } from '../../../../shared/model/base-model.ts';
import { bertLike } from '../bases.ts';
import { assertClose, evaluating, randomMatrix, randomTensors } from '../checks.ts';

const base = bertLike(2, 6, 12);

function valuesOf(found: Tensor): Float32Array {
  return found.dataSync() as Float32Array;
}

describe('compositions at linear maps', () => {
  before(() => useBackend('wasm'));

  it('[CPN-23] DoRA behind LoRA norms the map with LoRA in it, and not with the dropout of a step', () => {
    const low = { method: 'lora', targets: ['q'], rank: 2, alpha: 8, layers: [0], dropout: 0.5 };
    const decomposed = { method: 'dora', targets: ['q'], rank: 2, layers: [0] };
    const members = [
      { id: 'a', ...low },
      { id: 'b', ...decomposed },
    ];
    const stack = parseAdapter({ method: 'stack', members }, base);
    const site = { layerIndex: 0, target: 'q' } as const;
    tidy(() => {
      const parameters = randomTensors(stack);
      const [input, kernel, bias] = [6, 7, 8].map((seed) => randomMatrix(seed === 8 ? 1 : 6, 6, seededRandom(seed)));
      const apply = (rows: Tensor2D): Tensor2D => add(matMul(rows, kernel!), bias!);
      const map: FrozenMap = { apply, kernel: () => kernel!, bias: () => bias! };
      const training = { ...evaluating(parameters), training: true, random: seededRandom(5) };
      const found = stack.hooks(training).linear!(site, input!, apply(input!), map)!;
      const own = (id: string) =>
        new Map(
          [...parameters].filter(([name]) => name.startsWith(`${id}.`)).map(([name, value]) => [name.slice(2), value]),
        );
      const passOf = (id: string) => ({ ...training, parameters: own(id), random: training.random.fork('member', id) });
      const first = parseAdapter(low, base).hooks(passOf('a')).linear!(site, input!, apply(input!), map)!;
      const [a, b] = ['a', 'b'].map((part) => own('a').get(`layers.0.q.lora.${part}`) as Tensor2D);
      const whole: Tensor2D = add(kernel!, mul(transpose(matMul(b!, a!)), 8 / 2));
      const seen: FrozenMap = { apply: () => assert.fail('not run'), kernel: () => whole, bias: () => bias! };
      const expected = parseAdapter(decomposed, base).hooks(passOf('b')).linear!(site, input!, first, seen)!;
      assertClose(valuesOf(found), [...valuesOf(expected)], 1e-5);
      assert.ok(valuesOf(first).some((value, index) => Math.abs(value - valuesOf(apply(input!))[index]!) > 1e-3));
    });
  });

  it('[CPN-22] an average at fixed weights merges into a map as it computes; one that is learned does not, nor one of what merges not', () => {
    const settings = [
      { id: 'a', method: 'lora', targets: ['q'], rank: 2, layers: [0] },
      { id: 'b', method: 'ia3', outputs: ['q'], inputs: [], layers: [0] },
      { id: 'c', method: 'bias', targets: ['q'], layers: [0] },
    ];
    const weights = [0.5, 0.2, 0.3];
    const average = parseAdapter({ method: 'average', members: settings, weights }, base);
    const random = seededRandom(9);
    const normal = (size: number) => Float32Array.from({ length: size }, () => random.normal());
    const values = new Map(
      average.tensors.map(({ name, shape }) => [name, normal(shape.reduce((left, right) => left * right))]),
    );
    const map = { kernel: normal(36), bias: normal(6) };
    const [input, output] = [normal(12), new Float32Array(12)];
    const apply = ({
      kernel,
      bias,
    }: {
      readonly kernel: Float32Array;
      readonly bias: Float32Array | null;
    }): Float32Array =>
      output.map((_, place) => {
        const [row, column] = [Math.floor(place / 6), place % 6];
        const product = Array.from({ length: 6 }, (__, inner) => input[6 * row + inner]! * kernel[6 * inner + column]!);
        return product.reduce((left, right) => left + right, bias?.[column] ?? 0);
      });
    const site = { layerIndex: 0, target: 'q' } as const;
    const found = tidy(() => {
      const frozen = {
        apply: () => assert.fail('not needed'),
        kernel: () => tensor2d(map.kernel, [6, 6]),
      } as unknown as FrozenMap;
      const tensors = new Map(average.tensors.map(({ name, shape }) => [name, tensor(values.get(name)!, [...shape])]));
      const { linear } = average.hooks(evaluating(tensors));
      return [...valuesOf(linear!(site, tensor2d(input, [2, 6]), tensor2d(apply(map), [2, 6]), frozen)!)];
    });
    assertClose(found, [...apply(average.merge!(site, map, values)!)], 1e-5);
    assert.equal(average.merge!({ layerIndex: 1, target: 'q' }, map, values), undefined);
    assert.equal(average.unmerge, undefined);
    assert.equal(parseAdapter({ method: 'average', members: settings, learning: 'shared' }, base).merge, undefined);
    const mixed = [settings[0]!, { id: 'd', method: 'bottleneck' }];
    assert.equal(parseAdapter({ method: 'average', members: mixed }, base).merge, undefined);
  });
});
