/** The linear maps that an adapter acts on: their choice in a configuration, their order, and settings of single maps. */
import * as z from 'zod/mini';
import type { BaseDescription, LinearSite, LinearTarget } from '../model/base-model.ts';
import { nearest } from '../plan/nearest.ts';
import { type Problem, shown } from '../plan/problems.ts';

/** Order of targets within a layer, in a layout and in messages. */
const targetOrder: readonly LinearTarget[] = ['q', 'k', 'v', 'qkv', 'o', 'gate', 'up', 'down'];
/** The parts of a fused map. */
const parts: readonly LinearTarget[] = ['q', 'k', 'v'];
const targetsError = 'all-linear, or a list of linear maps of the base';

/** A choice of targets in a plan; {@link selectTargets} reads it. */
export const targetsField = z.optional(
  z.union([z.literal('all-linear'), z.array(z.string({ error: 'the name of a linear map' }))], { error: targetsError }),
);

/** A list of targets, which may be empty. */
export const targetListField = z.optional(
  z.array(z.string({ error: 'the name of a linear map' }), { error: 'a list of linear maps of the base' }),
);

/** Linear maps of a base; where it fuses query, key and value, with both the whole and its parts. */
function targetsOf({ linearTargets }: Pick<BaseDescription, 'linearTargets'>): LinearTarget[] {
  return targetOrder.filter((target) => linearTargets[target] !== undefined);
}

/** Query and value; on a base that fuses them `qkv`. */
export function queryAndValue(base: BaseDescription): LinearTarget[] {
  return base.linearTargets.qkv === undefined ? ['q', 'v'] : ['qkv'];
}

/** The targets that `field` asks for, in the order of a layout; `otherwise` where it asks for none. Appends faults to `problems`. */
export function selectTargets(
  asked: 'all-linear' | readonly string[] | undefined,
  otherwise: readonly LinearTarget[],
  base: BaseDescription,
  problems: Problem[],
  field = 'targets',
): LinearTarget[] {
  const present = targetsOf(base);
  const isFused = present.includes('qkv');
  if (asked === undefined) return present.filter((target) => otherwise.includes(target));
  if (asked === 'all-linear') return present.filter((target) => !isFused || !parts.includes(target));
  const list = `all-linear, or of ${present.join(', ')}`;
  if (asked.length === 0 && field === 'targets')
    problems.push({ path: field, sentence: `must be ${list}, found an empty list` });
  for (const [index, name] of asked.entries()) {
    if (present.some((target) => target === name)) continue;
    const near = nearest(name, present);
    const hint = near === null ? '' : ` (did you mean ${near}?)`;
    const sentence = `must be one of ${present.join(', ')}${hint} on this ${base.family}, found ${shown(name)}`;
    problems.push({ path: `${field}[${index}]`, sentence });
  }
  const chosen = present.filter((target) => asked.includes(target));
  if (chosen.includes('qkv') && chosen.some((target) => parts.includes(target))) {
    problems.push({ path: field, sentence: `must have either qkv or its parts q, k, v, found ${shown(asked)}` });
  }
  return chosen;
}

/** The sites of `targets` in `layers`, layer by layer. */
export function sitesOf({
  layers,
  targets,
}: {
  readonly layers: readonly number[];
  readonly targets: readonly LinearTarget[];
}): LinearSite[] {
  return layers.flatMap((layerIndex) => targets.map((target) => ({ layerIndex, target })));
}

/** Names of a map in a map of settings, the most exact first: `layers.1.q`, `layers.1`, `q`. */
export function patternKeys({ layerIndex, target }: LinearSite): readonly string[] {
  return [`layers.${layerIndex}.${target}`, `layers.${layerIndex}`, target];
}

/** What `pattern` says of a site under its most exact name, else `otherwise`. */
export function patterned(pattern: Readonly<Record<string, number>>, site: LinearSite, otherwise: number): number {
  const key = patternKeys(site).find((name) => Object.hasOwn(pattern, name));
  return key === undefined ? otherwise : pattern[key]!;
}
