/**
 * Low-rank adaptation (Hu 2021, section 4.1) of frozen linear maps: y = W x + c + s B A drop(x) with A `[rank, in]` and B `[out, rank]`,
 * which are the only parameters; s = alpha / rank, or alpha / √rank (Kalajdzievski 2023, rank-stabilised). B starts at zero.
 *
 * Factors are stored as PEFT stores them. On a base that fuses query, key and value, the target `qkv` is one pair of factors for all three,
 * as in PEFT; `q`, `k` and `v` are pairs of their own, as in AdapterHub (`loras` on GPT-2 with a grouped factor).
 */
import { add, mul, type Tensor2D, transpose } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableMatMul } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import type { BaseDescription, LinearSite, LinearTarget } from '../model/base-model.ts';
import { booleanField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import { nearest } from '../plan/nearest.ts';
import { type Problem, shown } from '../plan/problems.ts';
import { dropout } from './dropout.ts';
import { kaimingUniform, zeroValues } from './initial-values.ts';
import type { AdapterMethod } from './method.ts';
import { layerFields, parseSettings, refuseSettings, selectLayers } from './settings.ts';

/** Settings of `lora` with defaults filled in. */
export interface LoraConfiguration {
  /** Linear maps of every layer. In a plan also `all-linear`. Default: query and value, on a base that fuses them `qkv`. */
  readonly targets: readonly LinearTarget[];
  /** Inner width. Default 8. */
  readonly rank: number;
  /** Scale before the division by the rank. Default 16. */
  readonly alpha: number;
  /** Ranks of some maps: by `q`, by `layers.1`, or by `layers.1.q`; the most exact name counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Alphas of some maps, named in the same way. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** s = alpha / √rank in place of alpha / rank. Default false. */
  readonly rankStabilised: boolean;
  /** Probability with which a value of the input of A is dropped in training. Default 0. */
  readonly dropout: number;
  /** Layers with an adapter, ascending. In a plan also `all` (default), and `leaveOut` for those without. */
  readonly layers: readonly number[];
}

/** Order of targets within a layer, in a layout and in messages. */
const targetOrder: readonly LinearTarget[] = ['q', 'k', 'v', 'qkv', 'o', 'gate', 'up', 'down'];
/** Largest rank: beyond the width of any map of a base for the edge. */
const rankMax = 65_536;
const rankField = wholeField(1, rankMax);
const alphaField = numberField({ above: 0 });
const targetsError = 'all-linear, or a list of linear maps of the base';

const schema = sectionField({
  targets: z.optional(
    z.union([z.literal('all-linear'), z.array(z.string({ error: 'the name of a linear map' }))], {
      error: targetsError,
    }),
  ),
  rank: z._default(rankField, 8),
  alpha: z._default(alphaField, 16),
  rankPattern: z._default(z.record(z.string(), rankField, { error: 'a map from linear maps to ranks' }), {}),
  alphaPattern: z._default(z.record(z.string(), alphaField, { error: 'a map from linear maps to alphas' }), {}),
  rankStabilised: z._default(booleanField(), false),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  ...layerFields,
});

function parse(value: unknown, base: BaseDescription): LoraConfiguration {
  const { leaveOut, ...settings } = parseSettings('lora', schema, value);
  const problems: Problem[] = [];
  const layers = selectLayers({ layers: settings.layers, leaveOut }, base, problems);
  const targets = selectTargets(settings.targets, base, problems);
  for (const field of ['rankPattern', 'alphaPattern'] as const) {
    const known = layers.flatMap((layer) => targets.flatMap((target) => patternKeys({ layerIndex: layer, target })));
    for (const key of Object.keys(settings[field])) {
      if (problems.length === 0 && !known.includes(key)) {
        const example = known.length === 0 ? '' : `, such as ${known.slice(0, 3).join(', ')}`;
        problems.push({ path: `${field}.${key}`, sentence: `must name chosen maps${example}, found ${shown(key)}` });
      }
    }
  }
  if (problems.length > 0) refuseSettings('lora', problems);
  return { ...settings, targets, layers };
}

function selectTargets(
  asked: 'all-linear' | readonly string[] | undefined,
  { linearTargets, family }: BaseDescription,
  problems: Problem[],
): LinearTarget[] {
  const present = targetOrder.filter((target) => linearTargets[target] !== undefined);
  const isFused = present.includes('qkv');
  const parts: readonly LinearTarget[] = ['q', 'k', 'v'];
  if (asked === undefined) return isFused ? ['qkv'] : present.filter((target) => target === 'q' || target === 'v');
  if (asked === 'all-linear') return present.filter((target) => !isFused || !parts.includes(target));
  const list = `all-linear, or of ${present.join(', ')}`;
  if (asked.length === 0) problems.push({ path: 'targets', sentence: `must be ${list}, found an empty list` });
  for (const [index, name] of asked.entries()) {
    if (present.some((target) => target === name)) continue;
    const near = nearest(name, present);
    const hint = near === null ? '' : ` (did you mean ${near}?)`;
    const sentence = `must be one of ${present.join(', ')}${hint} on this ${family}, found ${shown(name)}`;
    problems.push({ path: `targets[${index}]`, sentence });
  }
  const chosen = present.filter((target) => asked.includes(target));
  if (chosen.includes('qkv') && chosen.some((target) => parts.includes(target))) {
    problems.push({ path: 'targets', sentence: `must have either qkv or its parts q, k, v, found ${shown(asked)}` });
  }
  return chosen;
}

/** Names of a map in patterns, the most exact first. */
function patternKeys({ layerIndex, target }: LinearSite): readonly string[] {
  return [`layers.${layerIndex}.${target}`, `layers.${layerIndex}`, target];
}

function patterned(pattern: Readonly<Record<string, number>>, site: LinearSite, otherwise: number): number {
  const key = patternKeys(site).find((name) => Object.hasOwn(pattern, name));
  return key === undefined ? otherwise : pattern[key]!;
}

function siteName({ layerIndex, target }: LinearSite): string {
  return `layers.${layerIndex}.${target}.lora`;
}

function scaleOf(
  { rank, alpha, rankPattern, alphaPattern, rankStabilised }: LoraConfiguration,
  site: LinearSite,
): number {
  const own = patterned(rankPattern, site, rank);
  return patterned(alphaPattern, site, alpha) / (rankStabilised ? Math.sqrt(own) : own);
}

/** The method `lora`. */
export const lora: AdapterMethod<LoraConfiguration> = {
  name: 'lora',
  parse,
  layout: ({ linearTargets }, { layers, targets, rank, rankPattern }) =>
    layers.flatMap((layerIndex) =>
      targets.flatMap((target) => {
        const site = { layerIndex, target };
        const map = linearTargets[target];
        assert(map !== undefined, `the base has no linear map ${target}`);
        const own = patterned(rankPattern, site, rank);
        const fixed = { aggregationClass: 'mean', decays: true } as const;
        return [
          { name: `${siteName(site)}.a`, shape: [own, map.inSize], ...fixed },
          { name: `${siteName(site)}.b`, shape: [map.outSize, own], ...fixed },
        ];
      }),
    ),
  initialise: ({ name, shape }, _, random) =>
    name.endsWith('.a') ? kaimingUniform(shape, shape[1]!, random) : zeroValues(shape),
  hooks: (_, configuration, context) => {
    const { layers, targets } = configuration;
    const factor = (name: string) => {
      const tensor = context.parameters.get(name);
      assert(tensor !== undefined, `the parameters hold no tensor ${name}`);
      return transpose(tensor as Tensor2D);
    };
    return {
      lowestLayerIndex: Math.min(...layers),
      linearTargets: new Set(targets),
      linear: (site, input, output) => {
        if (!layers.includes(site.layerIndex) || !targets.includes(site.target)) return undefined;
        const name = siteName(site);
        const inner = trainableMatMul(dropout(input, configuration.dropout, context, name), factor(`${name}.a`));
        return add(output, mul(trainableMatMul(inner, factor(`${name}.b`)), scaleOf(configuration, site)));
      },
    };
  },
};
