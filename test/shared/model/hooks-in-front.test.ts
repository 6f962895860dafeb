/** Hooks that put something in front: words, embeddings, keys and values; and those that read the frozen maps and the output. */
import { strict as assert } from 'node:assert';
import {
  add,
  concat,
  engine,
  keep,
  matMul,
  memory,
  mul,
  ones,
  reshape,
  slice,
  sub,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tidy,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { rotaryFrequencies, rotate, rotationOf } from '../../../shared/compute/rotary.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, MaskedStates, Prefix, SiteHooks, TokenBatch } from '../../../shared/model/base-model.ts';
import { checkGradients, randomTensor } from '../compute/finite-differences.ts';
import { fixtureBase, fixtureBatch, largestError } from './fixtures.ts';

const frontLength = 3;

/** The batch from a token on; every row keeps at least one token. */
function tailOf({ inputIds, attentionMask }: TokenBatch): TokenBatch {
  const [rowCount, length] = inputIds.shape;
  const cut = (whole: Tensor2D): Tensor2D => slice(whole, [0, frontLength], [rowCount, length - frontLength]);
  return { inputIds: cut(inputIds), attentionMask: cut(attentionMask) };
}

function frontOf(states: Tensor3D): Tensor3D {
  return slice(states, [0, 0, 0], [-1, frontLength, -1]);
}

/** Puts `front` before the states and shows it. */
function inFront(front: Tensor3D) {
  return (states: Tensor3D, mask: Tensor2D): MaskedStates => ({
    states: concat([front, states], 1),
    mask: concat([ones([front.shape[0], front.shape[1]], 'int32') as Tensor2D, mask], 1),
  });
}

/** The keys and values that a pass computes in every layer, of the first tokens. */
function captureFront(model: BaseModel, batch: TokenBatch): Prefix[] {
  const prefixes: { keys?: Tensor3D; values?: Tensor3D }[] = [];
  model.encode(batch, {
    linear: ({ layerIndex, target }, _, output) => {
      const part = target === 'k' ? 'keys' : target === 'v' ? 'values' : null;
      if (part !== null) {
        prefixes[layerIndex] ??= {};
        const placed = part === 'keys' ? turned(output, model, batch) : output;
        prefixes[layerIndex][part] = keep(frontOf(reshape(placed, [batch.inputIds.shape[0], -1, output.shape[1]])));
      }
      return undefined;
    },
  });
  return prefixes as Prefix[];
}

/** Keys as attention sees them, where positions are rotations. */
function turned(keys: Tensor2D, { description: { family, headSize } }: BaseModel, { inputIds }: TokenBatch): Tensor2D {
  if (family !== 'llama') return keys;
  return rotate(keys, rotationOf(rotaryFrequencies(headSize, 10_000, null), 0, inputIds.shape[1]));
}

for (const backend of ['cpu', 'wasm'] as const) {
  for (const family of ['bert', 'roberta', 'distilbert', 'gpt2', 'llama_gqa']) {
    describe(`hooks in front on ${family}, ${backend}`, () => {
      let model: BaseModel;
      before(async () => {
        await useBackend(backend);
        model = fixtureBase(family);
      });
      after(() => model.dispose());

      /** Compares on tokens alone: what stands in padding means nothing. */
      const assertSame = (found: Tensor3D, expected: Tensor3D, mask: Tensor2D) => {
        const shown = mask.toFloat().expandDims<Tensor3D>(2);
        const error = largestError(mul(found, shown).dataSync(), mul(expected, shown).dataSync());
        assert.ok(error < 1e-5, `states differ by ${error}`);
      };
      const from = (states: Tensor3D, start: number): Tensor3D => slice(states, [0, start, 0], [-1, -1, -1]);

      it('[HIF-1] word vectors of tokens in front are those tokens', () => {
        tidy(() => {
          const batch = fixtureBatch(family);
          let words: Tensor3D | undefined;
          const whole = model.encode(batch, {
            words: (states) => {
              words = keep(states.clone());
              return undefined;
            },
          });
          const longer = model.encode(tailOf(batch), { words: inFront(frontOf(words!)) });
          assert.deepEqual(longer.shape, whole.shape);
          assertSame(longer, whole, batch.attentionMask);
          assertSame(whole, model.encode(batch), batch.attentionMask);
          words!.dispose();
        });
      });

      it('[HIF-2] states in front of the first layer are those tokens; positions start where the hooks say', () => {
        tidy(() => {
          const batch = fixtureBatch(family);
          let states: Tensor3D | undefined;
          const whole = model.encode(batch, {
            embedding: (entering) => {
              states = keep(entering.clone());
              return undefined;
            },
          });
          const hooks = { embedding: inFront(frontOf(states!)), positionStart: frontLength };
          assertSame(model.encode(tailOf(batch), hooks), whole, batch.attentionMask);
          states!.dispose();
        });
      });

      it('[HIF-3] keys and values in front of every layer are seen as the tokens that they came from', () => {
        tidy(() => {
          const batch = fixtureBatch(family);
          const tail = tailOf(batch);
          const prefixes = captureFront(model, batch);
          const hooks: SiteHooks = {
            positionStart: frontLength,
            keysAndValues: ({ layerIndex }, batchSize) => {
              assert.equal(batchSize, batch.inputIds.shape[0]);
              return prefixes[layerIndex];
            },
          };
          const whole = from(model.encode(batch), frontLength);
          assertSame(model.encode(tail, hooks), whole, tail.attentionMask);
          // With a hook at the maps too, a fused projection takes its other path.
          const silent = { ...hooks, linear: () => undefined };
          assertSame(model.encode(tail, silent), whole, tail.attentionMask);
          assert.throws(() => assertSame(model.encode(tail), whole, tail.attentionMask), /states differ/);
          for (const { keys, values } of prefixes) for (const kept of [keys, values]) kept.dispose();
        });
      });

      it('[HIF-4] get gradients, whatever they say about the lowest layer', () => {
        const random = seededRandom(3);
        const batch = fixtureBatch(family);
        const { hiddenSize, keyValueHeadCount, headSize, layerCount } = model.description;
        const lowestLayerIndex = layerCount - 1;
        const passOf = (hooks: SiteHooks) => model.encode(batch, { ...hooks, lowestLayerIndex });
        const rowCount = batch.inputIds.shape[0];
        const front = randomTensor<Tensor3D>([rowCount, 2, hiddenSize], random);
        checkGradients([front], (moved) => passOf({ words: inFront(moved as Tensor3D) }));
        checkGradients([front], (moved) => passOf({ embedding: inFront(moved as Tensor3D) }));
        const width = keyValueHeadCount * headSize;
        const shape = [rowCount, 2, width];
        const parts = [randomTensor<Tensor3D>(shape, random), randomTensor<Tensor3D>(shape, random)];
        checkGradients(parts, (keys, values) =>
          passOf({
            keysAndValues: ({ layerIndex }) =>
              layerIndex === lowestLayerIndex ? { keys: keys as Tensor3D, values: values as Tensor3D } : undefined,
          }),
        );
        for (const made of [front, ...parts, ...(Object.values(batch) as Tensor[])]) made.dispose();
      });

      it('[HIF-5] get the frozen map of their site: its weight, its bias, and itself', () => {
        tidy(() => {
          model.encode(fixtureBatch(family), {
            linear: ({ target, layerIndex }, input, output, map) => {
              const { inSize, outSize } = model.description.linearTargets[target]!;
              assert.deepEqual(map.kernel().shape, [inSize, outSize], target);
              const bias = map.bias(input);
              const bare: Tensor2D = matMul(input, map.kernel());
              const computed = bias === null ? bare : add(bare, bias);
              for (const same of [computed, map.apply(input)]) {
                const error = largestError(same.dataSync(), output.dataSync());
                assert.ok(error < 1e-5, `${target} of layer ${layerIndex} is off by ${error}`);
              }
              return undefined;
            },
          });
        });
      });

      it('[HIF-6] on the output stand before the output matrix, of which scores are an affine function', () => {
        tidy(() => {
          const hidden = model.encode(fixtureBatch(family));
          const scaledBy = (scale: number) =>
            model.languageModelScores(hidden, { output: (states) => mul(states, scale) });
          const plain = model.languageModelScores(hidden);
          assert.equal(largestError(scaledBy(1).dataSync(), plain.dataSync()), 0);
          const steps = [sub(scaledBy(2), plain), sub(plain, scaledBy(0))].map((step) => step.dataSync());
          assert.ok(largestError(steps[0]!, steps[1]!) < 1e-4);
          assert.ok(largestError(steps[0]!, new Float32Array(steps[0]!.length)) > 0.1);
        });
      });

      it('[HIF-7] that are absent or silent cost nothing', () => {
        const countOf = (hooks?: SiteHooks) => {
          let count = 0;
          const original = engine().runKernel.bind(engine());
          engine().runKernel = ((...call: Parameters<typeof original>) => {
            count++;
            return original(...call);
          }) as typeof original;
          try {
            tidy(() => model.encode(fixtureBatch(family), hooks)).dispose();
          } finally {
            Reflect.deleteProperty(engine(), 'runKernel');
          }
          return count;
        };
        const before = memory().numTensors;
        assert.equal(countOf({}), countOf());
        // One reshape at the border of the frozen part is all that a hook may add.
        assert.ok(countOf({ keysAndValues: () => undefined }) <= countOf() + 1);
        assert.ok(countOf({ words: () => undefined, embedding: () => undefined }) <= countOf() + 1);
        assert.equal(memory().numTensors, before);
      });
    });
  }
}
