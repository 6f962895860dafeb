/**
 * What the decoders that came from Llama share: root-mean-square norms before the sublayers and after the last block, rotary positions, groups
 * of queries that share keys and values (Ainslie 2023), gated feed-forwards, an output matrix of its own or the word embedding.
 */
import { gatedSilu } from '../compute/gated-silu.ts';
import { type RotaryStretch, rotaryFrequencies } from '../compute/rotary.ts';
import { FederationError, FormatError } from '../core/errors.ts';
import type { Block } from './block.ts';
import type { CheckpointSpecification, TensorNeed } from './checkpoint.ts';
import {
  booleanField,
  type Configuration,
  positiveField,
  sectionField,
  sizeField,
  supportedField,
} from './configuration.ts';
import type { Architecture, ReadModel } from './family.ts';
import type { NamedOutput } from './named-weights.ts';
import { createTransformer } from './transformer.ts';
import { type Weights, weightsOf } from './weights.ts';

/** The targets of a decoder's block, in the order of the computation. */
const targets = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
type Target = (typeof targets)[number];

const modules: Readonly<Record<Target, string>> = {
  q: 'self_attn.q_proj',
  k: 'self_attn.k_proj',
  v: 'self_attn.v_proj',
  o: 'self_attn.o_proj',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  down: 'mlp.down_proj',
};
const headNorms = { q: 'self_attn.q_norm', k: 'self_attn.k_norm' } as const;

/** In what a family differs from the others. */
export interface DecoderSettings {
  readonly family: string;
  /** Width of a head where the configuration names none. Default: hidden size / heads. */
  readonly headSize?: number;
  /** Positions where the configuration names none. */
  readonly positionsMax: number;
  /** Targets with a bias. */
  readonly biases: readonly Target[];
  /** Whether every head of queries and keys has a norm. */
  readonly hasHeadNorms: boolean;
}

/** A family's reading of a decoder. @throws FormatError for what cannot be computed here. */
export function decoder(configuration: Configuration, settings: DecoderSettings): ReadModel {
  const architecture = architectureOf(configuration, settings);
  const { headSize, layerCount } = architecture;
  const epsilon = positiveField(configuration, 'rms_norm_eps', 1e-6);
  const isTied = booleanField(configuration, 'tie_word_embeddings', false);
  const frequencies = rotaryOf(configuration, headSize);
  supportedField(configuration, 'hidden_act', ['silu'], 'silu');
  supportedField(configuration, 'use_sliding_window', [false], false);
  refuseOtherLayers(configuration);
  return {
    architecture,
    checkpoint: checkpointOf(architecture, settings, isTied),
    headTensor: isTied ? null : 'lm_head.weight',
    build: (tensors, description, precision) => {
      const weights = weightsOf(tensors, precision);
      const words = weights.table('embed_tokens');
      return createTransformer({
        description,
        words: (ids, replaced) => words.rows(ids, replaced),
        embed: (states) => states,
        rotaryFrequencies: frequencies,
        blocks: Array.from({ length: layerCount }, (_, index) => blockOf(weights, index, settings, epsilon)),
        finalNorm: weights.rmsNorm('norm', epsilon),
        output: isTied ? words.output(null) : outputOf(weights),
        dispose: () => words.dispose(),
      });
    },
  };
}

function architectureOf(configuration: Configuration, settings: DecoderSettings): Architecture {
  const hiddenSize = sizeField(configuration, 'hidden_size');
  const feedForwardSize = sizeField(configuration, 'intermediate_size');
  const headCount = sizeField(configuration, 'num_attention_heads');
  const keyValueHeadCount = sizeField(configuration, 'num_key_value_heads', headCount);
  const headSize = sizeField(configuration, 'head_dim', settings.headSize ?? hiddenSize / headCount);
  if (headCount % keyValueHeadCount !== 0)
    throw badHeads(`num_key_value_heads is ${keyValueHeadCount}, which does not divide ${headCount} heads`);
  if (headSize % 2 !== 0) throw badHeads(`heads are ${headSize} wide; rotary positions need an even width`);
  const querySize = headCount * headSize;
  const keySize = keyValueHeadCount * headSize;
  const sizes: Readonly<Record<Target, readonly [number, number]>> = {
    q: [hiddenSize, querySize],
    k: [hiddenSize, keySize],
    v: [hiddenSize, keySize],
    o: [querySize, hiddenSize],
    gate: [hiddenSize, feedForwardSize],
    up: [hiddenSize, feedForwardSize],
    down: [feedForwardSize, hiddenSize],
  };
  return {
    family: settings.family,
    layerCount: sizeField(configuration, 'num_hidden_layers'),
    hiddenSize,
    headCount,
    keyValueHeadCount,
    headSize,
    feedForwardSize,
    vocabularySize: sizeField(configuration, 'vocab_size'),
    positionsMax: sizeField(configuration, 'max_position_embeddings', settings.positionsMax),
    norm: 'pre',
    causal: true,
    linearTargets: Object.fromEntries(
      targets.map((target) => {
        const [inSize, outSize] = sizes[target];
        return [target, { inSize, outSize, moduleName: modules[target] }];
      }),
    ),
  };
}

