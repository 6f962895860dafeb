/**
 * LoRA in PEFT's files (Hu 2021; Kalajdzievski 2023 for `use_rslora`): `….lora_A.weight` `[r, in]` and `….lora_B.weight` `[out, r]`, which
 * are A and B as we hold them. The fields written are those that PEFT 0.11 knows: what came later is neutral when absent, and readers of
 * that age refuse what they do not know.
 */
import type { BaseDescription, LinearSite } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import { type LoraConfiguration, type LoraMap, loraMapsOf, parseLora } from '../lora.ts';
import type { BoundAdapter } from '../registry.ts';
import {
  anything,
  count,
  type FieldRules,
  flag,
  layersOrNull,
  nothing,
  number,
  off,
  oneOf,
  pattern,
  probability,
} from './config-fields.ts';
import { modulesOf, pathOf } from './module-paths.ts';
import { joinParts } from './peft-lora-fused.ts';
import type { BaseTensor, FilledAdapter, PeftMethod, PeftReading } from './peft-method.ts';
import { namesOfTargets, patternMeans, regularSelection, targetNames, targetNamesOrNull } from './peft-targets.ts';
import { type PythonValue, pythonFloat } from './python-json.ts';

/** Ways of initialising that leave the base as it is; the others (PiSSA, OLoRA, LoftQ, CorDA) train on a changed base. */
const startsOnBase = ['gaussian', 'eva', 'orthogonal'];

const rules: FieldRules = {
  r: count,
  lora_alpha: number,
  lora_dropout: probability,
  target_modules: targetNames,
  exclude_modules: targetNamesOrNull,
  layers_to_transform: layersOrNull,
  layers_pattern: anything,
  rank_pattern: pattern,
  alpha_pattern: pattern,
  use_rslora: flag,
  use_dora: flag,
  bias: oneOf('none'),
  lora_bias: off,
  // PEFT itself sets this field as the layers need it.
  fan_in_fan_out: flag,
  init_lora_weights: {
    expected: `true, false, ${startsOnBase.map((name) => JSON.stringify(name)).join(' or ')}: others change the base`,
    holds: (value) => typeof value === 'boolean' || startsOnBase.includes(String(value)),
  },
  target_parameters: nothing,
  layer_replication: nothing,
  trainable_token_indices: nothing,
  megatron_config: nothing,
  megatron_core: anything,
  loftq_config: nothing,
  qalora_group_size: anything,
  use_qalora: off,
  alora_invocation_tokens: nothing,
  arrow_config: nothing,
  corda_config: nothing,
  eva_config: anything,
  ensure_weight_tying: off,
};

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): LoraConfiguration {
  const { method, ...settings } = configuration;
  return parseLora(method, settings, base);
}

function read(configuration: Configuration, reading: PeftReading) {
  const { source } = reading;
  const { r, lora_alpha: alpha, rank_pattern: ranks, alpha_pattern: alphas } = configuration;
  const { targets, layers, selected } = regularSelection(configuration, reading);
  const patternOf = (map: unknown, otherwise: unknown): Record<string, number> => {
    const entries = Object.entries((map ?? {}) as Record<string, number>);
    const found = selected.flatMap(({ path, site: { layerIndex, target } }) => {
      const own = entries.find(([key]) => patternMeans(key, path, source))?.[1];
      return own === undefined || own === otherwise ? [] : [[`layers.${layerIndex}.${target}`, own] as const];
    });
    return Object.fromEntries(found);
  };
  return {
    method: configuration.use_dora === true ? 'dora' : 'lora',
    targets,
    layers,
    rank: r ?? 8,
    alpha: alpha ?? 8,
    rankPattern: patternOf(ranks, r ?? 8),
    alphaPattern: patternOf(alphas, alpha ?? 8),
    rankStabilised: configuration.use_rslora ?? false,
    dropout: configuration.lora_dropout ?? 0,
  };
}

/** Keys of patterns: the path within the bare model, which ends the path in every model. */
function patternsOf(
  base: BaseDescription,
  maps: readonly LoraMap[],
  field: 'rank' | 'alpha',
  otherwise: number,
): Record<string, number> {
  return Object.fromEntries(
    maps.filter((map) => map[field] !== otherwise).map((map) => [pathOf(base, map.site), map[field]]),
  );
}

