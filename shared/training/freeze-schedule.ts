/**
 * What is trained when: tensors that are frozen for a stretch of training, and gradual unfreezing from the top (Howard and Ruder 2018, ULMFiT,
 * section 3.3). A stretch is a share of all steps, over all rounds of a federation, so it stands in the plan and everybody knows for every round
 * what may change in it. What is frozen gets no gradient, keeps its moments, and does not decay: its delta is exactly zero.
 */
import { isBelow } from '../update/federated-layout.ts';
import { type AdapterLayout, trainsLocally } from '../update/layout.ts';

/** Tensors that are frozen for a stretch of training. */
export interface Freezing {
  /** Beginnings of tensor names in whole words, `*` for any word, such as `layers.0` or `head`. */
  readonly tensors: readonly string[];
  /** Share of all steps before they are frozen, in [0, 1); default 0. */
  readonly from?: number | undefined;
  /** Share of all steps after which they train, in (0, 1]; default 1: never. */
  readonly until?: number | undefined;
}

/** The settings of what is trained when. */
export interface FreezeSettings {
  readonly freezing?: readonly Freezing[] | undefined;
  /**
   * Share of all steps, in (0, 1], after which the lowest layer trains too. What is in no layer, as the head, trains from the start, the layers join
   * from the top at equal distances; where there is nothing else the top layer trains from the start. Absent: all train from the start.
   */
  readonly gradualUnfreezing?: number | undefined;
}

/** Which tensors of a layout are frozen at a share of training in [0, 1), beside those that never train. */
export interface FreezeSchedule {
  /** One flag per tensor, in layout order; the same array until something changes. */
  frozenAt(progress: number): readonly boolean[];
  /** Shares at which something changes, ascending, 0 first. */
  readonly changes: readonly number[];
}

interface Stretch {
  readonly from: number;
  readonly until: number;
}

/** Shares are quotients, and may miss the end of a stretch by their rounding. */
const slack = 1e-9;

/** The schedule of a layout; null where nothing is ever frozen by it. */
export function freezeScheduleOf(layout: AdapterLayout, settings: FreezeSettings): FreezeSchedule | null {
  const { freezing = [], gradualUnfreezing } = settings;
  if (freezing.length === 0 && gradualUnfreezing === undefined) return null;
  const joins = gradualUnfreezing === undefined ? () => 0 : gradualStart(layout, gradualUnfreezing);
  const stretches = layout.tensors.map(({ name }): Stretch[] => {
    const named = freezing.filter(({ tensors }) => tensors.some((pattern) => isBelow(name, pattern)));
    return [{ from: 0, until: joins(name) }, ...named.map(({ from = 0, until = 1 }) => ({ from, until }))];
  });
  const edges = stretches.flat().flatMap(({ from, until }) => [from, until]);
  const changes = [...new Set([0, ...edges])].filter((edge) => edge < 1).sort((left, right) => left - right);
  const stages = changes.map((progress) =>
    stretches.map((own) => own.some(({ from, until }) => progress >= from && progress < until)),
  );
  return { changes, frozenAt: (progress) => stages[changes.findLastIndex((change) => change <= progress + slack)]! };
}

/** The layer of a tensor, or null for one that is in none. */
function layerOf(name: string): number | null {
  const index = /(?:^|\.)layers\.(\d+)\./.exec(name)?.[1];
  return index === undefined ? null : Number(index);
}

function gradualStart({ tensors }: AdapterLayout, until: number): (name: string) => number {
  const trained = tensors.filter(({ aggregationClass }) => trainsLocally(aggregationClass));
  const layers = [...new Set(trained.map(({ name }) => layerOf(name)))].filter((layer) => layer !== null);
  const fromTop = layers.sort((left, right) => right - left);
  const hasOthers = trained.some(({ name }) => layerOf(name) === null);
  const first = hasOthers ? 1 : 0;
  const last = Math.max(1, fromTop.length - 1 + first);
  return (name) => {
    const layer = layerOf(name);
    const place = layer === null ? -first : fromTop.indexOf(layer);
    return place === -first ? 0 : (until * (place + first)) / last;
  };
}

/** The tensors that cannot change in a whole stretch of training, as from one end of a round to the other. */
export function frozenThroughout(schedule: FreezeSchedule, { from, until }: Stretch): readonly boolean[] {
  const within = schedule.changes.filter((change) => change > from + slack && change < until - slack);
  const flags = [from, ...within].map((progress) => schedule.frozenAt(progress));
  return flags[0]!.map((_, index) => flags.every((one) => one[index]));
}
