import { strict as assert } from 'node:assert';
import {
  concat,
  keep,
  mul,
  slice,
  sub,
  sum,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tensor,
  tensor2d,
  tidy,
} from '@tensorflow/tfjs-core';
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, TokenBatch } from '../../../shared/model/base-model.ts';
import { checkGradients } from '../compute/finite-differences.ts';
import {
  expectedValues,
  fixtureBase,
  fixtureBatch,
  fixtureExpected,
  fixtureFamilies,
  largestError,
} from '../model/fixtures.ts';
import { bertLike, gpt2Like } from './bases.ts';
import { assertClose, evaluating, initialTensors, parameterCount, randomMatrix, randomTensors } from './checks.ts';
import { plus, rowsOf, scaled, times } from './numbers.ts';

const settingsOf: readonly { method: string; [setting: string]: unknown }[] = [
  { method: 'prefix', length: 2 },
  { method: 'prefix', length: 2, networkSize: 3, positions: 'shifted' },
  { method: 'prompt', length: 2 },
  { method: 'prompt', length: 2, place: 'embeddings' },
  // Without corners: a difference across one is no derivative.
  { method: 'invertible', activation: 'tanh' },
  { method: 'invertible', coupling: 'glow', reductionFactor: 4, activation: 'tanh' },
];

/** How far values are spread: a step of a difference is small beside them, and none of the curves is steep there. */
const deviations: Readonly<Record<string, number>> = { prefix: 0.3, prompt: 2, invertible: 0.5 };

function statesOf(
  model: BaseModel,
  adapter: BoundAdapter,
  parameters: ReadonlyMap<string, Tensor>,
  batch: TokenBatch,
): Tensor3D {
  return model.encode(batch, adapter.hooks(evaluating(parameters)));
}

