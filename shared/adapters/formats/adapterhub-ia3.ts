/** (IA)³ in AdapterHub's files: the architecture `lora` with `composition_mode` `scale`, of whose factors only `lora_B` `[out, 1]` is there. */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription, LinearTarget } from '../../model/base-model.ts';
import { type Ia3Configuration, ia3 } from '../ia3.ts';
import type { BoundAdapter } from '../registry.ts';
import { feedForwardMaps, groupsOf, loraRules, parts } from './adapterhub-lora.ts';
import type { AdapterHubMethod } from './adapterhub-method.ts';
import { anything, oneOf } from './config-fields.ts';
import type { TensorMapping } from './foreign-tensors.ts';
import { pathOf } from './module-paths.ts';
import { pythonFloat } from './python-json.ts';

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): Ia3Configuration {
  const { method: _, ...settings } = configuration;
  return ia3.parse(settings, base);
}

/** The architecture `lora` that scales. */
export const adapterHubIa3: AdapterHubMethod = {
  method: 'ia3',
  recognises: (architecture, configuration) => architecture === 'lora' && configuration.composition_mode === 'scale',
  rules: { ...loraRules, composition_mode: oneOf('scale'), r: oneOf(1), alpha: anything },
  read: (configuration, { base }) => {
    const maps = feedForwardMaps(base);
    const asked = (configuration.attn_matrices ?? ['k', 'v']) as readonly LinearTarget[];
    return {
      method: 'ia3',
      variant: 'adapterhub',
      outputs: [
        ...((configuration.selfattn_lora ?? true) === true ? parts.filter((part) => asked.includes(part)) : []),
        ...(configuration.intermediate_lora === true ? [maps.intermediate] : []),
        ...(configuration.output_lora === true ? [maps.output] : []),
      ],
      inputs: [],
      leaveOut: configuration.leave_out ?? [],
    };
  },
  write: (adapter, base) => {
    const { outputs, inputs, layers } = configurationOf(adapter, base);
    const maps = feedForwardMaps(base);
    const known: readonly LinearTarget[] = [...parts, maps.intermediate, maps.output];
    const other = inputs[0] ?? outputs.find((target) => !known.includes(target));
    if (other !== undefined) {
      throw new UsageError(
        'not-exportable',
        `AdapterHub scales the outputs of q, k, v and of the feed-forward, this adapter ${inputs.length > 0 ? 'the input' : 'the output'} of ${other}; --format peft holds it`,
      );
    }
    return {
      alpha: 1,
      architecture: 'lora',
      attn_matrices: parts.filter((part) => outputs.includes(part)),
      composition_mode: 'scale',
      dropout: pythonFloat(0),
      dtype: null,
      init_weights: 'ia3',
      init_weights_seed: null,
      intermediate_lora: outputs.includes(maps.intermediate),
      leave_out: Array.from({ length: base.layerCount }, (_, layer) => layer).filter(
        (layer) => !layers.includes(layer),
      ),
      output_lora: outputs.includes(maps.output),
      r: 1,
      selfattn_lora: parts.some((part) => outputs.includes(part)),
      use_gating: false,
      vera_b: null,
      vera_d: null,
    };
  },
  tensors: (adapter, base, { prefix, name }) => {
    const { layers, outputs } = configurationOf(adapter, base);
    return layers.flatMap((layerIndex) =>
      groupsOf(outputs, base).map(({ targets, module }): TensorMapping => {
        const { outSize } = base.linearTargets[targets[0]!]!;
        return {
          name: `${prefix}${pathOf(base, { layerIndex, target: module })}.loras.${name}.lora_B`,
          shape: [targets.length * outSize, 1],
          parts: targets.map((target) => `layers.${layerIndex}.${target}.ia3.scale`),
          transposed: false,
        };
      }),
    );
  },
};
