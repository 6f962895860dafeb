/** The settings of bottleneck adapters: schema, defaults of the placements, and what a base must have for them. */
import * as z from 'zod/mini';
import { assert } from '../core/assert.ts';
import type { BaseDescription, Sublayer } from '../model/base-model.ts';
import { booleanField, choiceField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import { type Problem, shown } from '../plan/problems.ts';
import { type ActivationName, activationNames } from './activations.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';

/** Where a bottleneck stands and what it reads; a host without norm after its sum (GPT-2, Llama) leaves LN out of both. */
export interface Wiring {
  /** Halves of a block with an adapter. */
  readonly sublayers: readonly Sublayer[];
  /** Reads x, beside the sublayer, and not what comes out of it. */
  readonly parallel: boolean;
  /** u = LN(h + x) in place of h (AdapterHub's `original_ln_before`). */
  readonly hostNormBefore: boolean;
  /** The end is LN(… + x) (AdapterHub's `original_ln_after`). */
  readonly hostNormAfter: boolean;
  /** ρ, which is added to A(u): h (`output`), h + x (`sum`), or u (`input`) (AdapterHub's `residual_before_ln` true, `post_add`, false). */
  readonly residual: 'output' | 'sum' | 'input';
}

/** Width of a bottleneck: exactly one of the two is set. */
export interface WidthSettings {
  /** Width of the bottleneck as hidden size / factor, at least 1; or factors by layer index, with `default` for the others. */
  readonly reductionFactor?: number | Readonly<Record<string, number>> | undefined;
  /** Width of the bottleneck in every layer. */
  readonly size?: number | undefined;
}

/** A wiring of which only what differs from a placement's is given. */
export type OwnWiring = { readonly [Field in keyof Wiring]?: Wiring[Field] | undefined };

/** Settings of `bottleneck` with defaults filled in. What is optional here is absent where it is as the placement has it, or off. */
export interface BottleneckConfiguration extends LayerChoice, WidthSettings, OwnWiring {
  /** Which published adapter: it decides the defaults of {@link Wiring} and of the settings below. Default `pfeiffer`. */
  readonly placement: Placement;
  /** σ. Default `relu` for `pfeiffer` and `parallel`, `swish` for `houlsby`, `gelu` for `adapterplus`. */
  readonly activation: ActivationName;
  /** s: a number, one trained value (`learned`), or one for each hidden unit (`channel`). Default 1, `parallel` 4, `adapterplus` `channel`. */
  readonly scaling: number | 'learned' | 'channel';
  /** Probability with which a value of A(u) is dropped in training. Default 0. */
  readonly dropout: number;
  /** Probability with which the whole A(u) of an example is dropped in training. Default 0, `adapterplus` 0.1. */
  readonly dropPath?: number | undefined;
  /**
   * Whether a trained gate in (0, 1), one value for each example, multiplies A(u). It is a mean over the whole text, so on a causal base a
   * token sees later ones through it: not for language models.
   */
  readonly gate?: boolean | undefined;
  /** Whether A has trained layer norms of its own, on u and on A(u). */
  readonly normBefore?: boolean | undefined;
  readonly normAfter?: boolean | undefined;
  /** With `normAfter`: whether ρ is added before that norm. */
  readonly residualBeforeNorm?: boolean | undefined;
  /** What a parallel adapter reads on a pre-norm base: the residual stream (`raw`, as AdapterHub), or what its sublayer reads (`normed`). */
  readonly parallelInput?: 'raw' | 'normed' | undefined;
  /**
   * `identity` (default): W_down uniform in ±1/√hidden, W_up zero, so that nothing changes before training. `bert`: both N(0, 0.02²).
   * `houlsby`: both N(0, 0.01²), cut off at two deviations. Biases are zero.
   */
  readonly initialisation: 'identity' | 'bert' | 'houlsby';
}

/** A published adapter. */
export type Placement = 'pfeiffer' | 'houlsby' | 'parallel' | 'adapterplus';

const both: readonly Sublayer[] = ['attention', 'feedForward'];
const second: readonly Sublayer[] = ['feedForward'];

const wirings: Readonly<Record<Placement, Wiring>> = {
  pfeiffer: { sublayers: second, parallel: false, hostNormBefore: true, hostNormAfter: true, residual: 'output' },
  houlsby: { sublayers: both, parallel: false, hostNormBefore: false, hostNormAfter: true, residual: 'output' },
  parallel: { sublayers: second, parallel: true, hostNormBefore: false, hostNormAfter: true, residual: 'output' },
  adapterplus: { sublayers: second, parallel: false, hostNormBefore: true, hostNormAfter: false, residual: 'input' },
};

const presets = {
  pfeiffer: { reductionFactor: 16, activation: 'relu', scaling: 1 },
  houlsby: { reductionFactor: 16, activation: 'swish', scaling: 1 },
  parallel: { reductionFactor: 2, activation: 'relu', scaling: 4 },
  adapterplus: { reductionFactor: 96, activation: 'gelu', scaling: 'channel', dropPath: 0.1 },
} as const;

/** Widest bottleneck: wider than any base, so that a typing error costs a message and not the machine. */
const sizeMax = 65_536;
const factor = numberField({ above: 0, atMost: sizeMax });
const factorError = 'a number above 0, or a map from layer index or default to such numbers';
const scalingError = 'a number, learned (one trained value) or channel (one for each hidden unit)';
const sublayersError = 'a list of attention, feedForward, or both';
const sublayerField = choiceField(['attention', 'feedForward']);

/** Fields of {@link WidthSettings}. */
export const widthFields = {
  reductionFactor: z.optional(z.union([factor, z.record(z.string(), factor)], { error: factorError })),
  size: z.optional(wholeField(1, sizeMax)),
};

const schema = sectionField({
  placement: z._default(choiceField(['pfeiffer', 'houlsby', 'parallel', 'adapterplus']), 'pfeiffer'),
  ...widthFields,
  activation: z.optional(choiceField(activationNames)),
  scaling: z.optional(z.union([numberField({}), z.enum(['learned', 'channel'])], { error: scalingError })),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  dropPath: z.optional(numberField({ atLeast: 0, below: 1 })),
  gate: z.optional(booleanField()),
  normBefore: z.optional(booleanField()),
  normAfter: z.optional(booleanField()),
  residualBeforeNorm: z.optional(booleanField()),
  sublayers: z.optional(
    z.array(sublayerField, { error: sublayersError }).check(z.minLength(1, { error: sublayersError })),
  ),
  parallel: z.optional(booleanField()),
  hostNormBefore: z.optional(booleanField()),
  hostNormAfter: z.optional(booleanField()),
  residual: z.optional(choiceField(['output', 'sum', 'input'])),
  parallelInput: z.optional(choiceField(['raw', 'normed'])),
  ...layerFields,
  initialisation: z._default(choiceField(['identity', 'bert', 'houlsby']), 'identity'),
});

/** Reads the settings of `bottleneck`. @throws UsageError `bad-adapter` with one line per fault. */
export function parseBottleneck(value: unknown, base: BaseDescription): BottleneckConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('bottleneck', schema, value), base, problems);
  const { reductionFactor, size, placement, activation, scaling, dropout, initialisation, ...optional } = others;
  const preset = presets[placement];
  const width = chooseWidth({ reductionFactor, size }, preset.reductionFactor, chosen.layers, base, problems);
  const { parallel, hostNormBefore, residual } = { ...wirings[placement], ...optional };
  if (residual === 'sum' && !hostNormBefore)
    problems.push({ path: 'residual', sentence: 'must be output or input without hostNormBefore, found "sum"' });
  if (optional.residualBeforeNorm === true && (optional.normAfter !== true || parallel)) {
    const sentence = 'must be false without normAfter, and for a parallel adapter, found true';
    problems.push({ path: 'residualBeforeNorm', sentence });
  }
  if (optional.parallelInput !== undefined && !parallel)
    problems.push({
      path: 'parallelInput',
      sentence: `must be left out unless the adapter is parallel, where it is raw or normed, found ${optional.parallelInput}`,
    });
  if (problems.length > 0) refuseSettings('bottleneck', problems);
  const path = optional.dropPath ?? ('dropPath' in preset ? preset.dropPath : undefined);
  return {
    placement,
    ...width,
    activation: activation ?? preset.activation,
    scaling: scaling ?? preset.scaling,
    dropout,
    ...chosen,
    initialisation,
    ...optional,
    ...(path === undefined ? {} : { dropPath: path }),
  };
}

