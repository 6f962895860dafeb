/**
 * Bottleneck adapters in AdapterHub's files (`BnConfig` of version 1.2): `….adapters.<name>.adapter_down.0.weight` `[width, hidden]` and so on;
 * with an own norm in front that norm is `adapter_down.0`, which stands a second time as `adapter_norm_before`.
 */
import { assert } from '../../core/assert.ts';
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription, Sublayer } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import type { Plan } from '../../plan/plan.ts';
import { activationNames } from '../activations.ts';
import {
  type BottleneckConfiguration,
  parseBottleneck,
  type Wiring,
  widthOf,
  wiringOf,
} from '../bottleneck-configuration.ts';
import type { BoundAdapter } from '../registry.ts';
import type { AdapterHubMethod, AdapterHubReading } from './adapterhub-method.ts';
import {
  anything,
  type FieldRules,
  flag,
  isObject,
  layersOrNull,
  nothing,
  off,
  oneOf,
  probability,
} from './config-fields.ts';
import type { TensorMapping } from './foreign-tensors.ts';
import { modulesOf } from './module-paths.ts';
import { type PythonValue, pythonFloat } from './python-json.ts';

/** Names of non-linearities that mean one of ours. */
const activations: Readonly<Record<string, string>> = {
  ...Object.fromEntries(activationNames.map((name) => [name, name])),
  silu: 'swish',
};
/** What files from before `adapters` call them. */
const formerActivations: Readonly<Record<string, string>> = { gelu: 'gelu_new', gelu_orig: 'gelu' };
const residuals: readonly (readonly [unknown, Wiring['residual']])[] = [
  [true, 'output'],
  ['post_add', 'sum'],
  [false, 'input'],
];

const factor = (value: unknown) => typeof value === 'number' && value > 0;
const switchField = {
  expected: 'true or false',
  holds: (value: unknown) => value === null || typeof value === 'boolean',
};

/** Fields of `BnConfig`. */
export const bottleneckRules: FieldRules = {
  mh_adapter: flag,
  output_adapter: flag,
  reduction_factor: {
    expected: 'a number above 0, or a map from layers to such numbers',
    holds: (value) => factor(value) || (isObject(value) && Object.values(value).every(factor)),
  },
  non_linearity: {
    expected: `one of ${Object.keys(activations).join(', ')}`,
    holds: (value) => typeof value === 'string' && Object.hasOwn({ ...activations, ...formerActivations }, value),
  },
  original_ln_before: flag,
  original_ln_after: flag,
  ln_before: flag,
  ln_after: flag,
  init_weights: anything,
  init_weights_seed: anything,
  is_parallel: flag,
  scaling: {
    expected: 'a number, "learned" or "channel"',
    holds: (value) => typeof value === 'number' || value === 'learned' || value === 'channel',
  },
  use_gating: switchField,
  residual_before_ln: oneOf(...residuals.map(([value]) => value as string | boolean)),
  adapter_residual_before_ln: flag,
  inv_adapter: nothing,
  inv_adapter_reduction_factor: anything,
  // Encoder-decoders alone have cross attention.
  cross_adapter: flag,
  leave_out: layersOrNull,
  dropout: probability,
  stochastic_depth: {
    expected: 'a number from 0 to below 1, or null',
    holds: (value) => value === null || probability.holds(value),
  },
  phm_layer: off,
  ...Object.fromEntries(
    ['phm_dim', 'factorized_phm_W', 'shared_W_phm', 'shared_phm_rule', 'factorized_phm_rule', 'phm_c_init']
      .concat(['phm_init_range', 'learn_phm', 'hypercomplex_nonlinearity', 'phm_rank', 'phm_bias'])
      .map((name) => [name, anything]),
  ),
};

/** The published placement with this wiring, or `pfeiffer` with what differs. */
function placementOf(wiring: Wiring): Partial<BottleneckConfiguration> {
  const placements = ['pfeiffer', 'houlsby', 'parallel', 'adapterplus'] as const;
  const same = placements.find((placement) => JSON.stringify(wiringOf({ placement })) === JSON.stringify(wiring));
  return same === undefined ? { placement: 'pfeiffer', ...wiring } : { placement: same };
}

