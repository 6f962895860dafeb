/** Prompt tuning in AdapterHub's files: one embedding `[length, hidden]`, whose rows stand in front of the embedded text. */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { type PromptConfiguration, prompt } from '../prompt.ts';
import type { BoundAdapter } from '../registry.ts';
import type { AdapterHubMethod } from './adapterhub-method.ts';
import { anything, count, oneOf } from './config-fields.ts';

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): PromptConfiguration {
  const { method: _, ...settings } = configuration;
  return prompt.parse(settings, base);
}

/** The architecture `prompt_tuning`. */
export const adapterHubPrompt: AdapterHubMethod = {
  method: 'prompt',
  recognises: (architecture) => architecture === 'prompt_tuning',
  rules: {
    prompt_length: count,
    prompt_init: anything,
    prompt_init_text: anything,
    random_uniform_scale: anything,
    combine: oneOf('prefix'),
    init_weights_seed: anything,
  },
  read: (configuration) => ({
    method: 'prompt',
    length: configuration.prompt_length ?? 10,
    place: 'embeddings',
    initialisation: 'uniform',
  }),
  write: (adapter, base) => {
    const { length, place } = configurationOf(adapter, base);
    if (place !== 'embeddings') {
      throw new UsageError(
        'not-exportable',
        'AdapterHub puts prompts behind the embeddings, this one stands before words; train with place embeddings, or take --format peft',
      );
    }
    return {
      architecture: 'prompt_tuning',
      combine: 'prefix',
      init_weights_seed: null,
      prompt_init: 'random_uniform',
      prompt_init_text: null,
      prompt_length: length,
    };
  },
  tensors: (adapter, base, { prefix, name }) => {
    const { length } = configurationOf(adapter, base);
    return [
      {
        name: `${prefix}prompt_tuning.prompt_tunings.${name}.prompt_embedding.weight`,
        shape: [length, base.hiddenSize],
        parts: ['prompt.embedding'],
        transposed: false,
      },
    ];
  },
};
