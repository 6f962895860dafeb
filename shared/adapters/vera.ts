/**
 * Vector-based random matrix adaptation (Kopiczko 2024, section 3.1): y = W x + c + λ_b ∘ B (λ_d ∘ A drop(x)). A `[rank, in]` and B `[out,
 * rank]` are random, frozen and shared by all maps, which take as many of their columns and rows as they are wide; λ_d `[rank]` and λ_b
 * `[out]` are trained per map.
 *
 * The projections come from a seed in the configuration, so that they never travel. `stored` makes them tensors of the adapter instead,
 * frozen: that is for files of PEFT, whose generator is another.
 */
import { add, mul, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import type { BaseDescription, LinearSite, LinearTarget } from '../model/base-model.ts';
import { choiceField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import type { Problem } from '../plan/problems.ts';
import { dropout } from './dropout.ts';
import { frozenProduct } from './frozen-product.ts';
import { zeroValues } from './initial-values.ts';
import { queryAndValue, selectTargets, sitesOf, targetsField } from './linear-targets.ts';
import { addLowRank, valuesOf, withKernel } from './merge-arithmetic.ts';
import type { AdapterMethod, MapChange } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';
import {
  type CutProjections,
  projectionShapes,
  projectionValues,
  seededProjections,
  storedProjections,
} from './vera-projections.ts';

/** Settings of `vera` with defaults filled in. */
export interface VeraConfiguration extends LayerChoice {
  /** Linear maps of every layer. In a plan also `all-linear`. Default: query and value, on a base that fuses them `qkv`. */
  readonly targets: readonly LinearTarget[];
  /** Inner width. Default 256. */
  readonly rank: number;
  /** Start value of λ_d. Default 0.1. */
  readonly dInitial: number;
  /** `both` (default), or `b`: λ_b alone, in which the map is linear, so that a mean over clients is exact. */
  readonly trains: 'both' | 'b';
  /** Where A and B are: made from `projectionSeed` (`seed`, default), or frozen tensors of the adapter (`stored`), which start as those. */
  readonly projections: 'seed' | 'stored';
  readonly projectionSeed: number;
  /** Probability with which a value of the input of A is dropped in training. Default 0. */
  readonly dropout: number;
}

/** Largest inner width: the projections are in no layout, and a plan must not make a site fill its memory with them. */
const rankMax = 4096;

const schema = sectionField({
  targets: targetsField,
  rank: z._default(wholeField(1, rankMax), 256),
  dInitial: z._default(numberField({}), 0.1),
  trains: z._default(choiceField(['both', 'b']), 'both'),
  projections: z._default(choiceField(['seed', 'stored']), 'seed'),
  projectionSeed: z._default(wholeField(0, 2 ** 32 - 1), 0),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  ...layerFields,
});

function parse(value: unknown, base: BaseDescription): VeraConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('vera', schema, value), base, problems);
  const targets = selectTargets(others.targets, queryAndValue(base), base, problems);
  if (problems.length > 0) refuseSettings('vera', problems);
  return { ...others, targets, ...chosen };
}

function siteName({ layerIndex, target }: LinearSite): string {
  return `layers.${layerIndex}.${target}.vera`;
}

/** What one map needs of a configuration, or undefined where it is left alone. */
function nameAt({ layers, targets }: VeraConfiguration, site: LinearSite): string | undefined {
  return layers.includes(site.layerIndex) && targets.includes(site.target) ? siteName(site) : undefined;
}

/** Adds the change of a map, times `sign`. */
function mapChange(sign: 1 | -1): MapChange<VeraConfiguration> {
  return (base, configuration, site, map, parameters) => {
    const name = nameAt(configuration, site);
    if (name === undefined) return undefined;
    const shapes = projectionShapes(base, configuration);
    const projection = (factor: 'a' | 'b') =>
      parameters.get(`vera.${factor}`) ?? projectionValues(factor, shapes[factor], configuration);
    const [d, b, a, wholeB] = [
      valuesOf(parameters, `${name}.d`),
      valuesOf(parameters, `${name}.b`),
      projection('a'),
      projection('b'),
    ];
    const { rank } = configuration;
    const inSize = map.kernel.length / b.length;
    const scaledA = Float64Array.from({ length: rank * inSize }, (_, index) => {
      const row = Math.floor(index / inSize);
      return d[row]! * a[row * shapes.a[1] + (index % inSize)]!;
    });
    const scaledB = Float64Array.from({ length: b.length * rank }, (_, index) => {
      return b[Math.floor(index / rank)]! * wholeB[index]!;
    });
    return withKernel(map, addLowRank(map.kernel, { a: scaledA, b: scaledB, rank, scale: sign }));
  };
}

/** The method `vera`. */
export const vera: AdapterMethod<VeraConfiguration> = {
  name: 'vera',
  parse,
  layout: (base, configuration) => {
    const { rank, projections, trains } = configuration;
    const shapes = projectionShapes(base, configuration);
    const frozen = { aggregationClass: 'frozen', decays: false } as const;
    const trained = { aggregationClass: 'mean', decays: false } as const;
    return [
      ...(projections === 'stored'
        ? [
            { name: 'vera.a', shape: shapes.a, ...frozen },
            { name: 'vera.b', shape: shapes.b, ...frozen },
          ]
        : []),
      ...sitesOf(configuration).flatMap((site) => [
        { name: `${siteName(site)}.d`, shape: [rank], ...(trains === 'b' ? frozen : trained) },
        { name: `${siteName(site)}.b`, shape: [base.linearTargets[site.target]!.outSize], ...trained },
      ]),
    ];
  },
  initialise: ({ name, shape }, configuration) => {
    if (name === 'vera.a' || name === 'vera.b')
      return projectionValues(name === 'vera.a' ? 'a' : 'b', shape as readonly [number, number], configuration);
    return name.endsWith('.d') ? zeroValues(shape).fill(configuration.dInitial) : zeroValues(shape);
  },
  hooks: (base, configuration, context) => {
    const cut =
      configuration.projections === 'stored'
        ? storedProjections(context, configuration)
        : projectionsOf(base, configuration);
    return {
      lowestLayerIndex: Math.min(...configuration.layers),
      isTokenwise: true,
      linearTargets: new Set(configuration.targets),
      linear: (site, input, output) => {
        const name = nameAt(configuration, site);
        if (name === undefined) return undefined;
        const { down, up } = cut(base.linearTargets[site.target]!);
        const inner = frozenProduct(dropout(input, configuration.dropout, context, name), down);
        const scaled: Tensor2D = mul(inner, tensorOf<Tensor1D>(context, `${name}.d`));
        return add(output, mul(frozenProduct(scaled, up), tensorOf<Tensor1D>(context, `${name}.b`)));
      },
    };
  },
  merge: mapChange(1),
  unmerge: mapChange(-1),
};

/** The seeded projections of every configuration in use, so that each pass need not draw them again. */
const seeded = new WeakMap<VeraConfiguration, CutProjections>();

function projectionsOf(base: BaseDescription, configuration: VeraConfiguration): CutProjections {
  const found = seeded.get(configuration) ?? seededProjections(base, configuration);
  seeded.set(configuration, found);
  return found;
}
