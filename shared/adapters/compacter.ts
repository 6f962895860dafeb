/**
 * Compacter (Mahabadi 2021a, section 4): a bottleneck whose maps are sums of Kronecker products, W = Σ_i A_i ⊗ (s_i t_iᵀ), i < n, with the
 * rule A `[n, n, n]` shared by all maps of all layers, s `[n, in / n]` and t `[n, out / n]` for each map; biases are those of the
 * bottleneck. Two sites per layer are Compacter, the feed-forward alone is Compacter++. W is never formed: x W costs n (in + out) per row
 * and not in · out.
 *
 * The placements are those of the bottleneck; s of the second map starts at zero, so that nothing changes before training.
 */
import { add, eye, mul, reshape, type Tensor1D, type Tensor2D, type Tensor3D, transpose } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableMatMul } from '../compute/products.ts';
import type { BaseDescription, SublayerSite } from '../model/base-model.ts';
import { choiceField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import type { Problem } from '../plan/problems.ts';
import type { AggregationClass, TensorSpecification } from '../update/layout.ts';
import { type ActivationName, activationNames } from './activations.ts';
import { chooseWidth, type WidthSettings, widthFields, widthOf, wiringOf } from './bottleneck-configuration.ts';
import { adapt } from './bottleneck-core.ts';
import { changeOf } from './bottleneck-wiring.ts';
import { kaimingUniform, normalValues, zeroValues } from './initial-values.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';
import { sublayerChange } from './sublayer-change.ts';

/** Settings of `compacter` with defaults filled in; exactly one of `reductionFactor` and `size` is set. */
export interface CompacterConfiguration extends LayerChoice, WidthSettings {
  /** `houlsby`: Compacter, at both sites. `pfeiffer` (default): Compacter++, after the feed-forward. */
  readonly placement: 'pfeiffer' | 'houlsby';
  /** n, which divides the hidden size and every width. Default 4. */
  readonly dimension: number;
  /** σ. Default `gelu`. */
  readonly activation: ActivationName;
  /** Probability with which a value of A(u) is dropped in training. Default 0. */
  readonly dropout: number;
  /** `all` (default), or `left`: s and biases alone, in which W is linear, so that a mean over clients is exact. */
  readonly trains: 'all' | 'left';
}

/** Largest n: the rule is mixed as a matrix of n⁴ values. */
const dimensionMax = 16;

const schema = sectionField({
  placement: z._default(choiceField(['pfeiffer', 'houlsby']), 'pfeiffer'),
  ...widthFields,
  dimension: z._default(wholeField(1, dimensionMax), 4),
  activation: z._default(choiceField(activationNames), 'gelu'),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  trains: z._default(choiceField(['all', 'left']), 'all'),
  ...layerFields,
});

/** The published reduction factor. */
const standardFactor = 32;

/** The width of {@link standardFactor}; on a base so small that n does not divide it, the next that n divides. */
function standardWidth({ hiddenSize }: BaseDescription, dimension: number): WidthSettings {
  const width = widthOf({ reductionFactor: standardFactor }, 0, hiddenSize);
  if (width % dimension === 0) return { reductionFactor: standardFactor };
  return { size: Math.ceil(width / dimension) * dimension };
}

function parse(value: unknown, base: BaseDescription): CompacterConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('compacter', schema, value), base, problems);
  const { reductionFactor, size, ...settings } = others;
  const asked = reductionFactor === undefined && size === undefined ? standardWidth(base, settings.dimension) : others;
  const width = chooseWidth(asked, standardFactor, chosen.layers, base, problems);
  const sizes = problems.length > 0 ? [] : chosen.layers.map((layer) => widthOf(width, layer, base.hiddenSize));
  const wrong = [base.hiddenSize, ...sizes].find((extent) => extent % settings.dimension !== 0);
  if (wrong !== undefined) {
    const what = wrong === base.hiddenSize ? 'hidden size' : 'width of a bottleneck';
    const sentence = `must divide the ${what}, which is ${wrong}, found ${settings.dimension}`;
    problems.push({ path: 'dimension', sentence });
  }
  if (problems.length > 0) refuseSettings('compacter', problems);
  return { ...settings, ...width, ...chosen };
}

const ruleName = 'compacter.rule';

function siteName({ layerIndex, sublayer }: SublayerSite): string {
  return `layers.${layerIndex}.${sublayer}.compacter`;
}

