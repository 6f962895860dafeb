/**
 * One adapter from several of the same method on the same base, in parameters and not in what they compute: nothing is added at run time.
 *
 * | kind | result | exact? |
 * |---|---|---|
 * | `linear` | Σ w θ; of LoRA factors A by √\|w s\| and its sign, B by √\|w s\|, as in PEFT | for one adapter, or for factors that are the same |
 * | `cat` | LoRA of rank Σ r | yes |
 * | `svd` | LoRA of a chosen rank, closest to the exact sum | but for what is reported as left out |
 * | `ties` | largest values, elected signs, mean of those that agree (Yadav 2023) | no |
 * | `magnitude-prune` | largest values, then `linear` | no |
 * | `dare-linear`, `dare-ties` | values kept by chance and scaled up (Yu 2024), then as named | in expectation |
 *
 * Results are equal to PEFT's `add_weighted_adapter`; its `svd` counts s twice, this one once. A merged LoRA adapter has the scale 1. The
 * heads, which must be for the same task, are averaged with the weights divided by their sum, as are all tensors of other methods, since a
 * non-linear adapter does not stand being scaled up. The three that thin out need a method in which zero means no change.
 */
import { UsageError } from '../../core/errors.ts';
import { seededRandom } from '../../core/random.ts';
import type { BaseDescription, LinearTarget } from '../../model/base-model.ts';
import { type AdapterLayout, layoutOf, specificationOf } from '../../update/layout.ts';
import { flatten, unflatten } from '../../update/vector.ts';
import { type AdapterDocument, createAdapterDocument } from '../adapter-document.ts';
import { type LoraConfiguration, type LoraMap, loraMapsOf, parseLora } from '../lora.ts';
import { type Contributions, dropAndRescale, electAndMerge, keepLargest, weightedSum } from './elementwise.ts';
import type { MergeKind } from './kinds.ts';
import { approximate, concatenate, type Factors, type ScaledFactors } from './low-rank.ts';

/** How to merge. */
export interface MergeOptions {
  readonly kind: MergeKind;
  /** w, one for each adapter. */
  readonly weights: readonly number[];
  /** Share of the values that the thinning kinds keep, above 0 and at most 1. Default 0.5. */
  readonly density?: number;
  /** Rank of `svd`. Default: the largest that any of the adapters has at the map. */
  readonly rank?: number;
  /** Decides what DARE drops. Default 1. */
  readonly seed?: number;
}

/** A merged adapter. */
export interface Merged {
  readonly document: AdapterDocument;
  /** Of `svd`: the largest share of the norm of a map that its rank leaves out; null for other kinds. */
  readonly discarded: number | null;
}

/** Names in which a tensor of a bottleneck is 1 where nothing is changed. */
const centredOnOne = /\.(scale|gain)$/;

/** Merges adapters. @throws UsageError `not-mergeable` naming what must be the same, or what the kind needs. */
export function mergeDocuments(documents: readonly AdapterDocument[], options: MergeOptions): Merged {
  const [first] = documents;
  if (first === undefined) return refuse('nothing is merged; name at least one adapter');
  if (options.weights.length !== documents.length)
    return refuse(
      `weights must be one number for each of the ${documents.length} adapters, found ${options.weights.length}`,
    );
  for (const other of documents) {
    requireSame('the base', first.base.digest, other.base.digest);
    requireSame('the method', first.adapter.method, other.adapter.method);
    requireSame('the task', JSON.stringify(first.task), JSON.stringify(other.task));
  }
  return first.adapter.method === 'lora' ? mergeLora(documents, options) : mergeAlike(documents, options);
}

function refuse(problem: string): never {
  throw new UsageError('not-mergeable', `these adapters cannot be merged: ${problem}`);
}

function requireSame(what: string, expected: string, found: string): void {
  const cut = (text: string) => (text.length > 200 ? `${text.slice(0, 200)}...` : text);
  if (expected !== found) refuse(`${what} must be the same, found ${cut(expected)} and ${cut(found)}`);
}

