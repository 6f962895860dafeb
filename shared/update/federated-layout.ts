/**
 * The classes that a plan gives to the tensors of an adapter: which rule low-rank pairs follow, how a head is averaged, and which parts never
 * leave the client. What a method declares stays where the plan says nothing.
 */
import { UsageError } from '../core/errors.ts';
import {
  type AdapterLayout,
  type AggregationClass,
  layoutOf,
  specificationOf,
  type TensorSpecification,
} from './layout.ts';
import type { LowRankRule } from './low-rank-rules.ts';

/**
 * What a client counts in the mean: its examples; the same as all; a weight from 0 to 1 that its site gives; its examples times the accuracy,
 * from 0 to 1, of what was published on its own held-out rows.
 */
export type Weighting = 'examples' | 'equal' | 'given' | 'quality';

/** The part of a plan's `aggregation` that says how tensors are combined. */
export interface ExchangeSettings {
  readonly weighting: Weighting;
  /** What is done with low-rank pairs; an adapter without pairs has the default alone, `factor-avg`. */
  readonly lowRank: LowRankRule;
  /** Rank of the published pairs, where the rule allows more than clients train. Default: the trained rank. */
  readonly publishedRank?: number | undefined;
  /** Rule `sketch`: columns q of the sketch. */
  readonly sketchSize?: number | undefined;
  /** `by-label`: every label's part of the head is averaged over the clients that have rows of it. */
  readonly head: 'mean' | 'by-label';
  /** Tensors that never leave the client: beginnings of names in whole words, `*` for any word, such as `head` or `layers.*.attention`. */
  readonly personal: readonly string[];
  /** Tensors that keep their start values, named in the same way: what makes the mean of a product of parts exact, such as `layers.*.*.vera.d`. */
  readonly frozen: readonly string[];
}

/** Settings under which everything is averaged as its method declares. */
export const plainExchange: ExchangeSettings = {
  weighting: 'examples',
  lowRank: 'factor-avg',
  head: 'mean',
  personal: [],
  frozen: [],
};

/** The two factors of a low-rank map in a layout: A `[rank, inSize]`, B `[outSize, rank]`. */
export interface LowRankPair {
  readonly name: string;
  readonly a: AdapterLayout['tensors'][number];
  readonly b: AdapterLayout['tensors'][number];
  readonly rank: number;
  readonly inSize: number;
  readonly outSize: number;
}

/** The low-rank pairs of a layout, in its order. */
export function pairsOf(layout: AdapterLayout): LowRankPair[] {
  const firsts = layout.tensors.filter(({ pair }) => pair?.factor === 'a');
  return firsts.map((a) => {
    const others = layout.tensors.filter(({ pair }) => pair?.factor === 'b' && pair.name === a.pair?.name);
    const [b] = others;
    if (b === undefined || others.length > 1 || b.shape[1] !== a.shape[0]) {
      throw new UsageError(
        'bad-adapter',
        `the low-rank pair of ${a.name} must have one B of its rank, found ${others.length}`,
      );
    }
    return { name: a.pair!.name, a, b, rank: a.shape[0]!, inSize: a.shape[1]!, outSize: b.shape[0]! };
  });
}

/** The tensor of an upload that says which labels a client has rows of: 1 or 0 for each. */
export const ownersName = 'head.owners';
/** The tensor by which heads of several tasks weigh: the share of a client's examples that each has. */
export const headUsesName = 'heads.uses';
/** The tensor of an upload that holds the weight from 0 to 1 that a client gives itself, `[1]`. */
export const siteWeightName = 'site.weight';

/** Whether clients multiply a weight of their own into what they send. */
export function weighsItself({ weighting }: ExchangeSettings): boolean {
  return weighting === 'given' || weighting === 'quality';
}

const pairClasses: Readonly<
  Record<
    LowRankRule,
    { readonly a: TensorSpecification['aggregationClass']; readonly b: TensorSpecification['aggregationClass'] }
  >
> = {
  'factor-avg': { a: 'mean', b: 'mean' },
  'freeze-a': { a: 'frozen', b: 'mean' },
  'share-a': { a: 'mean', b: 'local' },
  svd: { a: 'low-rank', b: 'low-rank' },
  stack: { a: 'low-rank', b: 'low-rank' },
  residual: { a: 'low-rank', b: 'low-rank' },
  dense: { a: 'low-rank', b: 'low-rank' },
  sketch: { a: 'low-rank', b: 'low-rank' },
};

/** Classes that a plan's `personal` makes local: all that clients train and share. */
const sharedClasses: readonly AggregationClass[] = ['mean', 'count-weighted', 'folded'];

/**
 * `layout` with the classes of a plan; the places of its tensors stay as they are.
 * @param sendsCounts whether counts may be sent. Without them what they weigh is averaged as it is: under rules that must not believe what clients
 * say of themselves, and under privacy, where counts would be a release of their own.
 * @throws UsageError `bad-plan` when settings name what the adapter does not have.
 */
