/** Hooks that put trained tensors in place of a base's own. */
import { strict as assert } from 'node:assert';
import { add, mul, type Tensor, tidy, zerosLike } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, SiteHooks } from '../../../shared/model/base-model.ts';
import { checkGradients, randomTensor } from '../compute/finite-differences.ts';
import { tensorsOf } from './checkpoint-files.ts';
import { allFixtures, fixtureBase, fixtureBatch, fixtureFamilies, fixtureFiles, largestError } from './fixtures.ts';

const prefixes = /^(bert|roberta|distilbert|transformer|model)\./;

describe('a hook in place of weights', () => {
  before(() => useBackend('wasm'));

  const scoresOf = (model: BaseModel, family: string, hooks?: SiteHooks): Tensor =>
    model.languageModelScores(model.encode(fixtureBatch(family), hooks), hooks);

  for (const family of allFixtures) {
    it(`[WGT-1] is asked for every tensor of the checkpoint by its name, linear maps as [in, out]: ${family}`, () => {
      const model = fixtureBase(family);
      tidy(() => {
        const seen = new Map<string, number[]>();
        const same = scoresOf(model, family, {
          weight: (name, frozen) => {
            seen.set(name, frozen.shape);
            return add(frozen, zerosLike(frozen));
          },
        });
        const expected = [...tensorsOf(fixtureFiles(family)).keys()].map((name) => name.replace(prefixes, ''));
        // GPT-2's causal masks are buffers.
        assert.deepEqual(
          [...seen.keys()].sort(),
          expected.filter((name) => !/\.attn\.(masked_)?bias$/.test(name)).sort(),
        );
        const { tensors, linearTargets } = model.description;
        const byName = (shapes: Iterable<[string, readonly number[]]>) => Object.fromEntries([...shapes]);
        assert.deepEqual(byName(seen), byName(tensors));
        for (const { moduleName, inSize, outSize } of Object.values(linearTargets)) {
          const [, shape] = [...seen].find(([name]) => name.endsWith(`.0.${moduleName}.weight`))!;
          if (moduleName !== linearTargets.qkv?.moduleName) assert.deepEqual(shape, [inSize, outSize]);
        }
        assert.ok(largestError(same.dataSync(), scoresOf(model, family).dataSync()) < 1e-4);
      });
      model.dispose();
    });
  }

  for (const family of fixtureFamilies) {
    it(`[WGT-2] trains whatever it names: ${family}`, () => {
      const random = seededRandom(21);
      const model = fixtureBase(family);
      const shapes = model.description.tensors;
      tidy(() => {
        const byKind = [
          /(word_embeddings|wte|embed_tokens)\.weight$/,
          /(norm|LayerNorm|ln_f)\.weight$/,
          /\.bias$/,
          /(proj|dense)\.weight$/,
        ];
        const names = byKind.flatMap((kind) => [...shapes.keys()].filter((name) => kind.test(name)).slice(-1));
        assert.ok(names.length >= 3);
        const changes = names.map((name) => randomTensor(shapes.get(name)!, random, 0.1));
        checkGradients(changes, (...tensors) =>
          scoresOf(model, family, {
            weight: (name, frozen) => {
              const index = names.indexOf(name);
              // Words are small numbers, and a base is far from linear in them.
              return index < 0 ? undefined : add(frozen, mul(tensors[index]!, index === 0 ? 0.02 : 0.3));
            },
          }),
        );
      });
      model.dispose();
    });
  }
});
