/** PEFT's `adapter_config.json` and parameter names in terms of our LoRA. */
import type { BaseDescription, LinearTarget } from '../../shared/model/base-model.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { objectOf } from './fixture-files.ts';
import { layerOf, type TensorMapping } from './reference-tensors.ts';

/** What this version lacks for a configuration, or null. */
export function missingForPeft(settings: Readonly<Record<string, unknown>>): string | null {
  if (settings.peft_type !== 'LORA') return `method ${String(settings.peft_type)}`;
  if (settings.use_dora === true) return 'method DoRA';
  if (settings.bias !== 'none') return `LoRA with bias ${String(settings.bias)}`;
  return null;
}

/** The head that PEFT saves beside a sequence classifier's adapter. */
const classifier: Readonly<Record<string, TensorMapping>> = {
  'base_model.model.classifier.weight': {
    reference: 'base_model.model.classifier.weight',
    parts: ['head.kernel'],
    transposed: true,
  },
  'base_model.model.classifier.bias': {
    reference: 'base_model.model.classifier.bias',
    parts: ['head.bias'],
    transposed: false,
  },
};

/** Where a parameter lives. @throws Error for a name that is no LoRA factor and no classifier. */
export function mapPeftName(reference: string, base: BaseDescription): TensorMapping {
  const head = classifier[reference];
  if (head !== undefined) return head;
  const match = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(reference);
  if (match === null) throw new Error(`${reference} is no LoRA factor`);
  const { layerIndex, target } = siteOf(match[1]!, base);
  const part = `layers.${layerIndex}.${target}.lora.${match[2] === 'A' ? 'a' : 'b'}`;
  return { reference, parts: [part], transposed: false };
}

function siteOf(path: string, { linearTargets }: BaseDescription): { layerIndex: number; target: LinearTarget } {
  const { layerIndex, rest } = layerOf(path);
  const targets = Object.keys(linearTargets) as LinearTarget[];
  // PEFT adapts a fused map as one.
  const whole = targets.filter((target) => linearTargets.qkv === undefined || !['q', 'k', 'v'].includes(target));
  const target = whole.find((candidate) => linearTargets[candidate]!.moduleName === rest);
  if (target === undefined) throw new Error(`${path} is no linear map of this base`);
  return { layerIndex, target };
}

/** The plan's adapter section for an `adapter_config.json` whose file has factors under the names `references`. */
export function translatePeft(
  settings: Readonly<Record<string, unknown>>,
  references: readonly string[],
  base: BaseDescription,
): Plan['adapter'] {
  const modules = settings.target_modules;
  if (!Array.isArray(modules)) throw new Error('target_modules is no list');
  const patterns = (field: string) => Object.entries(objectOf(settings[field] ?? {}, field));
  const targets = new Set<LinearTarget>();
  const layers = new Set<number>();
  const rankPattern: Record<string, unknown> = {};
  const alphaPattern: Record<string, unknown> = {};
  for (const reference of references) {
    const path = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(reference)?.[1];
    if (path === undefined) continue;
    if (!modules.some((module) => path === module || path.endsWith(`.${String(module)}`)))
      throw new Error(`${path} is none of the target_modules ${modules.join(', ')}`);
    const { layerIndex, target } = siteOf(path, base);
    targets.add(target);
    layers.add(layerIndex);
    const own = (field: string) => patterns(field).find(([key]) => path === key || path.endsWith(`.${key}`))?.[1];
    const [rank, alpha] = [own('rank_pattern'), own('alpha_pattern')];
    if (rank !== undefined) rankPattern[`layers.${layerIndex}.${target}`] = rank;
    if (alpha !== undefined) alphaPattern[`layers.${layerIndex}.${target}`] = alpha;
  }
  return {
    method: 'lora',
    targets: [...targets],
    layers: [...layers],
    rank: settings.r,
    alpha: settings.lora_alpha,
    rankPattern,
    alphaPattern,
    rankStabilised: settings.use_rslora ?? false,
    dropout: settings.lora_dropout ?? 0,
  };
}
