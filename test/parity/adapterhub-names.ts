/** AdapterHub's parameter names in terms of our layouts. */
import type { BaseDescription, LinearTarget } from '../../shared/model/base-model.ts';
import { layerOf, type TensorMapping } from './reference-tensors.ts';

/** What of an adapter's configuration the names depend on. */
export interface NameContext {
  readonly base: BaseDescription;
  /** Name of the adapter. */
  readonly adapter: string;
  /** Chosen parts of a fused query, key and value map, in that order. */
  readonly attentionParts: readonly LinearTarget[];
}

const sublayers: Readonly<Record<string, string>> = {
  'attention.output': 'attention',
  output: 'feedForward',
  attention_adapters: 'attention',
  output_adapters: 'feedForward',
};

/** Where a parameter lives. @throws Error for a name that no method here has. */
export function mapAdapterHubName(reference: string, context: NameContext): TensorMapping {
  const { layerIndex, rest } = layerOf(reference);
  const bottleneck = /^(.+)\.adapters\.([^.]+)\.adapter_(down\.0|up)\.(weight|bias)$/.exec(rest);
  if (bottleneck !== null) {
    const [, place, adapter, part, kind] = bottleneck;
    const sublayer = sublayers[place!];
    if (sublayer !== undefined && adapter === context.adapter) {
      const name = `${part === 'up' ? 'up' : 'down'}.${kind === 'bias' ? 'bias' : 'kernel'}`;
      return {
        reference,
        parts: [`layers.${layerIndex}.${sublayer}.bottleneck.${name}`],
        transposed: kind === 'weight',
      };
    }
  }
  const lora = /^(.+)\.loras\.([^.]+)\.lora_([AB])$/.exec(rest);
  if (lora !== null && lora[2] === context.adapter) {
    const targets = targetsOf(lora[1]!, context);
    const factor = lora[3] === 'A' ? 'a' : 'b';
    return {
      reference,
      parts: targets.map((target) => `layers.${layerIndex}.${target}.lora.${factor}`),
      transposed: false,
    };
  }
  throw new Error(`${reference} is no parameter of a known method`);
}

/** On a fused map AdapterHub groups the factors of the chosen parts into one tensor; elsewhere a module is a target. */
function targetsOf(module: string, { base: { linearTargets }, attentionParts }: NameContext): readonly LinearTarget[] {
  if (linearTargets.qkv?.moduleName === module) return attentionParts;
  const targets = Object.keys(linearTargets) as LinearTarget[];
  const target = targets.find((candidate) => linearTargets[candidate]!.moduleName === module);
  if (target === undefined) throw new Error(`${module} is no linear map of this base`);
  return [target];
}