for (const family of fixtureFamilies) {
  describe(`adapters in front of ${family}`, () => {
    let model: BaseModel;
    before(async () => {
      await useBackend('wasm');
      model = fixtureBase(family);
    });
    after(() => model.dispose());

    for (const settings of settingsOf) {
      it(`[FRO-1] gradients of ${JSON.stringify(settings)} equal finite differences`, () => {
        tidy(() => {
          const adapter = parseAdapter(settings, model.description);
          const parameters = randomTensors(adapter, deviations[settings.method]);
          const names = [...parameters.keys()];
          const { inputIds, attentionMask } = fixtureBatch(family);
          const cut = (whole: Tensor2D): Tensor2D => slice(whole, [0, 0], [1, 4]);
          const batch = { inputIds: cut(inputIds), attentionMask: cut(attentionMask) };
          checkGradients([...parameters.values()], (...tensors) =>
            statesOf(model, adapter, new Map(names.map((name, index) => [name, tensors[index]!])), batch),
          );
        });
      });
    }

    it('[FRO-2] a prefix without its network computes the same', () => {
      tidy(() => {
        const adapter = parseAdapter(
          { method: 'prefix', length: 3, networkSize: 4, layers: [0, 1] },
          model.description,
        );
        const parameters = randomTensors(adapter);
        const numbers = new Map([...parameters].map(([name, tensor]) => [name, tensor.dataSync() as Float32Array]));
        const ejected = adapter.eject!(numbers);
        assert.equal(ejected.adapter.configuration.networkSize, undefined);
        const flat = new Map(
          ejected.adapter.tensors.map(({ name, shape }) => {
            return [name, tensorFrom(ejected.parameters.get(name)!, shape)] as const;
          }),
        );
        const batch = fixtureBatch(family);
        const [withNetwork, without] = [
          statesOf(model, adapter, parameters, batch),
          statesOf(model, ejected.adapter, flat, batch),
        ];
        assert.ok(largestError(withNetwork.dataSync(), without.dataSync()) < 1e-4);
        assert.deepEqual(ejected.adapter.eject!(ejected.parameters).parameters, ejected.parameters);
      });
    });

    it('[FRO-3] a prompt of the vectors of words is those words', () => {
      tidy(() => {
        const batch = fixtureBatch(family);
        const [rowCount, length] = batch.inputIds.shape;
        // All rows begin as the first does.
        const front = concat(Array.from({ length: rowCount }, () => slice(batch.inputIds, [0, 0], [1, 2])));
        const tail = slice(batch.inputIds, [0, 2], [rowCount, length - 2]);
        const inputIds = concat([front, tail], 1) as Tensor2D;
        const vectors: Tensor2D[] = [];
        model.encode(
          { inputIds, attentionMask: batch.attentionMask },
          {
            words: (states) => {
              vectors.push(keep(slice(states, [0, 0, 0], [1, 2, -1]).reshape([2, -1])));
              return undefined;
            },
          },
        );
        const adapter = parseAdapter({ method: 'prompt', length: 2 }, model.description);
        const short = {
          inputIds: tail,
          attentionMask: slice(batch.attentionMask, [0, 2], [rowCount, length - 2]),
        } as TokenBatch;
        const found = statesOf(model, adapter, new Map([['prompt.embedding', vectors[0]!]]), short);
        const expected = model.encode({ inputIds, attentionMask: batch.attentionMask });
        vectors[0]!.dispose();
        assert.equal(adapter.virtualTokens, 2);
        assert.ok(largestError(found.dataSync(), expected.dataSync()) < 1e-5);
      });
    });

    it('[FRO-9] gradients of scores reach an invertible adapter', () => {
      tidy(() => {
        const adapter = parseAdapter({ method: 'invertible', activation: 'tanh' }, model.description);
        const parameters = randomTensors(adapter, 0.2);
        const names = [...parameters.keys()];
        const { inputIds, attentionMask } = fixtureBatch(family);
        const cut = (whole: Tensor2D): Tensor2D => slice(whole, [0, 0], [1, 3]);
        const batch = { inputIds: cut(inputIds), attentionMask: cut(attentionMask) };
        const hidden = model.encode(batch);
        checkGradients([...parameters.values()], (...tensors) => {
          const hooks = adapter.hooks(evaluating(new Map(names.map((name, index) => [name, tensors[index]!]))));
          return model.languageModelScores(hidden, hooks).slice([0, 0, 0], [1, 3, 8]);
        });
      });
    });

    for (const coupling of ['nice', 'glow']) {
      it(`[FRO-4] ${coupling}: states and scores stay as they were before training`, () => {
        tidy(() => {
          const adapter = parseAdapter({ method: 'invertible', coupling }, model.description);
          const hooks = adapter.hooks(evaluating(initialTensors(adapter)));
          const batch = fixtureBatch(family);
          const [found, bare] = [model.encode(batch, hooks), model.encode(batch)];
          assert.deepEqual(found.dataSync(), bare.dataSync());
          const scores = model.languageModelScores(found, hooks).dataSync();
          assert.deepEqual(scores, model.languageModelScores(bare).dataSync());
          assert.ok(largestError(scores, expectedValues(fixtureExpected(family), 'logits')) < 2e-4);
        });
      });
    }
  });
}

function tensorFrom(values: Float32Array, shape: readonly number[]): Tensor {
  return tensor(values, [...shape]);
}

