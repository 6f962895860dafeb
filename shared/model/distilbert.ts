/**
 * DistilBERT (Sanh 2019): BERT without token types and with names of its own, as Transformers has them (`DistilBertModel`,
 * `DistilBertForMaskedLM`). A table of sinusoidal positions is read like a learned one, since checkpoints hold it.
 */
import { headCountField, sizeField, supportedField } from './configuration.ts';
import { type EncoderNames, encoder, encoderActivation } from './encoder.ts';
import type { Family } from './family.ts';

const names: EncoderNames = {
  prefix: 'distilbert.',
  blocks: 'transformer.layer',
  modules: {
    q: 'attention.q_lin',
    k: 'attention.k_lin',
    v: 'attention.v_lin',
    o: 'attention.out_lin',
    up: 'ffn.lin1',
    down: 'ffn.lin2',
  },
  norms: { attention: 'sa_layer_norm', feedForward: 'output_layer_norm' },
  head: { dense: 'vocab_transform', norm: 'vocab_layer_norm', bias: 'vocab_projector.bias' },
  // Buffers, heads of other tasks, and the tied output matrix.
  ignorable:
    /^(embeddings\.position_ids|vocab_projector\.weight|(pre_classifier|classifier|qa_outputs)\.(weight|bias))$/,
};

/** Reads a DistilBERT configuration. */
export const distilbert: Family = (configuration) => {
  const hiddenSize = sizeField(configuration, 'dim');
  supportedField(configuration, 'tie_word_embeddings', [true], true);
  return encoder({
    family: 'distilbert',
    layerCount: sizeField(configuration, 'n_layers'),
    hiddenSize,
    headCount: headCountField(configuration, 'n_heads', hiddenSize),
    feedForwardSize: sizeField(configuration, 'hidden_dim', 4 * hiddenSize),
    vocabularySize: sizeField(configuration, 'vocab_size'),
    positionCount: sizeField(configuration, 'max_position_embeddings'),
    positionStart: 0,
    typeCount: 0,
    epsilon: 1e-12,
    activation: encoderActivation(configuration, 'activation'),
    names,
  });
};
