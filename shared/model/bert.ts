/**
 * BERT (Devlin 2019): encoder with layer norms after the residual sums, learned positions, token types; names and order as Transformers has
 * them (`BertModel`, `BertForMaskedLM`). The pooler and the next-sentence head are not read.
 */
import { headCountField, positiveField, sizeField, supportedField } from './configuration.ts';
import { type EncoderNames, encoder, encoderActivation } from './encoder.ts';
import type { Family } from './family.ts';

/** Names within a block, which RoBERTa has kept. */
export const bertBlocks = {
  blocks: 'encoder.layer',
  modules: {
    q: 'attention.self.query',
    k: 'attention.self.key',
    v: 'attention.self.value',
    o: 'attention.output.dense',
    up: 'intermediate.dense',
    down: 'output.dense',
  },
  norms: { attention: 'attention.output.LayerNorm', feedForward: 'output.LayerNorm' },
} as const satisfies Partial<EncoderNames>;

const names: EncoderNames = {
  ...bertBlocks,
  prefix: 'bert.',
  head: {
    dense: 'cls.predictions.transform.dense',
    norm: 'cls.predictions.transform.LayerNorm',
    bias: 'cls.predictions.bias',
  },
  // Buffers, heads of other tasks, and second copies of tied tensors.
  ignorable:
    /^(embeddings\.position_ids|(pooler\.dense|cls\.seq_relationship|cls\.predictions\.decoder|classifier|qa_outputs)\.(weight|bias))$/,
};

/** Reads a BERT configuration. */
export const bert: Family = (configuration) => {
  const hiddenSize = sizeField(configuration, 'hidden_size');
  supportedField(configuration, 'position_embedding_type', ['absolute'], 'absolute');
  supportedField(configuration, 'is_decoder', [false], false);
  supportedField(configuration, 'add_cross_attention', [false], false);
  supportedField(configuration, 'tie_word_embeddings', [true], true);
  return encoder({
    family: 'bert',
    layerCount: sizeField(configuration, 'num_hidden_layers'),
    hiddenSize,
    headCount: headCountField(configuration, 'num_attention_heads', hiddenSize),
    feedForwardSize: sizeField(configuration, 'intermediate_size'),
    vocabularySize: sizeField(configuration, 'vocab_size'),
    positionCount: sizeField(configuration, 'max_position_embeddings'),
    positionStart: 0,
    typeCount: sizeField(configuration, 'type_vocab_size', 2),
    epsilon: positiveField(configuration, 'layer_norm_eps', 1e-12),
    activation: encoderActivation(configuration, 'hidden_act'),
    names,
  });
};