/** How a configuration is wired: the placement's way, changed where the configuration says so. */
export function wiringOf({ placement, ...own }: OwnWiring & { readonly placement: Placement }): Wiring {
  const standard = wirings[placement];
  return {
    sublayers: both.filter((sublayer) => (own.sublayers ?? standard.sublayers).includes(sublayer)),
    parallel: own.parallel ?? standard.parallel,
    hostNormBefore: own.hostNormBefore ?? standard.hostNormBefore,
    hostNormAfter: own.hostNormAfter ?? standard.hostNormAfter,
    residual: own.residual ?? standard.residual,
  };
}

/** The width that was asked for, or the factor `otherwise`. Appends to `problems` what does not fit the layers. */
export function chooseWidth(
  { reductionFactor, size }: WidthSettings,
  otherwise: number,
  layers: readonly number[],
  base: BaseDescription,
  problems: Problem[],
): WidthSettings {
  if (reductionFactor !== undefined && size !== undefined) {
    problems.push({ path: 'size', sentence: 'must not stand beside reductionFactor, which says the same; found both' });
  }
  if (typeof reductionFactor === 'object') problems.push(...factorProblems(reductionFactor, layers, base));
  return size === undefined ? { reductionFactor: reductionFactor ?? otherwise } : { size };
}

function factorProblems(
  factors: Readonly<Record<string, number>>,
  layers: readonly number[],
  { layerCount }: BaseDescription,
): Problem[] {
  const known = [...Array.from({ length: layerCount }, (_, index) => String(index)), 'default'];
  const problems = Object.keys(factors)
    .filter((key) => !known.includes(key))
    .map((key) => ({
      path: `reductionFactor.${key}`,
      sentence: `must be a layer index from 0 to ${layerCount - 1} or default, found ${shown(key)}`,
    }));
  const missing = layers.find((layer) => !Object.hasOwn(factors, String(layer)) && !Object.hasOwn(factors, 'default'));
  if (missing === undefined) return problems;
  const sentence = `must have a number for layer ${missing} or under default, found ${shown(factors)}`;
  return [...problems, { path: 'reductionFactor', sentence }];
}

/** Width of the bottleneck in one layer. */
export function widthOf({ reductionFactor, size }: WidthSettings, layer: number, hiddenSize: number): number {
  if (size !== undefined) return size;
  const own =
    typeof reductionFactor === 'object' ? (reductionFactor[layer] ?? reductionFactor.default) : reductionFactor;
  assert(own !== undefined, `layer ${layer} has no reduction factor`);
  return Math.max(1, Math.floor(hiddenSize / own));
}