type Named = ReadonlyMap<string, Float32Array>;

function sharesOf(weights: readonly number[]): readonly number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0)) return refuse(`weights must have a sum above 0, found ${weights.join(', ')}`);
  return weights.map((weight) => weight / total);
}

/** Adapters whose tensors are all alike. */
function mergeAlike(documents: readonly AdapterDocument[], options: MergeOptions): Merged {
  const first = documents[0]!;
  const { kind } = options;
  const { method } = first.adapter;
  if (kind === 'cat' || kind === 'svd') return refuse(`${kind} needs the method lora, found ${method}; use linear`);
  if (kind !== 'linear' && method !== 'bottleneck')
    return refuse(
      `${kind} needs the method lora or bottleneck, in which zero means no change, found ${method}; use linear`,
    );
  for (const other of documents)
    requireSame('the adapter', JSON.stringify(first.adapter), JSON.stringify(other.adapter));
  for (const other of documents) requireSame('the layout', first.layoutHash, other.layoutHash);
  const shares = sharesOf(options.weights);
  const values = documents.map(({ layout, parameters }) => unflatten(layout, parameters));
  const merged = first.layout.tensors.map(({ name }): [string, Float32Array] => {
    const isPlain = name.startsWith('head.') || centredOnOne.test(name);
    const tensors = values.map((named) => named.get(name)!);
    return [name, combine(name, { tensors, weights: shares }, isPlain ? { ...options, kind: 'linear' } : options)];
  });
  return { document: documentOf(first, first.adapter, first.layout, new Map(merged)), discarded: null };
}

/** One tensor by the elementwise kinds. */
function combine(name: string, { tensors, weights }: Contributions, options: MergeOptions): Float32Array {
  const { kind, density = 0.5, seed = 1 } = options;
  if (!(density > 0 && density <= 1)) return refuse(`density must be above 0 and at most 1, found ${density}`);
  const random = seededRandom(seed, 'dare', name);
  const thinned = tensors.map((tensor, index) => {
    if (kind === 'linear') return tensor;
    const isDare = kind === 'dare-linear' || kind === 'dare-ties';
    return isDare ? dropAndRescale(tensor, density, random.fork(index)) : keepLargest(tensor, density);
  });
  const elects = kind === 'ties' || kind === 'dare-ties';
  return (elects ? electAndMerge : weightedSum)({ tensors: thinned, weights });
}

function documentOf(
  { base, task }: AdapterDocument,
  adapter: AdapterDocument['adapter'],
  layout: AdapterLayout,
  values: Named,
): AdapterDocument {
  return createAdapterDocument({ base, adapter, task, layout, parameters: flatten(layout, values) });
}

/** What of a base LoRA's settings depend on, as its tensors show it. */
function baseShown({ base, layout }: AdapterDocument): BaseDescription {
  const linearTargets: Record<string, { inSize: number; outSize: number; moduleName: string }> = {};
  let layerCount = 0;
  for (const { name, shape } of layout.tensors) {
    const match = /^layers\.(\d+)\.(\w+)\.lora\.([ab])$/.exec(name);
    if (match === null) continue;
    layerCount = Math.max(layerCount, Number(match[1]) + 1);
    const target = match[2]!;
    const known = linearTargets[target] ?? { inSize: 0, outSize: 0, moduleName: '' };
    linearTargets[target] = match[3] === 'a' ? { ...known, inSize: shape[1]! } : { ...known, outSize: shape[0]! };
  }
  return { ...({} as BaseDescription), ...base, layerCount, linearTargets };
}

