/**
 * LoRA in AdapterHub's files: `….loras.<name>.lora_A` `[r, in]` and `lora_B` `[out, r]`. On a fused query, key and value map the chosen parts
 * are one tensor in equal blocks: A `[n r, in]`, B `[n out, r]`, which are not PEFT's factors of the whole map.
 */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription, LinearTarget } from '../../model/base-model.ts';
import { shown } from '../../plan/problems.ts';
import { type LoraConfiguration, lora, loraMapsOf } from '../lora.ts';
import type { BoundAdapter } from '../registry.ts';
import type { AdapterHubMethod } from './adapterhub-method.ts';
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
  probability,
} from './config-fields.ts';
import type { TensorMapping } from './foreign-tensors.ts';
import { pathOf } from './module-paths.ts';
import { pythonFloat } from './python-json.ts';

/** Parts of attention. */
export const parts = ['q', 'k', 'v'] as const;

/** Fields of the architecture `lora`. */
export const loraRules: FieldRules = {
  selfattn_lora: flag,
  intermediate_lora: flag,
  output_lora: flag,
  leave_out: layersOrNull,
  r: count,
  alpha: number,
  dropout: probability,
  attn_matrices: {
    expected: 'a list of q, k, v',
    holds: (value) => Array.isArray(value) && value.every((item) => parts.some((part) => part === item)),
  },
  composition_mode: oneOf('add'),
  init_weights: anything,
  init_weights_seed: anything,
  use_gating: off,
  vera_d: nothing,
  vera_b: nothing,
  dtype: anything,
};

/** The maps that `intermediate_lora` and `output_lora` mean; on Llama the library has them the other way round. */
export function feedForwardMaps({ family }: BaseDescription): {
  readonly intermediate: LinearTarget;
  readonly output: LinearTarget;
} {
  return family === 'llama' ? { intermediate: 'down', output: 'up' } : { intermediate: 'up', output: 'down' };
}

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): LoraConfiguration {
  const { method: _, ...settings } = configuration;
  return lora.parse(settings, base);
}

/** Groups of maps that the file holds as one tensor, with the module that has it. */
export function groupsOf(targets: readonly LinearTarget[], { linearTargets }: BaseDescription) {
  const fused =
    linearTargets.qkv === undefined ? [] : targets.filter((target) => parts.some((part) => part === target));
  const single = targets
    .filter((target) => !fused.includes(target))
    .map((target) => ({ targets: [target], module: target }));
  return [...(fused.length === 0 ? [] : [{ targets: fused, module: 'qkv' as const }]), ...single];
}

function refuse(what: string, hint: string): never {
  throw new UsageError('not-exportable', `AdapterHub has no place for a LoRA with ${what}; ${hint}`);
}

/** The architecture `lora` that adds. */
export const adapterHubLora: AdapterHubMethod = {
  method: 'lora',
  recognises: (architecture, configuration) => architecture === 'lora' && configuration.composition_mode !== 'scale',
  rules: loraRules,
  read: (configuration, { base, version }) => {
    const maps = feedForwardMaps(base);
    const asked = (configuration.attn_matrices ?? ['q', 'v']) as readonly LinearTarget[];
    const rank = configuration.r ?? 8;
    // Versions before 1.1.0 scaled by 1 whatever alpha said.
    const isMisscaled = version !== null && (version[0]! < 1 || (version[0] === 1 && version[1]! < 1));
    return {
      method: 'lora',
      targets: [
        ...((configuration.selfattn_lora ?? true) === true ? parts.filter((part) => asked.includes(part)) : []),
        ...(configuration.intermediate_lora === true ? [maps.intermediate] : []),
        ...(configuration.output_lora === true ? [maps.output] : []),
      ],
      rank,
      alpha: isMisscaled ? rank : (configuration.alpha ?? 8),
      dropout: configuration.dropout ?? 0,
      leaveOut: configuration.leave_out ?? [],
    };
  },
  write: (adapter, base) => {
    const configuration = configurationOf(adapter, base);
    const { targets, layers, dropout } = configuration;
    const maps = feedForwardMaps(base);
    const known: readonly LinearTarget[] = [...parts, maps.intermediate, maps.output];
    const other = targets.find((target) => !known.includes(target));
    if (other !== undefined) {
      const hint = other === 'qkv' ? 'its factors are per part q, k, v. ' : '';
      refuse(`the target ${other}`, `${hint}--format peft holds it`);
    }
    const [first, ...rest] = loraMapsOf(configuration);
    const odd = rest.find(({ rank, scale }) => rank !== first!.rank || scale !== first!.scale);
    if (odd !== undefined)
      refuse('ranks or alphas of single maps', `${shown(odd.name)} has its own. --format peft holds them`);
    return {
      alpha: first!.scale * first!.rank,
      architecture: 'lora',
      attn_matrices: parts.filter((part) => targets.includes(part)),
      composition_mode: 'add',
      dropout: pythonFloat(dropout),
      dtype: null,
      init_weights: 'lora',
      init_weights_seed: null,
      intermediate_lora: targets.includes(maps.intermediate),
      leave_out: Array.from({ length: base.layerCount }, (_, layer) => layer).filter(
        (layer) => !layers.includes(layer),
      ),
      output_lora: targets.includes(maps.output),
      r: first!.rank,
      selfattn_lora: parts.some((part) => targets.includes(part)),
      use_gating: false,
      vera_b: null,
      vera_d: null,
    };
  },
  tensors: (adapter, base, { prefix, name }) => {
    const { layers, targets, rank } = configurationOf(adapter, base);
    return layers.flatMap((layerIndex) =>
      groupsOf(targets, base).flatMap(({ targets: group, module }): TensorMapping[] => {
        const { inSize, outSize } = base.linearTargets[group[0]!]!;
        const stem = `${prefix}${pathOf(base, { layerIndex, target: module })}.loras.${name}`;
        const own = (factor: string) => group.map((target) => `layers.${layerIndex}.${target}.lora.${factor}`);
        const size = group.length;
        return [
          { name: `${stem}.lora_A`, shape: [size * rank, inSize], parts: own('a'), transposed: false },
          { name: `${stem}.lora_B`, shape: [size * outSize, rank], parts: own('b'), transposed: false },
        ];
      }),
    );
  },
};
