/**
 * What the encoders that came from BERT share: layer norms after the residual sums, learned positions, a masked-language-model head of a
 * dense map, an activation, a norm and the word embeddings as output matrix. A family says how its parts are called.
 */
import { add, pad, reshape, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import { geluErf, geluTanh } from '../compute/gelu.ts';
import { FederationError } from '../core/errors.ts';
import type { LinearTarget } from './base-model.ts';
import type { Block } from './block.ts';
import type { CheckpointSpecification, TensorNeed } from './checkpoint.ts';
import { type Configuration, supportedField } from './configuration.ts';
import type { Architecture, ReadModel } from './family.ts';
import type { NamedOutput, NamedTable } from './named-weights.ts';
import { createTransformer, type Placement } from './transformer.ts';
import { type Weights, weightsOf } from './weights.ts';

/** The targets of an encoder's block, in the order of the computation. */
const targets = ['q', 'k', 'v', 'o', 'up', 'down'] as const;

/** How a family calls its parts; the names of a block are relative to it. */
export interface EncoderNames {
  /** That of models with a head. */
  readonly prefix: string;
  /** `encoder.layer`. */
  readonly blocks: string;
  readonly modules: Readonly<Record<(typeof targets)[number], string>>;
  readonly norms: Readonly<Record<'attention' | 'feedForward', string>>;
  /** Parts of the masked-language-model head; the output matrix is the word embedding. */
  readonly head: { readonly dense: string; readonly norm: string; readonly bias: string };
  /** Names without prefix that may be there and are not read. */
  readonly ignorable: RegExp;
}

/** An encoder as its family read it. */
export interface EncoderSettings {
  readonly family: string;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly headCount: number;
  readonly feedForwardSize: number;
  readonly vocabularySize: number;
  /** Rows of the table of positions. */
  readonly positionCount: number;
  /** The row of the first token. */
  readonly positionStart: number;
  /** Token types; 0 where the family has none. */
  readonly typeCount: number;
  readonly epsilon: number;
  readonly activation: (input: Tensor2D) => Tensor2D;
  readonly names: EncoderNames;
  /** Vectors of the positions, `[sequence, hidden]` or `[batch, sequence, hidden]`; by default the rows in their order. */
  readonly positionsOf?: (table: NamedTable, placement: Placement, length: number) => Tensor2D | Tensor3D;
}

const tables = {
  words: 'embeddings.word_embeddings',
  positions: 'embeddings.position_embeddings',
  types: 'embeddings.token_type_embeddings',
  norm: 'embeddings.LayerNorm',
} as const;

/** The activation that `field` names. @throws FormatError `unsupported-configuration`. */
export function encoderActivation(configuration: Configuration, field: string): EncoderSettings['activation'] {
  const name = supportedField(configuration, field, ['gelu', 'gelu_new', 'gelu_pytorch_tanh'], 'gelu');
  return name === 'gelu' ? geluErf : geluTanh;
}

/** A family's reading of an encoder. */
export function encoder(settings: EncoderSettings): ReadModel {
  const { hiddenSize, headCount, feedForwardSize, layerCount, epsilon, names } = settings;
  const sizes: Readonly<Partial<Record<LinearTarget, readonly [number, number]>>> = {
    up: [hiddenSize, feedForwardSize],
    down: [feedForwardSize, hiddenSize],
  };
  const architecture: Architecture = {
    family: settings.family,
    layerCount,
    hiddenSize,
    headCount,
    keyValueHeadCount: headCount,
    headSize: hiddenSize / headCount,
    feedForwardSize,
    vocabularySize: settings.vocabularySize,
    positionsMax: settings.positionCount - settings.positionStart,
    norm: 'post',
    causal: false,
    linearTargets: Object.fromEntries(
      targets.map((target) => {
        const [inSize, outSize] = sizes[target] ?? [hiddenSize, hiddenSize];
        return [target, { inSize, outSize, moduleName: names.modules[target] }];
      }),
    ),
  };
  return {
    architecture,
    checkpoint: checkpointOf(architecture, settings),
    headTensor: settings.names.head.bias,
    build: (tensors, description, precision) => {
      const weights = weightsOf(tensors, precision);
      const words = weights.table(tables.words);
      const positions = weights.table(tables.positions);
      const types = settings.typeCount === 0 ? null : weights.table(tables.types);
      const norm = weights.norm(tables.norm, epsilon);
      const positionsOf = settings.positionsOf ?? inOrder;
      return createTransformer({
        description,
        words: (ids, replaced) => words.rows(ids, replaced),
        embed: (states, placement) => {
          const placed = add(states, positionsOf(positions, placement, states.shape[1]));
          const typed = types === null ? placed : add(placed, typesOf(types, placement));
          const rows = norm.apply(reshape(typed, [-1, hiddenSize]), placement.replaced);
          return reshape(rows, states.shape);
        },
        blocks: Array.from({ length: layerCount }, (_, index) => blockOf(weights, index, settings)),
        finalNorm: null,
        output: outputOf(weights, words, settings),
        dispose: () => {
          for (const part of [words, positions, types, norm]) part?.dispose();
        },
      });
    },
  };
}

function inOrder(table: NamedTable, { start, replaced }: Placement, length: number): Tensor2D {
  return table.stretch(start, length, replaced);
}

/** Vectors of the token types; what stands in front of the tokens is of the first, as are tokens of whom nothing is said. */
function typesOf(types: NamedTable, { batch: { tokenTypeIds }, added, replaced }: Placement): Tensor2D | Tensor3D {
  if (tokenTypeIds === undefined) return types.stretch(0, 1, replaced);
  const front: [number, number] = [added, 0];
  return types.rows(added === 0 ? tokenTypeIds : pad(tokenTypeIds, [[0, 0], front]), replaced);
}

/** The masked-language-model head. A bare encoder has none, which matters only to who asks for scores. */
function outputOf(
  weights: Weights,
  words: NamedTable,
  { names: { head }, epsilon, activation }: EncoderSettings,
): NamedOutput {
  if (!weights.has(head.bias)) {
    return {
      apply: () => {
        throw new FederationError(
          'no-language-model-head',
          `this checkpoint holds a bare encoder: it has no ${head.bias.split('.').slice(0, -1).join('.')} tensors`,
        );
      },
      dispose: () => {},
    };
  }
  const dense = weights.linear(head.dense, 'out-in');
  const norm = weights.norm(head.norm, epsilon);
  const decoder = words.output({ name: head.bias, values: weights.vector(head.bias) });
  return {
    transform: (rows, replaced) => norm.apply(activation(dense.apply(rows, replaced)), replaced),
    apply: decoder.apply,
    dispose: () => {
      for (const part of [dense, norm, decoder]) part.dispose();
    },
  };
}

function blockOf(weights: Weights, layerIndex: number, { names, epsilon, activation }: EncoderSettings): Block {
  const stem = `${names.blocks}.${layerIndex}`;
  const linear = (target: (typeof targets)[number]) => weights.linear(`${stem}.${names.modules[target]}`, 'out-in');
  return {
    projections: { kind: 'separate', q: linear('q'), k: linear('k'), v: linear('v') },
    o: linear('o'),
    feedForward: { kind: 'plain', up: linear('up'), activation },
    down: linear('down'),
    norms: {
      attention: weights.norm(`${stem}.${names.norms.attention}`, epsilon),
      feedForward: weights.norm(`${stem}.${names.norms.feedForward}`, epsilon),
    },
  };
}

function checkpointOf(
  { layerCount, hiddenSize, vocabularySize, linearTargets }: Architecture,
  { positionCount, typeCount, names }: EncoderSettings,
): CheckpointSpecification {
  const { head } = names;
  const optional = { optionalGroup: 'head' };
  const needs: TensorNeed[] = [
    { name: `${tables.words}.weight`, shape: [vocabularySize, hiddenSize] },
    { name: `${tables.positions}.weight`, shape: [positionCount, hiddenSize] },
    ...(typeCount === 0 ? [] : [{ name: `${tables.types}.weight`, shape: [typeCount, hiddenSize] }]),
    ...normNeeds(tables.norm, hiddenSize),
    { name: head.bias, shape: [vocabularySize], ...optional },
    { name: `${head.dense}.weight`, shape: [hiddenSize, hiddenSize], isTransposed: true, ...optional },
    { name: `${head.dense}.bias`, shape: [hiddenSize], ...optional },
    ...normNeeds(head.norm, hiddenSize).map((need) => ({ ...need, ...optional })),
  ];
  for (let layerIndex = 0; layerIndex < layerCount; layerIndex++) {
    const stem = `${names.blocks}.${layerIndex}`;
    for (const { inSize, outSize, moduleName } of Object.values(linearTargets)) {
      needs.push({ name: `${stem}.${moduleName}.weight`, shape: [outSize, inSize], isTransposed: true });
      needs.push({ name: `${stem}.${moduleName}.bias`, shape: [outSize] });
    }
    for (const norm of Object.values(names.norms)) needs.push(...normNeeds(`${stem}.${norm}`, hiddenSize));
  }
  return { prefix: names.prefix, needs, ignorable: names.ignorable };
}

/** Gain and bias of a layer norm. */
export function normNeeds(name: string, hiddenSize: number): TensorNeed[] {
  return ['weight', 'bias'].map((part) => ({ name: `${name}.${part}`, shape: [hiddenSize] }));
}
