/**
 * Prefix tuning in AdapterHub's files, flat: one vector for all layers, in the order of a matrix `[length, 2 L width]` with keys and values of
 * layer 0, then those of layer 1, side by side. The library holds it in a pool that all layers share; it stands where layer 0 has it.
 */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { type PrefixConfiguration, prefix as prefixMethod } from '../prefix.ts';
import type { BoundAdapter } from '../registry.ts';
import type { AdapterHubMethod } from './adapterhub-method.ts';
import { anything, count, nothing, off, probability } from './config-fields.ts';
import { modulesOf } from './module-paths.ts';
import { pythonFloat } from './python-json.ts';

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): PrefixConfiguration {
  const { method: _, ...settings } = configuration;
  return prefixMethod.parse(settings, base);
}

/** The module that has the pool, and what the library calls the place. */
function poolOf({ family }: BaseDescription): readonly [module: string, place: string] {
  if (family === 'bert' || family === 'roberta') return ['attention.self', 'self_prefix'];
  if (family === 'distilbert') return ['attention', 'self'];
  return [family === 'gpt2' ? 'attn' : 'self_attn', 'self_prefix'];
}

/** The architecture `prefix_tuning`. */
export const adapterHubPrefix: AdapterHubMethod = {
  method: 'prefix',
  recognises: (architecture) => architecture === 'prefix_tuning',
  rules: {
    flat: {
      expected: 'true: save the adapter after model.eject_prefix_tuning(name)',
      holds: (value) => value === true,
    },
    encoder_prefix: { expected: 'true', holds: (value) => value === true },
    cross_prefix: anything,
    leave_out: nothing,
    prefix_length: count,
    bottleneck_size: anything,
    non_linearity: anything,
    dropout: probability,
    use_gating: off,
    shared_gating: anything,
    init_weights_seed: anything,
  },
  read: (configuration) => ({
    method: 'prefix',
    length: configuration.prefix_length ?? 30,
    positions: 'kept',
    dropout: configuration.dropout ?? 0,
  }),
  write: (adapter, base) => {
    const { length, positions, layers, dropout } = configurationOf(adapter, base);
    if (positions !== 'kept' || layers.length !== base.layerCount) {
      const problem =
        positions === 'kept'
          ? `has prefixes in every layer here, this adapter in ${layers.length} of ${base.layerCount}`
          : 'keeps the positions of the text, this adapter counts them on behind the prefix: --format peft';
      throw new UsageError('not-exportable', `AdapterHub ${problem}; --format tributary holds it`);
    }
    return {
      architecture: 'prefix_tuning',
      bottleneck_size: 512,
      cross_prefix: true,
      dropout: pythonFloat(dropout),
      encoder_prefix: true,
      flat: true,
      init_weights_seed: null,
      leave_out: [],
      non_linearity: 'tanh',
      prefix_length: length,
      shared_gating: true,
      use_gating: false,
    };
  },
  toFile: ({ adapter, values }) => {
    const ejected = adapter.eject?.(values);
    return ejected === undefined ? { adapter, values } : { adapter: ejected.adapter, values: ejected.parameters };
  },
  tensors: (adapter, base, { prefix, name }) => {
    const { length, layers } = configurationOf(adapter, base);
    const [module, place] = poolOf(base);
    const width = base.keyValueHeadCount * base.headSize;
    return [
      {
        name: `${prefix}${modulesOf(base).blocks}.0.${module}.prefix_tuning.pool.prefix_tunings.${name}.${place}.control_trans`,
        shape: [length * 2 * layers.length * width],
        parts: layers.flatMap((layer) => [`layers.${layer}.prefix.keys`, `layers.${layer}.prefix.values`]),
        transposed: false,
        rows: length,
      },
    ];
  },
};
