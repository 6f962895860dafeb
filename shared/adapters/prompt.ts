/**
 * Prompt tuning (Lester 2021, section 2): trained vectors P `[length, hidden]` stand in front of the words X of every text, as if they
 * were words: the base reads X' = [P; X] `[length + sequence, hidden]`. They get positions and norms as words do (`words`, as PEFT), or enter the first layer as they are (`embeddings`, as AdapterHub).
 * The states that leave the base are longer by them; heads read those of the text. It does not start as an identity: the text attends to
 * them.
 */
import { concat, onesLike, reshape, slice, type Tensor2D, type Tensor3D, tile } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import type { BaseDescription, MaskedStates } from '../model/base-model.ts';
import { choiceField, sectionField, wholeField } from '../plan/fields.ts';
import { kaimingUniform, normalValues } from './initial-values.ts';
import type { AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { parseSettings, refuseSettings } from './settings.ts';

/** Settings of `prompt` with defaults filled in. */
export interface PromptConfiguration {
  /** Vectors in front of every text. Default 10. */
  readonly length: number;
  /** Where they enter. Default `words`. */
  readonly place: 'words' | 'embeddings';
  /** `normal` (default): N(0, 0.02²), as word vectors start. `uniform`: in ±0.5, as AdapterHub's start. */
  readonly initialisation: 'normal' | 'uniform';
}

const schema = sectionField({
  length: z._default(wholeField(1, 4096), 10),
  place: z._default(choiceField(['words', 'embeddings']), 'words'),
  initialisation: z._default(choiceField(['normal', 'uniform']), 'normal'),
});

function parse(value: unknown, base: BaseDescription): PromptConfiguration {
  const settings = parseSettings('prompt', schema, value);
  const { positionsMax, family } = base;
  if (settings.length >= positionsMax) {
    const sentence = `must be below ${positionsMax}, the positions of this ${family}, found ${settings.length}`;
    refuseSettings('prompt', [{ path: 'length', sentence }]);
  }
  return settings;
}

const name = 'prompt.embedding';

/** `states` and `mask` with the prompt in front of every row. */
function inFront(prompt: Tensor2D, states: Tensor3D, mask: Tensor2D): MaskedStates {
  const [batchSize, , hiddenSize] = states.shape;
  const [length] = prompt.shape;
  const repeated: Tensor3D = reshape(tile(prompt, [batchSize, 1]), [batchSize, length, hiddenSize]);
  const seen = tile(onesLike(slice(mask, [0, 0], [batchSize, 1])), [1, length]);
  return { states: concat([repeated, states], 1), mask: concat([seen, mask], 1) };
}

/** The method `prompt`. */
export const prompt: AdapterMethod<PromptConfiguration> = {
  name: 'prompt',
  parse,
  layout: ({ hiddenSize }, { length }) => [
    { name, shape: [length, hiddenSize], aggregationClass: 'mean', decays: true },
  ],
  initialise: ({ shape }, { initialisation }, random) =>
    initialisation === 'uniform' ? kaimingUniform(shape, 4, random) : normalValues(shape, 0.02, random),
  hooks: (_, { place }, context) => ({
    [place === 'words' ? 'words' : 'embedding']: (states: Tensor3D, mask: Tensor2D) =>
      inFront(tensorOf<Tensor2D>(context, name), states, mask),
  }),
  virtualTokens: ({ length }) => length,
};
