/**
 * BERT (Devlin 2019): encoder with layer norms after the residual sums, learned positions, token types; names and order as Transformers has
 * them (`BertModel`, `BertForMaskedLM`). The pooler and the next-sentence head are not read.
 */
import { add, pad, reshape, slice, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import { geluErf, geluTanh } from '../compute/gelu.ts';
import { tiedOutput } from '../compute/products.ts';
import { FederationError } from '../core/errors.ts';
import type { TokenBatch } from './base-model.ts';
import type { CheckpointSpecification, TensorNeed } from './checkpoint.ts';
import { type Configuration, headCountField, positiveField, sizeField, supportedField } from './configuration.ts';
import type { Architecture, Family } from './family.ts';
import { type Block, createTransformer } from './transformer.ts';
import { rowsOf, type Weights, weightsOf } from './weights.ts';

const modules = {
  q: 'attention.self.query',
  k: 'attention.self.key',
  v: 'attention.self.value',
  o: 'attention.output.dense',
  up: 'intermediate.dense',
  down: 'output.dense',
} as const;
const transform = 'cls.predictions.transform';

/** Reads a BERT configuration. */
export const bert: Family = (configuration) => {
  const hiddenSize = sizeField(configuration, 'hidden_size');
  const feedForwardSize = sizeField(configuration, 'intermediate_size');
  const headCount = headCountField(configuration, 'num_attention_heads', hiddenSize);
  const architecture: Architecture = {
    family: 'bert',
    layerCount: sizeField(configuration, 'num_hidden_layers'),
    hiddenSize,
    headCount,
    keyValueHeadCount: headCount,
    headSize: hiddenSize / headCount,
    feedForwardSize,
    vocabularySize: sizeField(configuration, 'vocab_size'),
    positionsMax: sizeField(configuration, 'max_position_embeddings'),
    norm: 'post',
    causal: false,
    linearTargets: {
      q: { inSize: hiddenSize, outSize: hiddenSize, moduleName: modules.q },
      k: { inSize: hiddenSize, outSize: hiddenSize, moduleName: modules.k },
      v: { inSize: hiddenSize, outSize: hiddenSize, moduleName: modules.v },
      o: { inSize: hiddenSize, outSize: hiddenSize, moduleName: modules.o },
      up: { inSize: hiddenSize, outSize: feedForwardSize, moduleName: modules.up },
      down: { inSize: feedForwardSize, outSize: hiddenSize, moduleName: modules.down },
    },
  };
  const typeCount = sizeField(configuration, 'type_vocab_size', 2);
  const epsilon = positiveField(configuration, 'layer_norm_eps', 1e-12);
  const activation = activationOf(configuration);
  supportedField(configuration, 'position_embedding_type', ['absolute'], 'absolute');
  supportedField(configuration, 'is_decoder', [false], false);
  supportedField(configuration, 'add_cross_attention', [false], false);
  supportedField(configuration, 'tie_word_embeddings', [true], true);
  return {
    architecture,
    checkpoint: checkpointOf(architecture, typeCount),
    build: (tensors, description) => {
      const weights = weightsOf(tensors);
      const words = weights.matrix('embeddings.word_embeddings.weight');
      const positions = weights.matrix('embeddings.position_embeddings.weight');
      const types = weights.matrix('embeddings.token_type_embeddings.weight');
      const norm = weights.norm('embeddings.LayerNorm', epsilon);
      const head = weights.has(`${transform}.dense.weight`) ? headOf(weights, words, epsilon, activation) : null;
      return createTransformer({
        description,
        words: (ids) => rowsOf(words, ids),
        embed: (states, { batch, start, added }) => {
          const placed = add(states, slice(positions, start, states.shape[1]));
          const typed = add(placed, typesOf(types, batch, added)) as Tensor3D;
          return reshape(norm.apply(reshape(typed, [-1, hiddenSize])), states.shape);
        },
        blocks: Array.from({ length: architecture.layerCount }, (_, index) =>
          blockOf(weights, index, epsilon, activation),
        ),
        finalNorm: null,
        scores: (rows) => {
          if (head === null)
            throw new FederationError(
              'no-language-model-head',
              'this checkpoint holds a bare encoder: it has no cls.predictions tensors',
            );
          return head.apply(rows);
        },
        dispose: () => {
          for (const part of [words, positions, types, norm, head]) part?.dispose();
        },
      });
    },
  };
};

/** Vectors of the token types; what stands in front of the tokens is of the first, as are tokens of whom nothing is said. */
function typesOf(types: Tensor2D, { tokenTypeIds }: TokenBatch, added: number): Tensor2D | Tensor3D {
  if (tokenTypeIds === undefined) return slice(types, 0, 1);
  const front: [number, number] = [added, 0];
  return rowsOf(types, added === 0 ? tokenTypeIds : pad(tokenTypeIds, [[0, 0], front]));
}

function activationOf(configuration: Configuration): Block['activation'] {
  const name = supportedField(configuration, 'hidden_act', ['gelu', 'gelu_new', 'gelu_pytorch_tanh'], 'gelu');
  return name === 'gelu' ? geluErf : geluTanh;
}

/** The masked-language-model head: dense, activation, layer norm, and the word embeddings as output matrix. */
function headOf(weights: Weights, words: Tensor2D, epsilon: number, activation: Block['activation']) {
  const dense = weights.linear(`${transform}.dense`, 'out-in');
  const norm = weights.norm(`${transform}.LayerNorm`, epsilon);
  const decoder = tiedOutput(words, weights.vector('cls.predictions.bias'));
  return {
    apply: (rows: Tensor2D): Tensor2D => decoder.apply(norm.apply(activation(dense.apply(rows)))),
    dispose: () => {
      for (const part of [dense, norm, decoder]) part.dispose();
    },
  };
}

function blockOf(weights: Weights, layerIndex: number, epsilon: number, activation: Block['activation']): Block {
  const stem = `encoder.layer.${layerIndex}`;
  const linear = (target: keyof typeof modules) => weights.linear(`${stem}.${modules[target]}`, 'out-in');
  return {
    projections: { kind: 'separate', q: linear('q'), k: linear('k'), v: linear('v') },
    o: linear('o'),
    up: linear('up'),
    activation,
    down: linear('down'),
    norms: {
      attention: weights.norm(`${stem}.attention.output.LayerNorm`, epsilon),
      feedForward: weights.norm(`${stem}.output.LayerNorm`, epsilon),
    },
  };
}

function checkpointOf(architecture: Architecture, typeCount: number): CheckpointSpecification {
  const { layerCount, hiddenSize, vocabularySize, positionsMax, linearTargets } = architecture;
  const head = { optionalGroup: 'cls.predictions' };
  const needs: TensorNeed[] = [
    { name: 'embeddings.word_embeddings.weight', shape: [vocabularySize, hiddenSize] },
    { name: 'embeddings.position_embeddings.weight', shape: [positionsMax, hiddenSize] },
    { name: 'embeddings.token_type_embeddings.weight', shape: [typeCount, hiddenSize] },
    ...normNeeds('embeddings.LayerNorm', hiddenSize),
    { name: 'cls.predictions.bias', shape: [vocabularySize], ...head },
    { name: `${transform}.dense.weight`, shape: [hiddenSize, hiddenSize], ...head },
    { name: `${transform}.dense.bias`, shape: [hiddenSize], ...head },
    ...normNeeds(`${transform}.LayerNorm`, hiddenSize).map((need) => ({ ...need, ...head })),
  ];
  for (let layerIndex = 0; layerIndex < layerCount; layerIndex++) {
    const stem = `encoder.layer.${layerIndex}`;
    for (const { inSize, outSize, moduleName } of Object.values(linearTargets)) {
      needs.push({ name: `${stem}.${moduleName}.weight`, shape: [outSize, inSize] });
      needs.push({ name: `${stem}.${moduleName}.bias`, shape: [outSize] });
    }
    needs.push(
      ...normNeeds(`${stem}.attention.output.LayerNorm`, hiddenSize),
      ...normNeeds(`${stem}.output.LayerNorm`, hiddenSize),
    );
  }
  return {
    prefix: 'bert.',
    needs,
    // Buffers, heads of other tasks, and second copies of tied tensors.
    ignorable:
      /^(embeddings\.position_ids|(pooler\.dense|cls\.seq_relationship|cls\.predictions\.decoder|classifier|qa_outputs)\.(weight|bias))$/,
    // Checkpoints converted from TensorFlow keep its names of gain and bias.
    currentName: (name) =>
      name.replace(/LayerNorm\.gamma$/, 'LayerNorm.weight').replace(/LayerNorm\.beta$/, 'LayerNorm.bias'),
  };
}

function normNeeds(name: string, hiddenSize: number): TensorNeed[] {
  return ['weight', 'bias'].map((part) => ({ name: `${name}.${part}`, shape: [hiddenSize] }));
}
