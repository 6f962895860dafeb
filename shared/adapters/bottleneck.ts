/**
 * The sequential bottleneck: A(u) = s (W_up σ(W_down u + c_down) + c_up), inserted at the end of a sublayer with result h, residual input x
 * and, on post-norm bases, the host's frozen norm LN.
 *
 * | placement | sites | post-norm | pre-norm |
 * |---|---|---|---|
 * | `pfeiffer` (Pfeiffer 2020, section 3) | feed-forward | LN(x + h + A(LN(h + x))) | x + h + A(x + h) |
 * | `houlsby` (Houlsby 2019, figure 2) | both | LN(x + h + A(h)) | x + h + A(h) |
 *
 * The wiring and the order scale, dropout, residual are those of AdapterHub's `seq_bn` and `double_seq_bn`. The host's norms stay frozen.
 */
import { mul, reshape, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import type { BaseDescription, Sublayer, SublayerSite } from '../model/base-model.ts';
import { choiceField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import { type Problem, shown } from '../plan/problems.ts';
import { type ActivationName, activate, activationNames } from './activations.ts';
import { dropout } from './dropout.ts';
import { kaimingUniform, normalValues, zeroValues } from './initial-values.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { layerFields, parseSettings, refuseSettings, selectLayers } from './settings.ts';
import { finishSublayer, sublayerChange } from './sublayer-change.ts';

/** Settings of `bottleneck` with defaults filled in; exactly one of `reductionFactor` and `size` is set. */
export interface BottleneckConfiguration {
  /** Where it stands and what it reads. Default `pfeiffer`. */
  readonly placement: 'pfeiffer' | 'houlsby';
  /** Width of the bottleneck as hidden size / factor, at least 1; or factors by layer index, with `default` for the others. Default 16. */
  readonly reductionFactor?: number | Readonly<Record<string, number>> | undefined;
  /** Width of the bottleneck in every layer. */
  readonly size?: number | undefined;
  /** σ. Default `relu` for `pfeiffer`, `swish` for `houlsby`. */
  readonly activation: ActivationName;
  /** The fixed s. Default 1. */
  readonly scaling: number;
  /** Probability with which a value of A(u) is dropped in training. Default 0. */
  readonly dropout: number;
  /** Layers with an adapter, ascending. In a plan also `all` (default), and `leaveOut` for those without. */
  readonly layers: readonly number[];
  /**
   * `identity` (default): W_down uniform in ±1/√hidden, W_up zero, so that nothing changes before training. `bert`: both N(0, 0.02²).
   * `houlsby`: both N(0, 0.01²), cut off at two deviations. Biases are zero.
   */
  readonly initialisation: 'identity' | 'bert' | 'houlsby';
}

/** Widest bottleneck: wider than any base, so that a typing error costs a message and not the machine. */
const sizeMax = 65_536;
const factor = numberField({ above: 0, atMost: sizeMax });
const factorError = 'a number above 0, or a map from layer index or default to such numbers';

const schema = sectionField({
  placement: z._default(choiceField(['pfeiffer', 'houlsby']), 'pfeiffer'),
  reductionFactor: z.optional(z.union([factor, z.record(z.string(), factor)], { error: factorError })),
  size: z.optional(wholeField(1, sizeMax)),
  activation: z.optional(choiceField(activationNames)),
  scaling: z._default(numberField({}), 1),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  ...layerFields,
  initialisation: z._default(choiceField(['identity', 'bert', 'houlsby']), 'identity'),
});

function parse(value: unknown, base: BaseDescription): BottleneckConfiguration {
  const { leaveOut, ...settings } = parseSettings('bottleneck', schema, value);
  const problems: Problem[] = [];
  const layers = selectLayers({ layers: settings.layers, leaveOut }, base, problems);
  const { reductionFactor, size, placement } = settings;
  if (reductionFactor !== undefined && size !== undefined) {
    problems.push({ path: 'size', sentence: 'must not stand beside reductionFactor, which says the same; found both' });
  }
  if (typeof reductionFactor === 'object') problems.push(...factorProblems(reductionFactor, layers, base));
  if (problems.length > 0) refuseSettings('bottleneck', problems);
  const activation = settings.activation ?? (placement === 'pfeiffer' ? 'relu' : 'swish');
  const width = size === undefined ? { reductionFactor: reductionFactor ?? 16 } : { size };
  const { scaling, initialisation } = settings;
  return { placement, ...width, activation, scaling, dropout: settings.dropout, layers, initialisation };
}

function factorProblems(
  factors: Readonly<Record<string, number>>,
  layers: readonly number[],
  { layerCount }: BaseDescription,
): Problem[] {
  const known = [...Array.from({ length: layerCount }, (_, index) => String(index)), 'default'];
  const problems = Object.keys(factors)
    .filter((key) => !known.includes(key))
    .map((key) => ({
      path: `reductionFactor.${key}`,
      sentence: `must be a layer index from 0 to ${layerCount - 1} or default, found ${shown(key)}`,
    }));
  const missing = layers.find((layer) => !Object.hasOwn(factors, String(layer)) && !Object.hasOwn(factors, 'default'));
  if (missing === undefined) return problems;
  const sentence = `must have a number for layer ${missing} or under default, found ${shown(factors)}`;
  return [...problems, { path: 'reductionFactor', sentence }];
}

/** Width of the bottleneck in one layer. */
function widthOf({ reductionFactor, size }: BottleneckConfiguration, layer: number, hiddenSize: number): number {
  if (size !== undefined) return size;
  const own =
    typeof reductionFactor === 'object' ? (reductionFactor[layer] ?? reductionFactor.default) : reductionFactor;
  assert(own !== undefined, `layer ${layer} has no reduction factor`);
  return Math.max(1, Math.floor(hiddenSize / own));
}

function sublayersOf(placement: BottleneckConfiguration['placement']): readonly Sublayer[] {
  return placement === 'pfeiffer' ? ['feedForward'] : ['attention', 'feedForward'];
}

function siteName({ layerIndex, sublayer }: SublayerSite): string {
  return `layers.${layerIndex}.${sublayer}.bottleneck`;
}

/** s (W_up σ(W_down u + c_down) + c_up), then dropout; `input` and result `[batch, sequence, hidden]`. */
function adapt(
  input: Tensor3D,
  site: string,
  configuration: BottleneckConfiguration,
  context: AdapterContext,
): Tensor3D {
  const named = <Kind extends Tensor>(part: string) => {
    const tensor = context.parameters.get(`${site}.${part}`);
    assert(tensor !== undefined, `the parameters hold no tensor ${site}.${part}`);
    return tensor as Kind;
  };
  const rows: Tensor2D = reshape(input, [-1, input.shape[2]]);
  const down = trainableLinear(rows, named<Tensor2D>('down.kernel'), named<Tensor1D>('down.bias'));
  const active = activate(configuration.activation, down);
  const up = trainableLinear(active, named<Tensor2D>('up.kernel'), named<Tensor1D>('up.bias'));
  const scaled = configuration.scaling === 1 ? up : mul(up, configuration.scaling);
  return reshape(dropout(scaled as Tensor2D, configuration.dropout, context, site), input.shape);
}

/** The method `bottleneck`. */
export const bottleneck: AdapterMethod<BottleneckConfiguration> = {
  name: 'bottleneck',
  parse,
  layout: ({ hiddenSize }, configuration) =>
    configuration.layers.flatMap((layerIndex) =>
      sublayersOf(configuration.placement).flatMap((sublayer) => {
        const site = siteName({ layerIndex, sublayer });
        const width = widthOf(configuration, layerIndex, hiddenSize);
        const tensor = (part: string, shape: readonly number[]) =>
          ({ name: `${site}.${part}`, shape, aggregationClass: 'mean', decays: part.endsWith('kernel') }) as const;
        return [
          tensor('down.kernel', [hiddenSize, width]),
          tensor('down.bias', [width]),
          tensor('up.kernel', [width, hiddenSize]),
          tensor('up.bias', [hiddenSize]),
        ];
      }),
    ),
  initialise: ({ name, shape }, { initialisation }, random) => {
    if (name.endsWith('.bias')) return zeroValues(shape);
    switch (initialisation) {
      case 'identity':
        return name.endsWith('.up.kernel') ? zeroValues(shape) : kaimingUniform(shape, shape[0]!, random);
      case 'bert':
        return normalValues(shape, 0.02, random);
      case 'houlsby':
        return normalValues(shape, 0.01, random, 2);
      default:
        return initialisation satisfies never;
    }
  },
  hooks: (_, configuration, context) => {
    const { placement, layers } = configuration;
    const sublayers = sublayersOf(placement);
    return {
      lowestLayerIndex: Math.min(...layers),
      ...sublayerChange((site, output, residual, norm) => {
        if (!layers.includes(site.layerIndex) || !sublayers.includes(site.sublayer)) return undefined;
        const input = placement === 'houlsby' ? output : finishSublayer(output, residual, norm);
        return adapt(input, siteName(site), configuration, context);
      }),
    };
  },
};
