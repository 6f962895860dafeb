/**
 * Prompt and prefix tuning in PEFT's files: one tensor `prompt_embeddings`, of a prompt `[n, hidden]`, of a prefix `[n, 2 L width]` with keys
 * and values of layer 0, then those of layer 1, side by side. PEFT has prefixes in every layer and counts positions on behind them.
 */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { type PrefixConfiguration, prefix } from '../prefix.ts';
import { type PromptConfiguration, prompt } from '../prompt.ts';
import type { BoundAdapter } from '../registry.ts';
import { anything, count, type FieldRules, off, oneOf } from './config-fields.ts';
import type { PeftMethod } from './peft-method.ts';
import type { PythonValue } from './python-json.ts';

const commonRules: FieldRules = {
  num_virtual_tokens: count,
  token_dim: anything,
  num_transformer_submodules: oneOf(1, null),
  num_attention_heads: anything,
  num_layers: anything,
};

/** What PEFT writes about the model. */
function modelFields(
  { layerCount }: BaseDescription,
  sizes: { readonly length: number; readonly width: number; readonly headCount: number },
): Record<string, PythonValue> {
  return {
    num_attention_heads: sizes.headCount,
    num_layers: layerCount,
    num_transformer_submodules: 1,
    num_virtual_tokens: sizes.length,
    token_dim: sizes.width,
  };
}

function settingsOf({ configuration }: BoundAdapter): unknown {
  const { method: _, ...settings } = configuration;
  return settings;
}

function promptOf(adapter: BoundAdapter, base: BaseDescription): PromptConfiguration {
  return prompt.parse(settingsOf(adapter), base);
}

function prefixOf(adapter: BoundAdapter, base: BaseDescription): PrefixConfiguration {
  return prefix.parse(settingsOf(adapter), base);
}

/** The type `PROMPT_TUNING`. */
export const peftPrompt: PeftMethod = {
  type: 'PROMPT_TUNING',
  methods: ['prompt'],
  hasSavedModules: false,
  rules: {
    ...commonRules,
    prompt_tuning_init: anything,
    prompt_tuning_init_text: anything,
    tokenizer_kwargs: anything,
    tokenizer_name_or_path: anything,
  },
  read: (configuration) => ({ method: 'prompt', length: configuration.num_virtual_tokens, place: 'words' }),
  write: (adapter, base) => {
    const { length, place } = promptOf(adapter, base);
    if (place !== 'words') {
      throw new UsageError(
        'not-exportable',
        'PEFT puts prompts before words, this one stands behind the embeddings; train with place words, or take --format adapterhub',
      );
    }
    return {
      ...modelFields(base, { length, width: base.hiddenSize, headCount: base.headCount }),
      prompt_tuning_init: 'RANDOM',
      prompt_tuning_init_text: null,
      tokenizer_kwargs: null,
      tokenizer_name_or_path: null,
    };
  },
  tensors: (adapter, base) => {
    const { length } = promptOf(adapter, base);
    return [
      { name: 'prompt_embeddings', shape: [length, base.hiddenSize], parts: ['prompt.embedding'], transposed: false },
    ];
  },
};

/** The type `PREFIX_TUNING`. */
export const peftPrefix: PeftMethod = {
  type: 'PREFIX_TUNING',
  methods: ['prefix'],
  hasSavedModules: false,
  rules: { ...commonRules, encoder_hidden_size: anything, prefix_projection: off },
  read: (configuration) => ({ method: 'prefix', length: configuration.num_virtual_tokens, positions: 'shifted' }),
  write: (adapter, base) => {
    const { length, positions, layers } = prefixOf(adapter, base);
    const problem =
      positions === 'shifted'
        ? layers.length === base.layerCount
          ? null
          : `has prefixes in every layer, this adapter in ${layers.length} of ${base.layerCount}`
        : 'counts positions on behind a prefix, this adapter keeps those of the text (train with positions shifted)';
    if (problem !== null) throw new UsageError('not-exportable', `PEFT ${problem}; --format tributary holds it`);
    const width = base.keyValueHeadCount * base.headSize;
    return {
      ...modelFields(base, { length, width, headCount: base.keyValueHeadCount }),
      encoder_hidden_size: width,
      prefix_projection: false,
    };
  },
  toFile: ({ adapter, values }) => {
    if (adapter.eject === undefined) return { adapter, values };
    const ejected = adapter.eject(values);
    return { adapter: ejected.adapter, values: ejected.parameters };
  },
  tensors: (adapter, base) => {
    const { length, layers } = prefixOf(adapter, base);
    const width = base.keyValueHeadCount * base.headSize;
    return [
      {
        name: 'prompt_embeddings',
        shape: [length, 2 * layers.length * width],
        parts: layers.flatMap((layer) => [`layers.${layer}.prefix.keys`, `layers.${layer}.prefix.values`]),
        transposed: false,
        rows: length,
      },
    ];
  },
};