export function federatedLayout(layout: AdapterLayout, settings: ExchangeSettings, sendsCounts = true): AdapterLayout {
  const { lowRank, head } = settings;
  for (const field of ['frozen', 'personal'] as const) {
    for (const [index, pattern] of settings[field].entries()) {
      const named = layout.tensors.filter(({ name }) => isBelow(name, pattern));
      if (named.length > 0 && named.every(({ aggregationClass }) => aggregationClass === 'count')) {
        const sentence = `must name what the counts weigh, with which they stay or go, found ${JSON.stringify(pattern)}`;
        throw refusePlan(`${field}[${index}]`, sentence);
      }
      if (named.length > 0) continue;
      const example = layout.tensors[0]?.name ?? 'none';
      throw refusePlan(
        `${field}[${index}]`,
        `must begin the name of a tensor, such as ${example}, found ${JSON.stringify(pattern)}`,
      );
    }
  }
  if (lowRank !== 'factor-avg' && !layout.tensors.some(isOpenPair)) {
    throw refusePlan(
      'lowRank',
      `must be factor-avg, or left out, for an adapter without low-rank pairs, found ${lowRank}`,
    );
  }
  const classed = (tensor: AdapterLayout['tensors'][number]): TensorSpecification => {
    const specification = sendsCounts ? specificationOf(tensor) : uncounted(specificationOf(tensor));
    const { name, aggregationClass } = specification;
    const isIn = (patterns: readonly string[]): boolean => patterns.some((pattern) => isBelow(name, pattern));
    if (aggregationClass !== 'count' && isIn(settings.frozen)) return { ...specification, aggregationClass: 'frozen' };
    if (sharedClasses.includes(aggregationClass) && isIn(settings.personal)) {
      return { ...specification, aggregationClass: 'local' };
    }
    if (head === 'by-label' && isOfLabels(name) && aggregationClass === 'mean') {
      return { ...specification, aggregationClass: 'count-weighted', countName: ownersName, countAxis: 'last' };
    }
    return isOpenPair(tensor)
      ? { ...specification, aggregationClass: pairClasses[lowRank][tensor.pair!.factor] }
      : specification;
  };
  const weighed = (specification: TensorSpecification): TensorSpecification =>
    weighsItself(settings) && specification.aggregationClass === 'mean'
      ? { ...specification, aggregationClass: 'count-weighted', countName: siteWeightName, countIndex: 0 }
      : specification;
  const federated = layoutOf(settled(layout.tensors.map(classed)).map(weighed));
  for (const { name, a, b } of pairsOf(federated)) {
    if ((a.aggregationClass === 'low-rank') === (b.aggregationClass === 'low-rank')) continue;
    const field = settings.frozen.some((pattern) => isBelow(a.name, pattern) || isBelow(b.name, pattern))
      ? 'frozen'
      : 'personal';
    throw refusePlan(
      field,
      `must name both factors of ${name} or none with the rule ${lowRank}; freeze-a and share-a treat them apart`,
    );
  }
  return federated;
}

/** What a tensor is where no counts are sent. */
function uncounted({ countName, countIndex: _index, countAxis: _axis, ...rest }: TensorSpecification) {
  const { aggregationClass } = rest;
  if (aggregationClass === 'count') return { ...rest, aggregationClass: 'frozen' } as const;
  return countName === undefined ? rest : ({ ...rest, aggregationClass: 'mean' } as const);
}

/**
 * Tensors whose class follows from that of others. A scale can only be folded into what is sent: beside something that stays with the client it
 * stays too, beside something frozen it is averaged. Counts of parts that all stay with the client stay as well.
 */
function settled(tensors: readonly TensorSpecification[]): TensorSpecification[] {
  const classes = new Map(tensors.map(({ name, aggregationClass }) => [name, aggregationClass]));
  return tensors.map((tensor) => {
    const { name, aggregationClass, foldInto = [] } = tensor;
    if (aggregationClass === 'folded') {
      const targets = foldInto.map((target) => classes.get(target));
      if (targets.includes('local')) return { ...tensor, aggregationClass: 'local' };
      if (targets.includes('frozen')) return { ...tensor, aggregationClass: 'mean' };
    }
    if (aggregationClass === 'count') {
      const weighed = tensors.filter(({ countName }) => countName === name).map((other) => other.aggregationClass);
      if (weighed.includes('local') && !weighed.includes('count-weighted'))
        return { ...tensor, aggregationClass: 'frozen' };
    }
    return tensor;
  });
}

/** Whether a tensor has a part for every label: the head's, but for a dense map in front of it. */
function isOfLabels(name: string): boolean {
  return isBelow(name, 'head') && !isBelow(name, 'head.hidden');
}

/** Whether `pattern` is the beginning of `name`, word by word between dots; `*` is any word. */
export function isBelow(name: string, pattern: string): boolean {
  const words = name.split('.');
  return pattern.split('.').every((word, index) => (word === '*' ? index < words.length : word === words[index]));
}

/** A factor whose method leaves to the plan what becomes of it. */
function isOpenPair({ pair, aggregationClass }: TensorSpecification): boolean {
  return pair !== undefined && aggregationClass === 'mean';
}

/** A fault in the part `aggregation` of a plan that shows once the adapter is known. */
export function refusePlan(field: string, sentence: string): UsageError {
  return new UsageError('bad-plan', `the plan: aggregation.${field} ${sentence}`);
}