function write(adapter: BoundAdapter, base: BaseDescription): Record<string, PythonValue> {
  const configuration = configurationOf(adapter, base);
  const { rank, alpha, layers, targets, dropout, rankStabilised } = configuration;
  const isChosen = ({ layerIndex, target }: LinearSite) => layers.includes(layerIndex) && targets.includes(target);
  const maps = loraMapsOf(configuration);
  return {
    alpha_pattern: patternsOf(base, maps, 'alpha', alpha),
    bias: 'none',
    fan_in_fan_out: modulesOf(base).storesInOut,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: layers.length === base.layerCount ? null : layers,
    loftq_config: {},
    lora_alpha: alpha,
    lora_dropout: pythonFloat(dropout),
    megatron_config: null,
    megatron_core: 'megatron.core',
    r: rank,
    rank_pattern: patternsOf(base, maps, 'rank', rank),
    target_modules: namesOfTargets(base, isChosen, layers),
    use_dora: adapter.method === 'dora',
    use_rslora: rankStabilised,
  };
}

/**
 * Magnitudes of DoRA: PEFT stores m, we store m - ‖W‖. With norms rounded to float32 both ways, the difference of numbers within a factor of
 * two is exact (Sterbenz 1974), so that files come back as they were; small differences of ours lose what is below the last bit of a norm.
 */
function withMagnitudes(
  { adapter, values }: FilledAdapter,
  base: BaseDescription,
  { baseTensor, sign }: { readonly baseTensor: BaseTensor; readonly sign: 1 | -1 },
): ReadonlyMap<string, Float32Array> {
  if (adapter.method !== 'dora') return values;
  const changed = new Map(values);
  for (const { site, name } of loraMapsOf(configurationOf(adapter, base))) {
    const { outSize } = base.linearTargets[site.target]!;
    const norms = rowNorms(baseTensor(`${pathOf(base, site)}.weight`), outSize, modulesOf(base).storesInOut);
    const magnitude = values.get(`${name}.magnitude`)!;
    changed.set(
      `${name}.magnitude`,
      magnitude.map((value, row) => value + sign * norms[row]!),
    );
  }
  return changed;
}

/** ‖W‖ of every output, in float64 and rounded once. */
function rowNorms(weight: Float32Array, outSize: number, isInOut: boolean): Float32Array {
  const inSize = weight.length / outSize;
  return Float32Array.from({ length: outSize }, (_, output) => {
    let sum = 0;
    for (let input = 0; input < inSize; input++)
      sum += weight[isInOut ? input * outSize + output : output * inSize + input]! ** 2;
    return Math.sqrt(sum);
  });
}

/** The type `LORA`. */
export const peftLora: PeftMethod = {
  type: 'LORA',
  methods: ['lora', 'dora'],
  hasSavedModules: true,
  rules,
  read,
  write,
  toFile: (filled, base, baseTensor) => {
    const whole = joinParts(filled, configurationOf(filled.adapter, base), base);
    return { adapter: whole.adapter, values: withMagnitudes(whole, base, { baseTensor, sign: 1 }) };
  },
  fromFile: (filled, base, baseTensor) => withMagnitudes(filled, base, { baseTensor, sign: -1 }),
  tensors: (adapter, base, prefix) =>
    loraMapsOf(configurationOf(adapter, base)).flatMap(({ site, name, rank }) => {
      const { inSize, outSize } = base.linearTargets[site.target]!;
      const stem = `${prefix}${pathOf(base, site)}`;
      return [
        { name: `${stem}.lora_A.weight`, shape: [rank, inSize], parts: [`${name}.a`], transposed: false },
        { name: `${stem}.lora_B.weight`, shape: [outSize, rank], parts: [`${name}.b`], transposed: false },
        ...(adapter.method === 'dora'
          ? [
              {
                name: `${stem}.lora_magnitude_vector`,
                shape: [outSize],
                parts: [`${name}.magnitude`],
                transposed: false,
              },
            ]
          : []),
      ];
    }),
};