function badHeads(sentence: string): FormatError {
  return new FormatError('bad-configuration', `config.json: ${sentence}`);
}

/**
 * The frequencies of the rotary positions. Configurations say them in `rope_theta` and `rope_scaling`, newer ones in `rope_parameters` alone.
 */
function rotaryOf(configuration: Configuration, headSize: number): Float64Array {
  const parameters = sectionField(configuration, 'rope_parameters');
  const scaling = parameters ?? sectionField(configuration, 'rope_scaling');
  const theta = positiveField(parameters ?? configuration, 'rope_theta', 10_000);
  for (const section of [configuration, scaling ?? {}]) supportedField(section, 'partial_rotary_factor', [1], 1);
  if (scaling === null) return rotaryFrequencies(headSize, theta, null);
  const kind = supportedField(
    { 'rope_scaling.rope_type': scaling.rope_type ?? scaling.type },
    'rope_scaling.rope_type',
    ['default', 'llama3'],
    'default',
  );
  if (kind === 'default') return rotaryFrequencies(headSize, theta, null);
  const stretch: RotaryStretch = {
    factor: positiveField(scaling, 'factor', 8),
    lowFrequencyFactor: positiveField(scaling, 'low_freq_factor', 1),
    highFrequencyFactor: positiveField(scaling, 'high_freq_factor', 4),
    originalPositions: sizeField(scaling, 'original_max_position_embeddings'),
  };
  return rotaryFrequencies(headSize, theta, stretch);
}

/** Newer configurations list what every layer attends to. */
function refuseOtherLayers({ layer_types: types }: Configuration): void {
  if (types === undefined || types === null) return;
  for (const [index, type] of (Array.isArray(types) ? types : [types]).entries())
    supportedField({ [`layer_types[${index}]`]: type }, `layer_types[${index}]`, ['full_attention'], 'full_attention');
}

function blockOf(weights: Weights, layerIndex: number, { hasHeadNorms }: DecoderSettings, epsilon: number): Block {
  const stem = `layers.${layerIndex}`;
  const linear = (target: Target) => weights.linear(`${stem}.${modules[target]}`, 'out-in');
  const norm = (name: string) => weights.rmsNorm(`${stem}.${name}`, epsilon);
  return {
    projections: { kind: 'separate', q: linear('q'), k: linear('k'), v: linear('v') },
    ...(hasHeadNorms ? { headNorms: { q: norm(headNorms.q), k: norm(headNorms.k) } } : {}),
    o: linear('o'),
    feedForward: { kind: 'gated', gate: linear('gate'), up: linear('up'), activation: gatedSilu },
    down: linear('down'),
    norms: { attention: norm('input_layernorm'), feedForward: norm('post_attention_layernorm') },
  };
}

/** An output matrix of its own, which bare models lack. */
function outputOf(weights: Weights): NamedOutput {
  if (weights.has('lm_head.weight')) return weights.linear('lm_head', 'out-in');
  return {
    apply: () => {
      throw new FederationError(
        'no-language-model-head',
        'this checkpoint holds a bare decoder: it has no lm_head.weight, and config.json does not tie the word embeddings',
      );
    },
    dispose: () => {},
  };
}

function checkpointOf(
  { layerCount, hiddenSize, headSize, vocabularySize, linearTargets }: Architecture,
  { biases, hasHeadNorms }: DecoderSettings,
  isTied: boolean,
): CheckpointSpecification {
  const vector = (name: string, size: number): TensorNeed => ({ name, shape: [size] });
  const needs: TensorNeed[] = [
    { name: 'embed_tokens.weight', shape: [vocabularySize, hiddenSize] },
    vector('norm.weight', hiddenSize),
    ...(isTied
      ? []
      : [
          { name: 'lm_head.weight', shape: [vocabularySize, hiddenSize], isTransposed: true, optionalGroup: 'lm_head' },
        ]),
  ];
  for (let layerIndex = 0; layerIndex < layerCount; layerIndex++) {
    const stem = `layers.${layerIndex}`;
    for (const target of targets) {
      const { inSize, outSize } = linearTargets[target]!;
      needs.push({ name: `${stem}.${modules[target]}.weight`, shape: [outSize, inSize], isTransposed: true });
      if (biases.includes(target)) needs.push(vector(`${stem}.${modules[target]}.bias`, outSize));
    }
    for (const name of ['input_layernorm', 'post_attention_layernorm'])
      needs.push(vector(`${stem}.${name}.weight`, hiddenSize));
    if (hasHeadNorms)
      for (const name of Object.values(headNorms)) needs.push(vector(`${stem}.${name}.weight`, headSize));
  }
  return {
    prefix: 'model.',
    needs,
    // Buffers of old checkpoints, heads of other tasks, and the second copy of a tied output matrix.
    ignorable: isTied
      ? /^((layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq|(score|classifier|qa_outputs)\.(weight|bias)|lm_head\.weight)$/
      : /^((layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq|(score|classifier|qa_outputs)\.(weight|bias))$/,
  };
}
