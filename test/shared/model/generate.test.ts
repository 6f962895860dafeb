import { strict as assert } from 'node:assert';
import { memory, mul, slice, type Tensor3D, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseModel, SiteHooks } from '../../../shared/model/base-model.ts';
import { type Generation, type GenerationOptions, generate } from '../../../shared/model/generate.ts';
import { fixtureBase } from './fixtures.ts';

const prompt = Int32Array.of(5, 17, 3);
const hooksOf = (): SiteHooks => ({
  sublayer: (site, output, residual) =>
    site.sublayer === 'attention' ? (mul(output, -2).add(residual) as Tensor3D) : undefined,
});

/** The best continuation, each token from a whole pass over all before it. */
function bestByWholePasses(model: BaseModel, count: number, hooks?: SiteHooks): number[] {
  const ids = [...prompt];
  for (let step = 0; step < count; step++) {
    const next = tidy(() => {
      const inputIds = tensor2d(Int32Array.from(ids), [1, ids.length], 'int32');
      const hidden = model.encode({ inputIds, attentionMask: inputIds.onesLike() }, hooks);
      const last = slice(hidden, [0, ids.length - 1, 0], [1, 1, -1]);
      return model.languageModelScores(last, hooks).flatten().argMax().dataSync()[0]!;
    });
    ids.push(next);
  }
  return ids.slice(prompt.length);
}

describe('generate', () => {
  before(() => useBackend('wasm'));

  const run = (model: BaseModel, options: Partial<GenerationOptions> = {}): Promise<Generation> =>
    generate({
      model,
      prompt,
      lengthMax: 8,
      sampling: { temperature: 0 },
      random: seededRandom(1),
      stopIds: new Set(),
      ...options,
    });

  for (const family of ['gpt2', 'llama_gqa', 'qwen2', 'qwen3']) {
    it(`[GEN-1] takes what whole passes find best, with and without hooks: ${family}`, async () => {
      const before = memory().numTensors;
      const model = fixtureBase(family);
      const plain = await run(model);
      assert.deepEqual([...plain.ids], bestByWholePasses(model, 8));
      assert.equal(plain.ending, 'length');
      const hooked = await run(model, { hooksOf });
      assert.deepEqual([...hooked.ids], bestByWholePasses(model, 8, hooksOf()));
      assert.notDeepEqual(hooked.ids, plain.ids);
      model.dispose();
      assert.equal(memory().numTensors, before);
    });
  }

  it('[GEN-2] ends at a stop token, which is no part of the text, and gives every token as it comes', async () => {
    const model = fixtureBase('gpt2');
    const sampling = { temperature: 1 };
    const { ids } = await run(model, { sampling, random: seededRandom(2) });
    const stop = ids[5]!;
    const heard: number[] = [];
    const stopped = await run(model, {
      sampling,
      random: seededRandom(2),
      stopIds: new Set([stop]),
      onToken: (id) => void heard.push(id),
    });
    assert.equal(stopped.ending, 'stop');
    assert.deepEqual([...stopped.ids], [...ids.slice(0, ids.indexOf(stop))]);
    assert.deepEqual(heard, [...stopped.ids]);
    model.dispose();
  });

  it('[GEN-3] draws the same text from the same seed, and ends where no positions are left', async () => {
    const model = fixtureBase('gpt2');
    const drawn = (seed: number) =>
      run(model, { sampling: { temperature: 1, topP: 0.95 }, random: seededRandom(seed), lengthMax: 1000 });
    const first = await drawn(4);
    assert.equal(first.ending, 'positions');
    // The last token needs no position: nothing follows it.
    assert.equal(first.ids.length, model.description.positionsMax - prompt.length + 1);
    assert.deepEqual(await drawn(4), first);
    assert.notDeepEqual((await drawn(5)).ids, first.ids);
    model.dispose();
  });

  it('[GEN-4] stops when it is told to, and keeps nothing', async () => {
    const model = fixtureBase('gpt2');
    await run(model);
    const before = memory().numTensors;
    const controller = new AbortController();
    const heard: number[] = [];
    const cut = run(model, {
      signal: controller.signal,
      onToken: (id) => {
        heard.push(id);
        if (heard.length === 3) controller.abort(new Error('enough'));
      },
    });
    await assert.rejects(cut, /enough/);
    assert.equal(heard.length, 3);
    assert.equal(memory().numTensors, before);
    model.dispose();
  });

  it('[GEN-5] refuses bases that read whole texts, and prompts that leave no room', async () => {
    const [bert, gpt2] = [fixtureBase('bert'), fixtureBase('gpt2')];
    await assert.rejects(
      run(bert),
      (thrown) => thrown instanceof UsageError && /a bert reads whole texts/.test(thrown.message),
    );
    const long = new Int32Array(gpt2.description.positionsMax);
    await assert.rejects(run(gpt2, { prompt: long }), /the prompt has 40 tokens, of 40 that this gpt2 covers/);
    bert.dispose();
    gpt2.dispose();
  });
});