function mapTensors(
  name: string,
  [inSize, outSize]: readonly [number, number],
  { dimension, trains }: CompacterConfiguration,
): TensorSpecification[] {
  const tensor = (part: string, shape: readonly number[], aggregationClass: AggregationClass = 'mean') => {
    return { name: `${name}.${part}`, shape, aggregationClass, decays: part !== 'bias' };
  };
  return [
    tensor('left', [dimension, inSize / dimension]),
    tensor('right', [dimension, outSize / dimension], trains === 'left' ? 'frozen' : 'mean'),
    tensor('bias', [outSize]),
  ];
}

/** x W + c of rows `[rows, in]`, by the factors. */
function phmLinear(rows: Tensor2D, name: string, dimension: number, context: AdapterContext): Tensor2D {
  const [rowCount, inSize] = rows.shape;
  const left = tensorOf<Tensor2D>(context, `${name}.left`);
  const right = tensorOf<Tensor2D>(context, `${name}.right`);
  const bias = tensorOf<Tensor1D>(context, `${name}.bias`);
  // z[row, a, i] = x[row, a, :] · s_i; then v[row, b, i] = Σ_a z[row, a, i] A_i[a, b]; then y[row, b, :] = Σ_i v[row, b, i] t_i.
  const inner = trainableMatMul(reshape(rows, [rowCount * dimension, inSize / dimension]), transpose(left));
  const square = dimension ** 2;
  const mixed = trainableMatMul(reshape(inner, [rowCount, square]), mixing(dimension, context));
  const outer = trainableMatMul(reshape(mixed, [rowCount * dimension, dimension]), right);
  return add(reshape(outer, [rowCount, bias.shape[0]]), bias);
}

/** The rule as a matrix from (a, i) to (b, j), which is A_i[a, b] where i = j and 0 elsewhere. */
function mixing(n: number, context: AdapterContext): Tensor2D {
  const byRow: Tensor3D = transpose(tensorOf<Tensor3D>(context, ruleName), [1, 0, 2]);
  const spread = mul(reshape(byRow, [n, n, n, 1]), reshape(eye(n), [1, n, 1, n]));
  return reshape(spread, [n ** 2, n ** 2]);
}

/** The method `compacter`. */
export const compacter: AdapterMethod<CompacterConfiguration> = {
  name: 'compacter',
  parse,
  layout: ({ hiddenSize }, configuration) => {
    const { dimension, trains, layers } = configuration;
    const sites = layers.flatMap((layerIndex) =>
      wiringOf(configuration).sublayers.map((sublayer) => ({ layerIndex, sublayer })),
    );
    return [
      {
        name: ruleName,
        shape: [dimension, dimension, dimension],
        aggregationClass: trains === 'left' ? 'frozen' : 'mean',
        decays: true,
      },
      ...sites.flatMap((site) => {
        const width = widthOf(configuration, site.layerIndex, hiddenSize);
        return [
          ...mapTensors(`${siteName(site)}.down`, [hiddenSize, width], configuration),
          ...mapTensors(`${siteName(site)}.up`, [width, hiddenSize], configuration),
        ];
      }),
    ];
  },
  // With A of variance 1 / n and t of variance 1 the first map has the variance that a dense one starts with, 1 / (3 in).
  initialise: ({ name, shape }, { dimension }, random) => {
    if (name === ruleName) return normalValues(shape, 1 / Math.sqrt(dimension), random);
    if (name.endsWith('.bias') || name.endsWith('.up.left')) return zeroValues(shape);
    return name.endsWith('.left')
      ? kaimingUniform(shape, dimension * shape[1]!, random)
      : normalValues(shape, 1, random);
  },
  hooks: (_, configuration, context) => {
    const { layers, dimension, activation } = configuration;
    const wiring = wiringOf(configuration);
    const settings = { activation, scaling: 1, dropout: configuration.dropout };
    return {
      lowestLayerIndex: Math.min(...layers),
      isTokenwise: true,
      ...sublayerChange((site, output, residual, norm) => {
        if (!layers.includes(site.layerIndex) || !wiring.sublayers.includes(site.sublayer)) return undefined;
        const name = siteName(site);
        const linear = (part: string) => (rows: Tensor2D) => phmLinear(rows, `${name}.${part}`, dimension, context);
        const maps = { down: linear('down'), up: linear('up') };
        return changeOf(
          wiring,
          { output, residual, norm, parallelInput: undefined },
          {
            adapt: (input) => adapt(input, name, settings, context, maps),
            ownNorm: undefined,
            residualBeforeNorm: false,
          },
        );
      }),
    };
  },
};
