import { strict as assert } from 'node:assert';
import {
  concat,
  engine,
  memory,
  slice,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tensor,
  tidy,
} from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, SiteHooks } from '../../../shared/model/base-model.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import { fixtureBase, fixtureBatch, largestError } from './fixtures.ts';

const causalFamilies = ['gpt2', 'llama_gqa', 'llama3_scaled_rope', 'qwen2', 'qwen3'] as const;

/** Hooks of an adapter with random values; made for every call, as a pass wants them. */
function randomHooks(model: BaseModel, configuration: Plan['adapter']): { hooksOf: () => SiteHooks; free: () => void } {
  const adapter = parseAdapter(configuration, model.description);
  const random = seededRandom(8, String(configuration.method));
  const parameters = new Map<string, Tensor>(
    adapter.tensors.map(({ name, shape }) => {
      const size = shape.reduce((product, extent) => product * extent, 1);
      return [
        name,
        tensor(
          Float32Array.from({ length: size }, () => 0.2 * random.normal()),
          [...shape],
        ),
      ];
    }),
  );
  return {
    hooksOf: () => adapter.hooks({ parameters, training: false, random }),
    free: () => {
      for (const one of parameters.values()) one.dispose();
    },
  };
}

/** The states of a batch that comes in pieces of these lengths. */
function inPieces(model: BaseModel, ids: Tensor2D, lengths: readonly number[], hooksOf?: () => SiteHooks): Tensor3D {
  const cache = model.createCache!(hooksOf);
  const rowCount = ids.shape[0];
  const parts = lengths.map((length) => {
    const from = cache.length;
    return cache.extend(slice(ids, [0, from], [rowCount, length]));
  });
  assert.equal(cache.length, ids.shape[1]);
  cache.dispose();
  return concat(parts, 1);
}

for (const backend of ['cpu', 'wasm'] as const) {
  describe(`a key-value cache on ${backend}`, () => {
    before(() => useBackend(backend));

    for (const family of causalFamilies) {
      it(`[KVC-1] gives what a whole pass gives, whatever the pieces: ${family}`, () => {
        const before = memory().numTensors;
        const model = fixtureBase(family);
        tidy(() => {
          // All tokens count here: nothing is padding.
          const { inputIds } = fixtureBatch(family);
          const length = inputIds.shape[1];
          const whole = model.encode({ inputIds, attentionMask: inputIds.onesLike() });
          const scores = model.languageModelScores(whole).dataSync();
          const ones = Array.from({ length }, () => 1);
          for (const lengths of [ones, [length], [5, ...ones.slice(8), 3], [2, 4, length - 6]]) {
            const found = inPieces(model, inputIds, lengths);
            const error = largestError(model.languageModelScores(found).dataSync(), scores);
            assert.ok(error <= 2e-4, `pieces of ${lengths.join(', ')} are off by ${error}`);
          }
        });
        model.dispose();
        assert.equal(memory().numTensors, before, 'a cache leaves tensors behind');
      });
    }
  });
}

describe('a key-value cache under adapters', () => {
  before(() => useBackend('wasm'));

  const adapters: readonly Plan['adapter'][] = [
    { method: 'lora', targets: 'all-linear', rank: 2 },
    { method: 'bottleneck', size: 4, placement: 'houlsby' },
    { method: 'ia3' },
    { method: 'prefix', length: 3 },
    { method: 'prefix', length: 3, positions: 'shifted' },
    { method: 'prompt', length: 3 },
    { method: 'prompt', length: 3, place: 'embeddings' },
    { method: 'invertible' },
  ];
  for (const family of ['gpt2', 'qwen3'] as const) {
    for (const configuration of adapters) {
      it(`[KVC-2] gives what a whole pass gives: ${family}, ${Object.values(configuration).join(' ')}`, () => {
        const model = fixtureBase(family);
        const { hooksOf, free } = randomHooks(model, configuration);
        tidy(() => {
          const { inputIds } = fixtureBatch(family);
          const attentionMask = inputIds.onesLike() as Tensor2D;
          const whole = model.encode({ inputIds, attentionMask }, hooksOf());
          const plain = model.encode({ inputIds, attentionMask });
          const scores = model.languageModelScores(whole, hooksOf()).dataSync();
          const length = inputIds.shape[1];
          const ones = Array.from({ length }, () => 1);
          for (const lengths of [ones, [6, ...ones.slice(6)], [4, length - 4]]) {
            const found = inPieces(model, inputIds, lengths, hooksOf);
            const error = largestError(model.languageModelScores(found, hooksOf()).dataSync(), scores);
            assert.ok(error <= 2e-4, `pieces of ${lengths.join(', ')} are off by ${error}`);
          }
          const added = whole.shape[1] - length;
          const text = slice(whole, [0, added, 0], plain.shape);
          const acts = largestError(
            model.languageModelScores(text, hooksOf()).dataSync(),
            model.languageModelScores(plain).dataSync(),
          );
          assert.ok(acts > 1e-2, 'the adapter does nothing');
        });
        free();
        model.dispose();
      });
    }
  }

  it('[KVC-3] costs the same number of operations at every step, and says which positions are left', () => {
    const model = fixtureBase('llama_gqa');
    tidy(() => {
      const { inputIds } = fixtureBatch('llama_gqa');
      const { hooksOf, free } = randomHooks(model, { method: 'prompt', length: 4 });
      const cache = model.createCache!(hooksOf);
      assert.equal(cache.room, 48);
      const next = slice(inputIds, [0, 0], [3, 1]);
      const kernelsOf = () => {
        let count = 0;
        const original = engine().runKernel.bind(engine());
        engine().runKernel = ((...call: Parameters<typeof original>) => {
          count++;
          return original(...call);
        }) as typeof original;
        try {
          cache.extend(next);
        } finally {
          Reflect.deleteProperty(engine(), 'runKernel');
        }
        return count;
      };
      kernelsOf();
      assert.equal(cache.room, 48 - 4 - 1);
      const second = kernelsOf();
      for (let step = 0; step < 5; step++) assert.equal(kernelsOf(), second);
      for (let step = cache.room; step > 0; step--) cache.extend(next);
      assert.equal(cache.room, 0);
      assert.throws(() => cache.extend(next), /exceeds 48 positions/);
      cache.dispose();
      free();
    });
    model.dispose();
  });

  it('[KVC-4] exists for causal families alone', () => {
    const model = fixtureBase('bert');
    assert.equal(model.createCache, undefined);
    model.dispose();
  });
});
