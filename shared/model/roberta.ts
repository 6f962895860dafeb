/**
 * RoBERTa (Liu 2019): BERT's blocks, positions that count from behind the id of padding and leave padding out, and a head of its own; names
 * and order as Transformers has them (`RobertaModel`, `RobertaForMaskedLM`).
 */
import { add, cast, cumsum, mul, notEqual, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import { bertBlocks } from './bert.ts';
import { headCountField, indexField, positiveField, sizeField, supportedField } from './configuration.ts';
import { type EncoderNames, encoder, encoderActivation } from './encoder.ts';
import type { Family } from './family.ts';
import type { NamedTable } from './named-weights.ts';
import type { Placement } from './transformer.ts';

const names: EncoderNames = {
  ...bertBlocks,
  prefix: 'roberta.',
  head: { dense: 'lm_head.dense', norm: 'lm_head.layer_norm', bias: 'lm_head.bias' },
  // Buffers, heads of other tasks, and second copies of tied tensors.
  ignorable:
    /^(embeddings\.position_ids|(pooler\.dense|lm_head\.decoder|classifier(\.dense|\.out_proj)?|qa_outputs)\.(weight|bias))$/,
};

/** Reads a RoBERTa configuration. */
export const roberta: Family = (configuration) => {
  const hiddenSize = sizeField(configuration, 'hidden_size');
  const paddingId = indexField(configuration, 'pad_token_id', 1);
  supportedField(configuration, 'position_embedding_type', ['absolute'], 'absolute');
  supportedField(configuration, 'is_decoder', [false], false);
  supportedField(configuration, 'add_cross_attention', [false], false);
  supportedField(configuration, 'tie_word_embeddings', [true], true);
  return encoder({
    family: 'roberta',
    layerCount: sizeField(configuration, 'num_hidden_layers'),
    hiddenSize,
    headCount: headCountField(configuration, 'num_attention_heads', hiddenSize),
    feedForwardSize: sizeField(configuration, 'intermediate_size'),
    vocabularySize: sizeField(configuration, 'vocab_size'),
    positionCount: sizeField(configuration, 'max_position_embeddings'),
    positionStart: paddingId + 1,
    typeCount: sizeField(configuration, 'type_vocab_size', 2),
    epsilon: positiveField(configuration, 'layer_norm_eps', 1e-12),
    activation: encoderActivation(configuration, 'hidden_act'),
    names,
    positionsOf: (table, placement, length) => positionsOf(table, placement, length, paddingId),
  });
};

/** Positions that leave padding out; where vectors without ids stand in front, positions just count, as in the published code. */
function positionsOf(
  table: NamedTable,
  { batch: { inputIds }, start, added, replaced }: Placement,
  length: number,
  paddingId: number,
): Tensor2D | Tensor3D {
  if (added > 0) return table.stretch(paddingId + 1 + start, length, replaced);
  const isToken = cast(notEqual(inputIds, paddingId), 'int32');
  const counted = add(mul(add(cumsum(isToken, 1), start), isToken), paddingId);
  return table.rows(cast(counted, 'int32') as Tensor2D, replaced);
}
