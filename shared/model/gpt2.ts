/**
 * GPT-2 (Radford 2019): decoder with layer norms before the sublayers and one after the last, learned positions, fused query-key-value map,
 * output matrix tied to the embedding; names and order as Transformers has them (`GPT2Model`, `GPT2LMHeadModel`).
 */
import { add, type Tensor2D } from '@tensorflow/tfjs-core';
import { geluErf, geluTanh } from '../compute/gelu.ts';
import type { Block } from './block.ts';
import type { CheckpointSpecification, TensorNeed } from './checkpoint.ts';
import { headCountField, positiveField, sizeField, supportedField } from './configuration.ts';
import { normNeeds } from './encoder.ts';
import type { Architecture, Family } from './family.ts';
import { createTransformer } from './transformer.ts';
import { type Weights, weightsOf } from './weights.ts';

type Activation = typeof geluErf<Tensor2D>;

const modules = { qkv: 'attn.c_attn', o: 'attn.c_proj', up: 'mlp.c_fc', down: 'mlp.c_proj' } as const;

/** Reads a GPT-2 configuration. */
export const gpt2: Family = (configuration) => {
  const hiddenSize = sizeField(configuration, 'n_embd');
  const feedForwardSize = sizeField(configuration, 'n_inner', 4 * hiddenSize);
  const headCount = headCountField(configuration, 'n_head', hiddenSize);
  const third = { inSize: hiddenSize, outSize: hiddenSize, moduleName: modules.qkv };
  const architecture: Architecture = {
    family: 'gpt2',
    layerCount: sizeField(configuration, 'n_layer'),
    hiddenSize,
    headCount,
    keyValueHeadCount: headCount,
    headSize: hiddenSize / headCount,
    feedForwardSize,
    vocabularySize: sizeField(configuration, 'vocab_size'),
    positionsMax: sizeField(configuration, 'n_positions'),
    norm: 'pre',
    causal: true,
    linearTargets: {
      q: third,
      k: third,
      v: third,
      qkv: { inSize: hiddenSize, outSize: 3 * hiddenSize, moduleName: modules.qkv },
      o: { inSize: hiddenSize, outSize: hiddenSize, moduleName: modules.o },
      up: { inSize: hiddenSize, outSize: feedForwardSize, moduleName: modules.up },
      down: { inSize: feedForwardSize, outSize: hiddenSize, moduleName: modules.down },
    },
  };
  const epsilon = positiveField(configuration, 'layer_norm_epsilon', 1e-5);
  const activationName = supportedField(
    configuration,
    'activation_function',
    ['gelu_new', 'gelu_pytorch_tanh', 'gelu'],
    'gelu_new',
  );
  const activation: Activation = activationName === 'gelu' ? geluErf : geluTanh;
  supportedField(configuration, 'scale_attn_weights', [true], true);
  supportedField(configuration, 'scale_attn_by_inverse_layer_idx', [false], false);
  supportedField(configuration, 'add_cross_attention', [false], false);
  supportedField(configuration, 'tie_word_embeddings', [true], true);
  return {
    architecture,
    checkpoint: checkpointOf(architecture),
    headTensor: null,
    build: (tensors, description, precision) => {
      const weights = weightsOf(tensors, precision);
      const words = weights.table('wte');
      const positions = weights.table('wpe');
      return createTransformer({
        description,
        words: (ids, replaced) => words.rows(ids, replaced),
        embed: (states, { start, replaced }) => add(states, positions.stretch(start, states.shape[1], replaced)),
        blocks: Array.from({ length: architecture.layerCount }, (_, index) =>
          blockOf(weights, index, epsilon, activation),
        ),
        finalNorm: weights.norm('ln_f', epsilon),
        output: words.output(null),
        dispose: () => {
          words.dispose();
          positions.dispose();
        },
      });
    },
  };
};

function blockOf(weights: Weights, layerIndex: number, epsilon: number, activation: Activation): Block {
  const stem = `h.${layerIndex}`;
  const linear = (target: keyof typeof modules) => weights.linear(`${stem}.${modules[target]}`, 'in-out');
  return {
    projections: { kind: 'fused', qkv: linear('qkv') },
    o: linear('o'),
    feedForward: { kind: 'plain', up: linear('up'), activation },
    down: linear('down'),
    norms: { attention: weights.norm(`${stem}.ln_1`, epsilon), feedForward: weights.norm(`${stem}.ln_2`, epsilon) },
  };
}

function checkpointOf({
  layerCount,
  hiddenSize,
  vocabularySize,
  positionsMax,
  linearTargets,
}: Architecture): CheckpointSpecification {
  const needs: TensorNeed[] = [
    { name: 'wte.weight', shape: [vocabularySize, hiddenSize] },
    { name: 'wpe.weight', shape: [positionsMax, hiddenSize] },
    ...normNeeds('ln_f', hiddenSize),
  ];
  for (let layerIndex = 0; layerIndex < layerCount; layerIndex++) {
    const stem = `h.${layerIndex}`;
    needs.push(...normNeeds(`${stem}.ln_1`, hiddenSize), ...normNeeds(`${stem}.ln_2`, hiddenSize));
    for (const target of Object.keys(modules) as (keyof typeof modules)[]) {
      const { inSize, outSize, moduleName } = linearTargets[target]!;
      needs.push({ name: `${stem}.${moduleName}.weight`, shape: [inSize, outSize] });
      needs.push({ name: `${stem}.${moduleName}.bias`, shape: [outSize] });
    }
  }
  return {
    prefix: 'transformer.',
    needs,
    // Buffers of the causal mask, the tied output matrix, and heads of other tasks.
    ignorable: /^(h\.\d+\.attn\.(bias|masked_bias)|lm_head\.weight|(score|classifier|qa_outputs)\.(weight|bias))$/,
  };
}