function mergeLora(documents: readonly AdapterDocument[], options: MergeOptions): Merged {
  const first = documents[0]!;
  const members = documents.map((document, index) => {
    const { method: _method, ...settings } = document.adapter;
    const configuration = parseLora('lora', settings, baseShown(document));
    const values = unflatten(document.layout, document.parameters);
    return { configuration, values, maps: loraMapsOf(configuration), weight: options.weights[index]! };
  });
  const { configuration } = members[0]!;
  const sitesOf = (maps: readonly LoraMap[]) => maps.map(({ name }) => name).join(', ');
  for (const { maps } of members) requireSame('the adapted maps', sitesOf(members[0]!.maps), sitesOf(maps));
  let discarded = options.kind === 'svd' ? 0 : null;
  const values = new Map<string, Float32Array>();
  const ranks = new Map<LoraMap, number>();
  for (const [place, map] of members[0]!.maps.entries()) {
    const { name } = map;
    const factors = members.map(({ maps, values: own, weight }): ScaledFactors => {
      const { rank, scale } = maps[place]!;
      return { rank, a: own.get(`${name}.a`)!, b: own.get(`${name}.b`)!, scale: weight * scale };
    });
    const merged = mergeFactors(name, factors, options);
    if (merged.discarded !== undefined) discarded = Math.max(discarded ?? 0, merged.discarded);
    values.set(`${name}.a`, merged.a).set(`${name}.b`, merged.b);
    ranks.set(map, merged.rank);
  }
  const shares = sharesOf(options.weights);
  for (const { name } of first.layout.tensors) {
    if (values.has(name)) continue;
    const tensors = members.map(({ values: own }) => own.get(name)!);
    if (tensors.some((tensor) => tensor?.length !== tensors[0]!.length)) refuse(`all must have the tensor ${name}`);
    values.set(name, weightedSum({ tensors, weights: shares }));
  }
  const layout = layoutOf(
    first.layout.tensors.map((tensor) => {
      const found = [...ranks].find(([{ name }]) => tensor.pair?.name === name && /\.lora\.[ab]$/.test(tensor.name));
      if (found === undefined) return specificationOf(tensor);
      const [rank, [rows, columns]] = [found[1], tensor.shape as [number, number]];
      return { ...specificationOf(tensor), shape: tensor.pair?.factor === 'a' ? [rank, columns] : [rows, rank] };
    }),
  );
  return { document: documentOf(first, mergedSettings(configuration, ranks), layout, values), discarded };
}

/** The pair of one map. */
function mergeFactors(
  name: string,
  maps: readonly ScaledFactors[],
  options: MergeOptions,
): Factors & { readonly discarded?: number } {
  const { kind } = options;
  const [{ rank }] = maps as [ScaledFactors];
  if (kind === 'cat') return concatenate(maps);
  if (kind === 'svd') return approximate(maps, options.rank ?? Math.max(...maps.map((map) => map.rank)));
  const ranks = maps.map((map) => map.rank);
  if (ranks.some((other) => other !== rank))
    return refuse(`${kind} needs the same rank at ${name}, found ${ranks.join(', ')}; use cat or svd`);
  const roots = maps.map(({ scale }) => Math.sqrt(Math.abs(scale)));
  const signed = maps.map(({ scale }, index) => Math.sign(scale) * roots[index]!);
  return {
    rank,
    a: combine(`${name}.a`, { tensors: maps.map(({ a }) => a), weights: signed }, options),
    b: combine(`${name}.b`, { tensors: maps.map(({ b }) => b), weights: roots }, options),
  };
}

/** The settings of the result: alpha is the rank, so that s = 1. Ranks that differ between maps stand in the patterns. */
function mergedSettings(
  configuration: LoraConfiguration,
  ranks: ReadonlyMap<LoraMap, number>,
): AdapterDocument['adapter'] {
  const rank = Math.max(...ranks.values());
  const others = [...ranks].filter(([, own]) => own !== rank);
  const pattern = Object.fromEntries(
    others.map(([{ site }, own]) => [`layers.${site.layerIndex}.${site.target satisfies LinearTarget}`, own]),
  );
  const further = { rankPattern: pattern, alphaPattern: pattern, rankStabilised: false };
  return { method: 'lora', ...configuration, rank, alpha: rank, ...further };
}
