/**
 * What a federation's rules make of an adapter: the layout that is published, the one that is trained, and the one that is uploaded. Where
 * everything is averaged the three are one and the same, and updates pass as they are.
 *
 * An upload has three parts, in this order: what the server's optimiser moves (deltas; for `count-weighted` tensors times their counts), counts, and what
 * the rule for low-rank pairs asks for. All of it is linear or stands alone, so that a weighted sum over clients says the same as the clients.
 */
import { assert } from '../core/assert.ts';
import { adapterParametersMax } from '../core/limits.ts';
import type { ExchangeSettings, LowRankPair } from './federated-layout.ts';
import { headUsesName, ownersName, pairsOf, refusePlan, siteWeightName, weighsItself } from './federated-layout.ts';
import { type AdapterLayout, layoutOf, specificationOf, type TensorSpecification } from './layout.ts';
import { declarationOf } from './low-rank-rules.ts';

type Tensor = AdapterLayout['tensors'][number];

/** A low-rank pair that clients train, or train in part. */
export interface ExchangedPair {
  readonly name: string;
  /** As published, of rank P. */
  readonly published: LowRankPair;
  /** As trained, of rank r <= P. */
  readonly trained: LowRankPair;
  /** What is uploaded of it: deltas or values of both factors, the dense change alone, or both sketches; of a frozen or local factor nothing. */
  readonly uploaded: readonly Tensor[];
}

/** The three layouts of a federation. */
export interface Exchange {
  readonly settings: ExchangeSettings;
  /** What a version holds and clients fetch, with the plan's classes. */
  readonly published: AdapterLayout;
  /** What clients train. */
  readonly trained: AdapterLayout;
  /** What clients upload. */
  readonly uploaded: AdapterLayout;
  /** Length of the first part of an upload. */
  readonly stepDim: number;
  readonly pairs: readonly ExchangedPair[];
  /** Whether an upload is the delta of the published adapter, value by value, and nothing remains to be done with its mean. */
  readonly isPlain: boolean;
}

/** Side of the sketch Z: above twice the other one it is well conditioned (Tropp 2017, section 4.5). */
function innerSketchSize(sketchSize: number): number {
  return 2 * sketchSize + 1;
}

/**
 * The exchange of a plan.
 * @param trained the layout of what clients train, where it is not the published one (another rank), with the plan's classes.
 * @throws UsageError `bad-plan` when the settings do not fit the adapter.
 */
export function exchangeOf(
  settings: ExchangeSettings,
  published: AdapterLayout,
  trained: AdapterLayout = published,
): Exchange {
  assert(
    published.tensors.length === trained.tensors.length,
    'what is published and what is trained have the same tensors',
  );
  const isInStep = ({ aggregationClass, pair }: Tensor): boolean =>
    aggregationClass === 'mean' ||
    aggregationClass === 'count-weighted' ||
    (settings.lowRank === 'residual' && aggregationClass === 'low-rank' && pair !== undefined);
  const step = trained.tensors.filter(isInStep).map(specificationOf);
  const counts = countsOf(published, settings);
  const pairs = pairsBetween(published, trained);
  const extras = pairs.map((pair) => uploadsOf(settings, pair));
  const uploaded = layoutOf([...step, ...counts, ...extras.flat()]);
  const uploadedOf = ({ trained: { a, b } }: Omit<ExchangedPair, 'uploaded'>, extra: readonly TensorSpecification[]) =>
    (extra.length > 0 ? extra : [a, b]).flatMap(({ name }) => byName.get(name) ?? []);
  const byName = new Map(uploaded.tensors.map((tensor) => [tensor.name, tensor]));
  const stepDim = layoutOf(step).dim;
  if (uploaded.dim === 0) throw refusePlan('personal', 'must leave something that clients share');
  if (uploaded.dim > adapterParametersMax) {
    const sentence = `must be a rule with smaller uploads: with ${settings.lowRank} they have ${uploaded.dim} values, the most is ${adapterParametersMax}`;
    throw refusePlan('lowRank', sentence);
  }
  return {
    settings,
    published,
    trained,
    uploaded,
    stepDim,
    pairs: pairs.map((pair, index) => ({ ...pair, uploaded: uploadedOf(pair, extras[index]!) })),
    isPlain: stepDim === published.dim && step.every(({ aggregationClass }) => aggregationClass === 'mean'),
  };
}