/** Settings of our bottleneck for `BnConfig`. */
export function readBottleneck(configuration: Configuration, { version }: AdapterHubReading): Plan['adapter'] {
  const sublayers: Sublayer[] = [
    ...(configuration.mh_adapter === true ? ['attention' as const] : []),
    ...(configuration.output_adapter === true ? ['feedForward' as const] : []),
  ];
  const written = String(configuration.non_linearity);
  const activation = activations[version === null ? (formerActivations[written] ?? written) : written] ?? written;
  const residual = configuration.residual_before_ln ?? true;
  const placement = placementOf({
    sublayers,
    parallel: configuration.is_parallel === true,
    hostNormBefore: configuration.original_ln_before === true,
    hostNormAfter: (configuration.original_ln_after ?? true) === true,
    residual: residuals.find(([value]) => value === residual)![1],
  });
  const path = configuration.stochastic_depth ?? 0;
  const on = (name: string, field: string) => (configuration[name] === true ? { [field]: true } : {});
  return {
    method: 'bottleneck',
    ...placement,
    reductionFactor: configuration.reduction_factor,
    activation,
    scaling: configuration.scaling ?? 1,
    dropout: configuration.dropout ?? 0,
    ...(path === 0 && placement.placement !== 'adapterplus' ? {} : { dropPath: path }),
    leaveOut: configuration.leave_out ?? [],
    ...on('use_gating', 'gate'),
    ...on('ln_before', 'normBefore'),
    ...on('ln_after', 'normAfter'),
    ...on('adapter_residual_before_ln', 'residualBeforeNorm'),
  };
}

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): BottleneckConfiguration {
  const { method: _, ...settings } = configuration;
  return parseBottleneck(settings, base);
}

/** A factor whose whole part of hidden size / factor is the width. */
function factorOf(configuration: BottleneckConfiguration, { hiddenSize }: BaseDescription): PythonValue {
  const { size, reductionFactor } = configuration;
  if (size !== undefined) {
    return pythonFloat(hiddenSize % size === 0 ? hiddenSize / size : hiddenSize / (size + 0.5));
  }
  assert(reductionFactor !== undefined, 'a bottleneck has a width');
  if (typeof reductionFactor === 'number') return pythonFloat(reductionFactor);
  return Object.fromEntries(Object.entries(reductionFactor).map(([layer, value]) => [layer, pythonFloat(value)]));
}

function write(adapter: BoundAdapter, base: BaseDescription): Record<string, PythonValue> {
  return bottleneckFields(configurationOf(adapter, base), base);
}

/** `BnConfig` for our settings. */
export function bottleneckFields(
  configuration: BottleneckConfiguration,
  base: BaseDescription,
): Record<string, PythonValue> {
  const { layers, scaling } = configuration;
  if (configuration.parallelInput === 'normed' && base.norm === 'pre') {
    throw new UsageError(
      'not-exportable',
      'AdapterHub has no place for a parallel adapter with parallelInput normed on a pre-norm base: it reads the raw residual stream there; --format tributary holds it',
    );
  }
  const wiring = wiringOf(configuration);
  return {
    adapter_residual_before_ln: configuration.residualBeforeNorm === true,
    cross_adapter: false,
    dropout: pythonFloat(configuration.dropout),
    factorized_phm_W: true,
    factorized_phm_rule: false,
    hypercomplex_nonlinearity: 'glorot-uniform',
    init_weights: configuration.initialisation === 'identity' ? 'mam_adapter' : configuration.initialisation,
    init_weights_seed: null,
    inv_adapter: null,
    inv_adapter_reduction_factor: null,
    is_parallel: wiring.parallel,
    learn_phm: true,
    leave_out: Array.from({ length: base.layerCount }, (_, layer) => layer).filter((layer) => !layers.includes(layer)),
    ln_after: configuration.normAfter === true,
    ln_before: configuration.normBefore === true,
    mh_adapter: wiring.sublayers.includes('attention'),
    non_linearity: configuration.activation,
    original_ln_after: wiring.hostNormAfter,
    original_ln_before: wiring.hostNormBefore,
    output_adapter: wiring.sublayers.includes('feedForward'),
    phm_bias: true,
    phm_c_init: 'normal',
    phm_dim: 4,
    phm_init_range: 0.0001,
    phm_layer: false,
    phm_rank: 1,
    reduction_factor: factorOf(configuration, base),
    residual_before_ln: residuals.find(([, residual]) => residual === wiring.residual)![0] as boolean | string,
    scaling: typeof scaling === 'number' ? pythonFloat(scaling) : scaling,
    shared_W_phm: false,
    shared_phm_rule: true,
    stochastic_depth: pythonFloat(configuration.dropPath ?? 0),
    use_gating: configuration.gate === true,
  };
}

