/** Compacter in AdapterHub's files: a bottleneck with `phm_layer`, factors `W_left` `[n, in / n, 1]` and `W_right` `[n, 1, out / n]`, one rule for all. */
import type { BaseDescription } from '../../model/base-model.ts';
import { widthOf, wiringOf } from '../bottleneck-configuration.ts';
import { type CompacterConfiguration, compacter } from '../compacter.ts';
import type { BoundAdapter } from '../registry.ts';
import { bottleneckFields, bottleneckRules, placeOf, readBottleneck } from './adapterhub-bottleneck.ts';
import type { AdapterHubMethod } from './adapterhub-method.ts';
import { count, off, oneOf } from './config-fields.ts';
import { modulesOf } from './module-paths.ts';

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): CompacterConfiguration {
  const { method: _, ...settings } = configuration;
  return compacter.parse(settings, base);
}

/** A bottleneck with `phm_layer`. */
export const adapterHubCompacter: AdapterHubMethod = {
  method: 'compacter',
  recognises: (architecture, configuration) => architecture === null && configuration.phm_layer === true,
  rules: {
    ...bottleneckRules,
    phm_layer: oneOf(true),
    phm_dim: count,
    phm_rank: oneOf(1),
    phm_bias: oneOf(true),
    shared_phm_rule: oneOf(true),
    factorized_phm_rule: off,
    factorized_phm_W: oneOf(true),
    shared_W_phm: off,
    scaling: oneOf(1),
    is_parallel: off,
    ln_before: off,
    ln_after: off,
    use_gating: off,
    stochastic_depth: oneOf(0, null),
  },
  read: (configuration, reading) => {
    const { placement, reductionFactor, activation, dropout, leaveOut } = readBottleneck(configuration, reading);
    return {
      method: 'compacter',
      placement,
      reductionFactor,
      activation,
      dropout,
      leaveOut,
      dimension: configuration.phm_dim ?? 4,
    };
  },
  write: (adapter, base) => {
    const { dimension, trains: _, ...configuration } = configurationOf(adapter, base);
    const bottleneck = { ...configuration, scaling: 1, initialisation: 'bert' } as const;
    return { ...bottleneckFields(bottleneck, base), phm_layer: true, phm_dim: dimension };
  },
  tensors: (adapter, base, { prefix, name }) => {
    const configuration = configurationOf(adapter, base);
    const { dimension, layers } = configuration;
    const { hiddenSize } = base;
    const rule = {
      name: `${prefix}shared_parameters.${name}.phm_rule`,
      shape: [dimension, dimension, dimension],
      parts: ['compacter.rule'],
      transposed: false,
    };
    const maps = layers.flatMap((layerIndex) =>
      wiringOf(configuration).sublayers.flatMap((sublayer) => {
        const width = widthOf(configuration, layerIndex, hiddenSize);
        const stem = `${prefix}${modulesOf(base).blocks}.${layerIndex}.${placeOf(base, sublayer)}.adapters.${name}`;
        const own = `layers.${layerIndex}.${sublayer}.compacter`;
        const map = (module: string, part: string, inSize: number, outSize: number) => {
          const tensor = (file: string, shape: readonly number[], factor: string) => {
            return { name: `${stem}.${module}.${file}`, shape, parts: [`${own}.${part}.${factor}`], transposed: false };
          };
          return [
            tensor('W_left', [dimension, inSize / dimension, 1], 'left'),
            tensor('W_right', [dimension, 1, outSize / dimension], 'right'),
            tensor('b', [outSize], 'bias'),
          ];
        };
        return [...map('adapter_down.0', 'down', hiddenSize, width), ...map('adapter_up', 'up', width, hiddenSize)];
      }),
    );
    return [rule, ...maps];
  },
};
