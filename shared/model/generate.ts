/** Text from a causal base, token by token, with an adapter's hooks at every step. */
import { slice, type Tensor2D, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { UsageError } from '../core/errors.ts';
import type { SeededRandom } from '../core/random.ts';
import type { BaseModel, KeyValueCache, SiteHooks } from './base-model.ts';
import { chooseToken, type Sampling } from './sampling.ts';

/** What {@link generate} needs. */
export interface GenerationOptions {
  readonly model: BaseModel;
  /** Hooks of one pass, made anew for each; absent means the base alone. */
  readonly hooksOf?: () => SiteHooks;
  /** Ids of what the text begins with; at least one. */
  readonly prompt: Int32Array;
  /** Tokens to add at most. */
  readonly lengthMax: number;
  readonly sampling: Sampling;
  /** Decides what is drawn; not asked where the temperature is 0. */
  readonly random: SeededRandom;
  /** Ids that end the text and are not part of it. */
  readonly stopIds: ReadonlySet<number>;
  /** Gets every token as it comes; the next waits for it. */
  readonly onToken?: (id: number) => void | Promise<void>;
  readonly signal?: AbortSignal;
}

/** What came out. */
export interface Generation {
  /** The added tokens. */
  readonly ids: Int32Array;
  /** Why it ended: a stop token, the asked length, or no positions left. */
  readonly ending: 'stop' | 'length' | 'positions';
}

/**
 * Generates from a prompt. Every token costs one step over the tokens kept so far.
 * @throws UsageError `not-causal` on a base whose tokens see later ones, `prompt-too-long` when the prompt leaves no position; the reason of
 *   `signal` when it aborts.
 */
export async function generate(options: GenerationOptions): Promise<Generation> {
  const { model, hooksOf, prompt, lengthMax, sampling, random, stopIds, onToken, signal } = options;
  const { family, positionsMax } = model.description;
  assert(prompt.length > 0, 'a text begins with at least one token');
  if (model.createCache === undefined) {
    throw new UsageError(
      'not-causal',
      `a ${family} reads whole texts and cannot write them; text needs a base that predicts the next token, such as gpt2, llama or qwen3`,
    );
  }
  const cache = model.createCache(hooksOf);
  try {
    if (prompt.length >= cache.room) {
      throw new UsageError(
        'prompt-too-long',
        `the prompt has ${prompt.length} tokens, of ${positionsMax} that this ${family} covers; shorten it so that there is room for an answer`,
      );
    }
    const ids: number[] = [];
    let next: ArrayLike<number> = prompt;
    while (ids.length < lengthMax) {
      signal?.throwIfAborted();
      if (cache.room < next.length) return { ids: Int32Array.from(ids), ending: 'positions' };
      const scores = await nextScores(model, cache, next, hooksOf);
      const id = chooseToken(scores, sampling, random);
      if (stopIds.has(id)) return { ids: Int32Array.from(ids), ending: 'stop' };
      ids.push(id);
      await onToken?.(id);
      next = [id];
    }
    return { ids: Int32Array.from(ids), ending: 'length' };
  } finally {
    cache.dispose();
  }
}

/** Scores `[vocabulary]` of what follows `ids`, which the cache has not seen yet. */
async function nextScores(
  model: BaseModel,
  cache: KeyValueCache,
  ids: ArrayLike<number>,
  hooksOf: (() => SiteHooks) | undefined,
): Promise<Float32Array> {
  const scores = tidy(() => {
    const row: Tensor2D = tensor2d(Int32Array.from(ids), [1, ids.length], 'int32');
    const hidden = cache.extend(row);
    const last = slice(hidden, [0, hidden.shape[1] - 1, 0], [1, 1, hidden.shape[2]]);
    return model.languageModelScores(last, hooksOf?.());
  });
  const values = (await scores.data()) as Float32Array;
  scores.dispose();
  return values;
}
