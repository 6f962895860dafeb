/**
 * Prefix tuning (Li and Liang 2021, section 4): trained keys P_k and values P_v `[length, width]` stand in front of those of every chosen
 * layer, and every token attends to them: attention = softmax(q [P_k; K]ᵀ / √d) [P_v; V]; width is the base's number of key and value heads times their size.
 *
 * They are trained directly (as PEFT and AdapterHub store them), or made by a network that all layers share, W2 tanh(W1 e + c1) + c2 with
 * e `[length, hidden]` (section 4.3), which trains more steadily; `eject` computes the values that it gives, and the network can go.
 * No choice of values leaves attention as it was, so this method does not start as an identity.
 */
import { reshape, type Tensor1D, type Tensor2D, type Tensor3D, tanh, tile } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableLinear } from '../compute/products.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { choiceField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import type { Problem } from '../plan/problems.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { dropout } from './dropout.ts';
import { kaimingUniform, normalValues, zeroValues } from './initial-values.ts';
import { linearRows, valuesOf } from './merge-arithmetic.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';

/** Settings of `prefix` with defaults filled in. */
export interface PrefixConfiguration extends LayerChoice {
  /** Positions in front. Default 30. */
  readonly length: number;
  /** Inner width of the network that makes the values; absent means that they are trained directly. */
  readonly networkSize?: number | undefined;
  /** Whether texts keep their positions (`kept`, as AdapterHub, default) or start after the prefix (`shifted`, as PEFT on GPT-2). */
  readonly positions: 'kept' | 'shifted';
  /** Probability with which a value of a prefix is dropped in training. Default 0. */
  readonly dropout: number;
  /** Standard deviation of the start values, or of e. Default 0.02; the references have 1. */
  readonly deviation: number;
}

/** Longest prefix. */
const lengthMax = 4096;

const schema = sectionField({
  length: z._default(wholeField(1, lengthMax), 30),
  networkSize: z.optional(wholeField(1, 65_536)),
  positions: z._default(choiceField(['kept', 'shifted']), 'kept'),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  deviation: z._default(numberField({ above: 0 }), 0.02),
  ...layerFields,
});

function parse(value: unknown, base: BaseDescription): PrefixConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('prefix', schema, value), base, problems);
  if (others.positions === 'shifted' && others.length >= base.positionsMax) {
    const sentence = `must be below ${base.positionsMax}, the positions of this ${base.family}, found ${others.length}`;
    problems.push({ path: 'length', sentence });
  }
  if (problems.length > 0) refuseSettings('prefix', problems);
  return { ...others, ...chosen };
}

type Half = 'keys' | 'values';
const halves: readonly Half[] = ['keys', 'values'];

/** Width of a layer's keys and values. */
function widthOf({ keyValueHeadCount, headSize }: BaseDescription): number {
  return keyValueHeadCount * headSize;
}

function halfName(layerIndex: number, half: Half): string {
  return `layers.${layerIndex}.prefix.${half}`;
}

function layout(base: BaseDescription, { length, layers, networkSize }: PrefixConfiguration): TensorSpecification[] {
  const width = widthOf(base);
  const averaged = { aggregationClass: 'mean', decays: true } as const;
  const names = layers.flatMap((layer) => halves.map((half) => halfName(layer, half)));
  if (networkSize === undefined) return names.map((name) => ({ name, shape: [length, width], ...averaged }));
  const linear = (name: string, inSize: number, outSize: number): TensorSpecification[] => [
    { name: `${name}.kernel`, shape: [inSize, outSize], ...averaged },
    { name: `${name}.bias`, shape: [outSize], ...averaged, decays: false },
  ];
  return [
    { name: 'prefix.embedding', shape: [length, base.hiddenSize], ...averaged },
    ...linear('prefix.inner', base.hiddenSize, networkSize),
    ...names.flatMap((name) => linear(name, networkSize, width)),
  ];
}

/** Keys or values of one layer `[length, width]`. */
function halfAt(name: string, { networkSize }: PrefixConfiguration, context: AdapterContext): Tensor2D {
  if (networkSize === undefined) return tensorOf<Tensor2D>(context, name);
  const linear = (input: Tensor2D, part: string) =>
    trainableLinear(input, tensorOf<Tensor2D>(context, `${part}.kernel`), tensorOf<Tensor1D>(context, `${part}.bias`));
  return linear(tanh(linear(tensorOf<Tensor2D>(context, 'prefix.embedding'), 'prefix.inner')), name);
}

/** The method `prefix`. */
export const prefix: AdapterMethod<PrefixConfiguration> = {
  name: 'prefix',
  parse,
  layout,
  initialise: ({ name, shape }, { networkSize, deviation }, random) => {
    if (networkSize === undefined || name === 'prefix.embedding') return normalValues(shape, deviation, random);
    return name.endsWith('.bias') ? zeroValues(shape) : kaimingUniform(shape, shape[0]!, random);
  },
  hooks: (_, configuration, context) => {
    const { layers, length, positions } = configuration;
    const repeated = (name: string, batchSize: number): Tensor3D => {
      const rows = tile(halfAt(name, configuration, context), [batchSize, 1]);
      const width = rows.shape[1];
      return reshape(dropout(rows, configuration.dropout, context, name), [batchSize, length, width]);
    };
    return {
      lowestLayerIndex: Math.min(...layers),
      isTokenwise: true,
      keysAndValues: ({ layerIndex }, batchSize) => {
        if (!layers.includes(layerIndex)) return undefined;
        const [keys, values] = halves.map((half) => repeated(halfName(layerIndex, half), batchSize));
        return { keys: keys!, values: values! };
      },
      ...(positions === 'shifted' ? { positionStart: length } : {}),
    };
  },
  virtualTokens: ({ positions, length }) => (positions === 'shifted' ? length : 0),
  eject: (_, { networkSize, ...configuration }, parameters) => {
    if (networkSize === undefined) return { configuration, parameters };
    const apply = (input: ArrayLike<number>, name: string) =>
      linearRows(input, valuesOf(parameters, `${name}.kernel`), valuesOf(parameters, `${name}.bias`));
    const inner = apply(valuesOf(parameters, 'prefix.embedding'), 'prefix.inner').map(Math.tanh);
    const names = configuration.layers.flatMap((layer) => halves.map((half) => halfName(layer, half)));
    return { configuration, parameters: new Map(names.map((name) => [name, Float32Array.from(apply(inner, name))])) };
  },
};
