/**
 * Bottleneck adapters: A(u) = W_up σ(W_down u + c_down) + c_up beside or behind a sublayer (Houlsby 2019, Pfeiffer 2020, He 2022, Steitz and Roth
 * 2024). The equation with all options stands in `bottleneck-core.ts`, the placements in `bottleneck-wiring.ts`. Kernels are `[hidden,
 * width]` and `[width, hidden]`.
 */
import { reshape, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import type { LinearTarget, SiteHooks, Sublayer, SublayerSite } from '../model/base-model.ts';
import {
  type BottleneckConfiguration,
  parseBottleneck,
  type Wiring,
  widthOf,
  wiringOf,
} from './bottleneck-configuration.ts';
import { adapt, denseMaps, denseTensors, furtherTensors, furtherValues, normAfter } from './bottleneck-core.ts';
import { changeOf, isChange, type SublayerEnd, type WiredAdapter, wire } from './bottleneck-wiring.ts';
import { kaimingUniform, normalValues, zeroValues } from './initial-values.ts';
import type { AdapterMethod } from './method.ts';
import { type SublayerChange, sublayerChange } from './sublayer-change.ts';

function siteName({ layerIndex, sublayer }: SublayerSite): string {
  return `layers.${layerIndex}.${sublayer}.bottleneck`;
}

/** The method `bottleneck`. */
export const bottleneck: AdapterMethod<BottleneckConfiguration> = {
  name: 'bottleneck',
  parse: parseBottleneck,
  layout: ({ hiddenSize }, configuration) =>
    configuration.layers.flatMap((layerIndex) =>
      wiringOf(configuration).sublayers.flatMap((sublayer) => {
        const site = siteName({ layerIndex, sublayer });
        const width = widthOf(configuration, layerIndex, hiddenSize);
        return [...denseTensors(site, hiddenSize, width), ...furtherTensors(site, configuration, hiddenSize)];
      }),
    ),
  initialise: (specification, { initialisation }, random) => {
    const { name, shape } = specification;
    const further = furtherValues(specification, random);
    if (further !== null) return further;
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
  stacks: (configuration) => {
    const { scaling, dropout, dropPath, gate, normBefore, normAfter: hasNormAfter, residualBeforeNorm } = configuration;
    // Dropout draws for all rows of a pass; what else a row is scaled or normed by would have to be that of its client.
    const isPlain = typeof scaling === 'number' && dropout === 0 && (dropPath ?? 0) === 0;
    const hasMore = gate === true || normBefore === true || hasNormAfter === true;
    return isPlain && !hasMore && isChange(wiringOf(configuration), residualBeforeNorm === true);
  },
  hooks: ({ norm: placement, linearTargets }, configuration, context) => {
    const { layers } = configuration;
    const wiring = wiringOf(configuration);
    const isNormed = wiring.parallel && configuration.parallelInput === 'normed' && placement === 'pre';
    const normed = isNormed ? normedInputs(linearTargets.qkv === undefined ? 'q' : 'qkv') : null;
    const adapterAt = (name: string): WiredAdapter => ({
      adapt: (input) => adapt(input, name, configuration, context, denseMaps(name, context)),
      ownNorm: configuration.normAfter === true ? (input) => normAfter(input, name, context) : undefined,
      residualBeforeNorm: configuration.residualBeforeNorm === true,
    });
    const acting =
      (run: (wiring: Wiring, end: SublayerEnd, adapter: WiredAdapter) => Tensor3D): SublayerChange =>
      (site, output, residual, norm) => {
        if (!layers.includes(site.layerIndex) || !wiring.sublayers.includes(site.sublayer)) return undefined;
        const parallelInput = normed?.of(site.sublayer, residual.shape);
        return run(wiring, { output, residual, norm, parallelInput }, adapterAt(siteName(site)));
      };
    return {
      ...normed?.hooks,
      lowestLayerIndex: Math.min(...layers),
      // A gate is a mean over all tokens of a text, and a kept input is that of all.
      isTokenwise: configuration.gate !== true && normed === null,
      // A kept input is that of the whole batch, and compositions may pass rows of it alone.
      ...(normed === null && isChange(wiring, configuration.residualBeforeNorm === true)
        ? sublayerChange(acting(changeOf))
        : { sublayer: acting(wire) }),
    };
  },
};

/** What the sublayers of a pre-norm base read, kept from the first linear map of each until the end of the sublayer. */
function normedInputs(attentionTarget: LinearTarget): {
  readonly hooks: Pick<SiteHooks, 'linear' | 'linearTargets'>;
  readonly of: (sublayer: Sublayer, shape: Tensor3D['shape']) => Tensor3D;
} {
  const kept = new Map<Sublayer, Tensor2D>();
  return {
    hooks: {
      linearTargets: new Set([attentionTarget, 'up']),
      linear: ({ target }, input) => {
        kept.set(target === 'up' ? 'feedForward' : 'attention', input);
        return undefined;
      },
    },
    of: (sublayer, shape) => reshape(kept.get(sublayer)!, shape),
  };
}