/** Where the adapters of a sublayer stand within a block. */
export function placeOf({ family }: Pick<BaseDescription, 'family'>, sublayer: Sublayer): string {
  if (family === 'bert' || family === 'roberta') return sublayer === 'attention' ? 'attention.output' : 'output';
  return sublayer === 'attention' ? 'attention_adapters' : 'output_adapters';
}

function tensors(
  adapter: BoundAdapter,
  base: BaseDescription,
  { prefix, name }: { readonly prefix: string; readonly name: string },
): TensorMapping[] {
  const configuration = configurationOf(adapter, base);
  const { hiddenSize } = base;
  const down = configuration.normBefore === true ? 'adapter_down.1' : 'adapter_down.0';
  return configuration.layers.flatMap((layerIndex) =>
    wiringOf(configuration).sublayers.flatMap((sublayer) => {
      const width = widthOf(configuration, layerIndex, hiddenSize);
      const stem = `${prefix}${modulesOf(base).blocks}.${layerIndex}.${placeOf(base, sublayer)}.adapters.${name}`;
      const site = `layers.${layerIndex}.${sublayer}.bottleneck`;
      const matrix = (file: string, shape: readonly number[], own: string) =>
        ({ name: `${stem}.${file}`, shape, parts: [`${site}.${own}`], transposed: true }) as const;
      const vector = (file: string, size: number, own: string) =>
        ({ name: `${stem}.${file}`, shape: [size], parts: [`${site}.${own}`], transposed: false }) as const;
      const norm = (file: string, own: string) => [
        vector(`${file}.weight`, hiddenSize, `${own}.gain`),
        vector(`${file}.bias`, hiddenSize, `${own}.bias`),
      ];
      return [
        matrix(`${down}.weight`, [width, hiddenSize], 'down.kernel'),
        vector(`${down}.bias`, width, 'down.bias'),
        matrix('adapter_up.weight', [hiddenSize, width], 'up.kernel'),
        vector('adapter_up.bias', hiddenSize, 'up.bias'),
        ...(configuration.scaling === 'learned' ? [vector('scaling', 1, 'scale')] : []),
        ...(configuration.scaling === 'channel' ? [vector('scaling', hiddenSize, 'scale')] : []),
        ...(configuration.gate === true
          ? [matrix('gate.weight', [1, hiddenSize], 'gate.kernel'), vector('gate.bias', 1, 'gate.bias')]
          : []),
        ...(configuration.normBefore === true
          ? [
              ...norm('adapter_down.0', 'normBefore'),
              ...norm('adapter_norm_before', 'normBefore').map((mapping) => ({ ...mapping, isCopy: true })),
            ]
          : []),
        ...(configuration.normAfter === true ? norm('adapter_norm_after', 'normAfter') : []),
      ];
    }),
  );
}

/** A bottleneck, whose `architecture` is absent. */
export const adapterHubBottleneck: AdapterHubMethod = {
  method: 'bottleneck',
  recognises: (architecture, configuration) => architecture === null && configuration.phm_layer !== true,
  rules: bottleneckRules,
  read: readBottleneck,
  write,
  tensors,
};
