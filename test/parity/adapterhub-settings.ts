/** AdapterHub's configurations (version 3 field names) in terms of ours. */
import type { Plan } from '../../shared/plan/plan.ts';
import { objectOf } from './fixture-files.ts';

/** What a configuration is here, or what this version lacks for it. */
export type Translated =
  | {
      readonly adapter: string;
      readonly configuration: Plan['adapter'];
      readonly attentionParts: readonly ('q' | 'k' | 'v')[];
    }
  | { readonly missing: string };

/** One entry of `cases.json`. @throws Error when a field is not what AdapterHub writes. */
export function translateCase(entry: Readonly<Record<string, unknown>>): Translated {
  const adapters = objectOf(entry.adapters, 'adapters');
  const names = Object.keys(adapters);
  const [name] = names;
  if (name === undefined) throw new Error('the case has no adapter');
  if (names.length > 1 || entry.active !== `Stack[${name}]`) return { missing: `composition ${String(entry.active)}` };
  const settings = objectOf(adapters[name], `adapters.${name}`);
  switch (settings.architecture ?? 'bottleneck') {
    case 'bottleneck':
      return translateBottleneck(name, settings);
    case 'lora':
      return translateLora(name, settings);
    default:
      return { missing: `method ${String(settings.architecture)}` };
  }
}

function translateBottleneck(adapter: string, settings: Readonly<Record<string, unknown>>): Translated {
  if (settings.is_parallel === true) return { missing: 'method parallel bottleneck' };
  if (settings.phm_layer === true) return { missing: 'method Compacter' };
  const expected = {
    scaling: (value: unknown) => typeof value === 'number',
    output_adapter: (value: unknown) => value === true,
    use_gating: isOff,
    ln_before: isOff,
    ln_after: isOff,
    inv_adapter: isOff,
    adapter_residual_before_ln: isOff,
    residual_before_ln: (value: unknown) => value === true,
    original_ln_after: (value: unknown) => value === true,
    // The one site reads the normed sum, the two sites read the bare output: the two published placements.
    original_ln_before: (value: unknown) => value === !settings.mh_adapter,
  };
  for (const [field, holds] of Object.entries(expected)) {
    if (!holds(settings[field])) return { missing: `bottleneck with ${field} ${JSON.stringify(settings[field])}` };
  }
  const configuration = {
    method: 'bottleneck',
    placement: settings.mh_adapter === true ? 'houlsby' : 'pfeiffer',
    reductionFactor: settings.reduction_factor,
    activation: settings.non_linearity,
    scaling: settings.scaling,
    leaveOut: settings.leave_out,
  };
  return { adapter, configuration, attentionParts: [] };
}

function isOff(value: unknown): boolean {
  return value === false || value === null || value === undefined;
}

function translateLora(adapter: string, settings: Readonly<Record<string, unknown>>): Translated {
  if (settings.composition_mode !== 'add')
    return { missing: `method LoRA that does ${String(settings.composition_mode)}, (IA)³` };
  if (settings.use_gating !== false) return { missing: 'LoRA with gating' };
  const asked = settings.attn_matrices;
  if (!Array.isArray(asked)) throw new Error('attn_matrices is no list');
  const attentionParts =
    settings.selfattn_lora === true ? (['q', 'k', 'v'] as const).filter((part) => asked.includes(part)) : [];
  const targets = [
    ...attentionParts,
    ...(settings.intermediate_lora === true ? ['up'] : []),
    ...(settings.output_lora === true ? ['down'] : []),
  ];
  const configuration = { method: 'lora', targets, rank: settings.r, alpha: settings.alpha };
  return { adapter, configuration, attentionParts };
}