/** Counts of the layout and those that only uploads have, as tensors of an upload. @throws UsageError on a count that is not declared. */
function countsOf({ tensors }: AdapterLayout, settings: ExchangeSettings): TensorSpecification[] {
  const counts = tensors.filter(({ aggregationClass }) => aggregationClass === 'count').map(specificationOf);
  const weighted = tensors.filter(({ aggregationClass }) => aggregationClass === 'count-weighted');
  const owned = weighted.find(({ countName }) => countName === ownersName);
  if (owned !== undefined) {
    counts.push({ name: ownersName, shape: [owned.shape.at(-1)!], aggregationClass: 'count', decays: false });
  }
  if (weighsItself(settings) && weighted.length + counts.length > 0) {
    counts.push({ name: siteWeightName, shape: [1], aggregationClass: 'count', decays: false });
  }
  for (const tensor of weighted) {
    const count = counts.find(({ name }) => name === tensor.countName);
    assert(count !== undefined, `${tensor.name} is weighed by ${tensor.countName}, which no tensor of class count has`);
    const size = count.shape.reduce((product, extent) => product * extent, 1);
    const { countIndex, countAxis = 'first', shape } = tensor;
    const fits =
      countIndex === undefined ? size === (countAxis === 'first' ? shape[0] : shape.at(-1)) : countIndex < size;
    assert(fits, `${tensor.name} cannot be weighed by the ${size} counts of ${count.name}`);
  }
  return counts;
}

function pairsBetween(published: AdapterLayout, trained: AdapterLayout): Omit<ExchangedPair, 'uploaded'>[] {
  const ofTrained = new Map(pairsOf(trained).map((pair) => [pair.name, pair]));
  return pairsOf(published)
    .filter(({ a, b }) => a.aggregationClass !== 'frozen' || b.aggregationClass !== 'frozen')
    .map((pair) => {
      const own = ofTrained.get(pair.name);
      assert(own !== undefined, `the pair ${pair.name} is trained`);
      return { name: pair.name, published: pair, trained: own };
    });
}

/** What a rule uploads of one pair beside the first part. */
function uploadsOf(
  { lowRank, sketchSize }: ExchangeSettings,
  pair: Omit<ExchangedPair, 'uploaded'>,
): TensorSpecification[] {
  const { name, trained } = pair;
  const { a, b, outSize, inSize } = trained;
  if (a.aggregationClass !== 'low-rank') return [];
  const fixed = { aggregationClass: 'low-rank', decays: false } as const;
  switch (lowRank) {
    case 'svd':
    case 'stack':
      return [a, b].map(({ name: factor, shape }) => ({ name: factor, shape, ...fixed }));
    case 'dense':
      return [{ name: `${name}.product`, shape: [outSize, inSize], ...fixed }];
    case 'sketch': {
      if (sketchSize === undefined)
        throw refusePlan('sketchSize', 'must be given for the rule sketch: (clients + 1) times the rank is exact');
      const [outer, inner] = [Math.min(sketchSize, inSize), Math.min(innerSketchSize(sketchSize), outSize)];
      return [
        { name: `${name}.left`, shape: [outSize, outer], ...fixed },
        { name: `${name}.right`, shape: [inner, inSize], ...fixed },
      ];
    }
    default:
      return [];
  }
}

/** Places of an upload that hold counts, with the largest that is believed. */
export interface CountRange {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly max: number;
}

/** Counts that are shares. */
const shareNames: readonly string[] = [ownersName, headUsesName, siteWeightName];
/** Uses of one part per example that a coordinator believes: more than the tokens of the longest text. */
const usesMax = 2 ** 20;

/**
 * The counts of an upload: shares for what is owned and for what a site weighs itself, uses for the rest.
 * @param carried most uses that the round carries, where that is less than what is believed.
 */
export function countRanges({ uploaded }: Exchange, carried = usesMax): CountRange[] {
  const most = Math.min(usesMax, carried);
  return uploaded.tensors
    .filter(({ aggregationClass }) => aggregationClass === 'count')
    .map(({ name, offset, size }) => ({ name, offset, size, max: shareNames.includes(name) ? 1 : most }));
}

/** The pairs whose products the plan's rule combines, or whose averaged factors it measures. */
export function combinedPairs({ settings, pairs }: Exchange): readonly ExchangedPair[] {
  const wanted = settings.lowRank === 'factor-avg' ? 'mean' : 'low-rank';
  return pairs.filter(({ trained: { a, b } }) => a.aggregationClass === wanted && b.aggregationClass === wanted);
}

/** Whether clients begin every round with fresh factors on top of what is published. */
export function restarts({ settings }: Exchange): boolean {
  return declarationOf(settings.lowRank).start === 'restart';
}
