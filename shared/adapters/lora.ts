/**
 * Low-rank adaptation (Hu 2021, section 4.1) of frozen linear maps: y = W x + c + s B A drop(x) with A `[rank, in]` and B `[out, rank]`,
 * which are the only parameters; s = alpha / rank, or alpha / √rank (Kalajdzievski 2023, rank-stabilised). B starts at zero.
 *
 * Factors are stored as PEFT stores them. On a base that fuses query, key and value, the target `qkv` is one pair of factors for all three,
 * as in PEFT; `q`, `k` and `v` are pairs of their own, as in AdapterHub (`loras` on GPT-2 with a grouped factor).
 */
import { add, mul, type Tensor2D } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { type Stackable, stackableMatMul, transposedEach } from '../compute/stacked-products.ts';
import { assert } from '../core/assert.ts';
import type { SeededRandom } from '../core/random.ts';
import type { BaseDescription, LinearSite, LinearTarget } from '../model/base-model.ts';
import { booleanField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import { type Problem, shown } from '../plan/problems.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { dropout } from './dropout.ts';
import { kaimingUniform, zeroValues } from './initial-values.ts';
import { patterned, patternKeys, queryAndValue, selectTargets, sitesOf, targetsField } from './linear-targets.ts';
import { addLowRank, valuesOf, withKernel } from './merge-arithmetic.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';

/** Settings of `lora` and `dora` with defaults filled in. */
export interface LoraConfiguration extends LayerChoice {
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
}

/** Largest rank: beyond the width of any map of a base for the edge. */
const rankMax = 65_536;
const rankField = wholeField(1, rankMax);
const alphaField = numberField({ above: 0 });

const schema = sectionField({
  targets: targetsField,
  rank: z._default(rankField, 8),
  alpha: z._default(alphaField, 16),
  rankPattern: z._default(z.record(z.string(), rankField, { error: 'a map from linear maps to ranks' }), {}),
  alphaPattern: z._default(z.record(z.string(), alphaField, { error: 'a map from linear maps to alphas' }), {}),
  rankStabilised: z._default(booleanField(), false),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  ...layerFields,
});

/** Reads the settings of `method`, `lora` or `dora`. @throws UsageError `bad-adapter` with one line per fault. */
export function parseLora(method: string, value: unknown, base: BaseDescription): LoraConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings(method, schema, value), base, problems);
  const targets = selectTargets(others.targets, queryAndValue(base), base, problems);
  for (const field of ['rankPattern', 'alphaPattern'] as const) {
    const known = sitesOf({ layers: chosen.layers, targets }).flatMap(patternKeys);
    for (const key of Object.keys(others[field])) {
      if (problems.length === 0 && !known.includes(key)) {
        const example = known.length === 0 ? '' : `, such as ${known.slice(0, 3).join(', ')}`;
        problems.push({ path: `${field}.${key}`, sentence: `must name chosen maps${example}, found ${shown(key)}` });
      }
    }
  }
  if (problems.length > 0) refuseSettings(method, problems);
  return { ...others, targets, ...chosen };
}

function siteName({ layerIndex, target }: LinearSite): string {
  return `layers.${layerIndex}.${target}.lora`;
}

/** One adapted map: where it is, the beginning of its tensors' names (`<name>.a`, `<name>.b`), and its numbers. */
export interface LoraMap {
  readonly site: LinearSite;
  readonly name: string;
  readonly rank: number;
  readonly alpha: number;
  /** s. */
  readonly scale: number;
}

/** The maps that a configuration adapts, in layout order. */
export function loraMapsOf(configuration: LoraConfiguration): LoraMap[] {
  return sitesOf(configuration).map((site) => loraMapAt(configuration, site));
}

/** The numbers of one adapted map. */
function loraMapAt(
  { rank: everyRank, alpha: everyAlpha, rankPattern, alphaPattern, rankStabilised }: LoraConfiguration,
  site: LinearSite,
): LoraMap {
  const rank = patterned(rankPattern, site, everyRank);
  const alpha = patterned(alphaPattern, site, everyAlpha);
  return { site, name: siteName(site), rank, alpha, scale: alpha / (rankStabilised ? Math.sqrt(rank) : rank) };
}

/** {@link loraMapAt}, or undefined where the configuration leaves the map alone. */
export function adaptedMapAt(configuration: LoraConfiguration, site: LinearSite): LoraMap | undefined {
  const isAdapted = configuration.layers.includes(site.layerIndex) && configuration.targets.includes(site.target);
  return isAdapted ? loraMapAt(configuration, site) : undefined;
}

/** The two factors of a map, in the order of the layout. */
export function factorTensors(
  { linearTargets }: BaseDescription,
  { site, name, rank }: LoraMap,
): TensorSpecification[] {
  const map = linearTargets[site.target];
  assert(map !== undefined, `the base has no linear map ${site.target}`);
  const fixed = { aggregationClass: 'mean', decays: true } as const;
  return [
    { name: `${name}.a`, shape: [rank, map.inSize], ...fixed, pair: { name, factor: 'a' } },
    { name: `${name}.b`, shape: [map.outSize, rank], ...fixed, pair: { name, factor: 'b' } },
  ];
}

/** Start values of a factor: A uniform in ±1/√in, B zero. */
export function initialFactor({ name, shape }: TensorSpecification, random: SeededRandom): Float32Array {
  return name.endsWith('.a') ? kaimingUniform(shape, shape[1]!, random) : zeroValues(shape);
}

/** B A drop(x) `[rows, out]` of `input` x `[rows, in]`. */
export function lowRankProduct(input: Tensor2D, name: string, probability: number, context: AdapterContext): Tensor2D {
  const factor = (part: string) => transposedEach(tensorOf<Stackable>(context, `${name}.${part}`));
  return stackableMatMul(stackableMatMul(dropout(input, probability, context, name), factor('a')), factor('b'));
}

/** The change of a map's kernel, times `sign`. */
function kernelChange({ name, rank, scale }: LoraMap, parameters: ReadonlyMap<string, Float32Array>, sign: 1 | -1) {
  return { a: valuesOf(parameters, `${name}.a`), b: valuesOf(parameters, `${name}.b`), rank, scale: sign * scale };
}

/** The method `lora`. */
export const lora: AdapterMethod<LoraConfiguration> = {
  name: 'lora',
  parse: (value, base) => parseLora('lora', value, base),
  layout: (base, configuration) => loraMapsOf(configuration).flatMap((map) => factorTensors(base, map)),
  initialise: (specification, _, random) => initialFactor(specification, random),
  // Dropout draws for all rows of a pass.
  stacks: ({ dropout: probability }) => probability === 0,
  hooks: (_, configuration, context) => ({
    lowestLayerIndex: Math.min(...configuration.layers),
    isTokenwise: true,
    linearTargets: new Set(configuration.targets),
    linear: (site, input, output) => {
      const map = adaptedMapAt(configuration, site);
      if (map === undefined) return undefined;
      return add(output, mul(lowRankProduct(input, map.name, configuration.dropout, context), map.scale));
    },
  }),
  merge: (_, configuration, site, weights, parameters) => {
    const map = adaptedMapAt(configuration, site);
    return map && withKernel(weights, addLowRank(weights.kernel, kernelChange(map, parameters, 1)));
  },
  unmerge: (_, configuration, site, weights, parameters) => {
    const map = adaptedMapAt(configuration, site);
    return map && withKernel(weights, addLowRank(weights.kernel, kernelChange(map, parameters, -1)));
  },
};