describe('invertible adapters', () => {
  before(() => useBackend('wasm'));

  const base = bertLike(1, 7, 14);
  const states = (): Tensor3D => randomMatrix(6, 7, seededRandom(3)).reshape([2, 3, 7]);

  for (const coupling of ['nice', 'glow']) {
    it(`[FRO-5] ${coupling}: what stands before the output matrix undoes what stands at the embeddings`, () => {
      const adapter = parseAdapter({ method: 'invertible', coupling }, base);
      const hooks = adapter.hooks(evaluating(randomTensors(adapter)));
      const input = states();
      const mask = tensor2d([1, 1, 1, 1, 1, 1], [2, 3], 'int32');
      const { states: there, mask: same } = hooks.embedding!(input, mask)!;
      assert.equal(same, mask);
      assert.ok(sum(mul(sub(there, input), sub(there, input))).dataSync()[0]! > 1);
      assertClose(hooks.output!(there).dataSync(), [...input.dataSync()], 1e-4);
    });
  }

  for (const coupling of ['nice', 'glow']) {
    it(`[FRO-6] ${coupling} equals its equations in float64, with halves of unequal size`, () => {
      const adapter = parseAdapter({ method: 'invertible', coupling }, base);
      const parameters = randomTensors(adapter);
      const net = (name: string, rows: number[][]) => {
        const linear = (input: number[][], part: string) => {
          const bias = [...parameters.get(`invertible.${name}.${part}.bias`)!.dataSync()];
          const kernel = parameters.get(`invertible.${name}.${part}.kernel`)!.dataSync();
          return plus(times(input, rowsOf(kernel, bias.length)), bias);
        };
        const inner = linear(rows, 'inner').map((row) => row.map((value) => Math.max(0, value)));
        return linear(inner, 'outer');
      };
      const coupled = (half: number[][], name: string, given: number[][]) => {
        const output = net(name, given);
        if (coupling === 'nice') return plus(half, output);
        const size = half[0]!.length;
        const scale = output.map((row) =>
          row.slice(0, size).map((value) => Math.exp(5 * 0.636 * Math.atan(value / 5))),
        );
        return plus(
          scaled(half, scale),
          output.map((row) => row.slice(size)),
        );
      };
      const rows = rowsOf(states().dataSync(), 7);
      const [x1, x2] = [rows.map((row) => row.slice(0, 3)), rows.map((row) => row.slice(3))];
      const y1 = coupled(x1, 'f', x2);
      const y2 = coupled(x2, 'g', y1);
      const mask = tensor2d([1, 1, 1, 1, 1, 1], [2, 3], 'int32');
      const found = adapter.hooks(evaluating(parameters)).embedding!(states(), mask)!.states;
      assertClose(
        found.dataSync(),
        y1.flatMap((row, index) => [...row, ...y2[index]!]),
        1e-4,
      );
    });
  }
});

describe('adapters in front: sizes and settings', () => {
  it('[FRO-7] parameter counts on the published bases', () => {
    const count = (settings: { method: string; [setting: string]: unknown }, base = bertLike()) =>
      parameterCount(parseAdapter(settings, base));
    assert.equal(count({ method: 'prefix' }, gpt2Like()), 552_960);
    assert.equal(count({ method: 'prefix', networkSize: 512 }), 30 * 768 + 769 * 512 + 513 * 24 * 768);
    // Keys and values of shared heads are narrower than the states.
    assert.equal(count({ method: 'prefix', length: 5 }, { ...bertLike(2), keyValueHeadCount: 2 }), 5 * 2 * 2 * 128);
    assert.equal(count({ method: 'prompt' }), 7_680);
    assert.equal(count({ method: 'invertible' }), 296_064);
  });

  const faults: readonly [{ method: string; [setting: string]: unknown }, RegExp][] = [
    [
      { method: 'prefix', length: 512, positions: 'shifted' },
      /length must be below 512, the positions of this bert, found 512/,
    ],
    [{ method: 'prefix', positions: 'moved' }, /positions must be one of kept, shifted, found "moved"/],
    [{ method: 'prompt', length: 600 }, /length must be below 512, the positions of this bert, found 600/],
    [
      { method: 'prompt', place: 'word' },
      /place must be one of words, embeddings \(did you mean words\?\), found "word"/,
    ],
    [
      { method: 'invertible', reductionFactor: 400 },
      /reductionFactor must be at most 384, half of the hidden size, found 400/,
    ],
    [{ method: 'invertible', coupling: 'realnvp' }, /coupling must be one of nice, glow, found "realnvp"/],
  ];
  for (const [settings, message] of faults) {
    it(`[FRO-8] a fault (${JSON.stringify(settings)}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parseAdapter(settings, bertLike()),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});
