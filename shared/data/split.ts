/**
 * Sets some rows apart for validation and test. The side of a row depends on what it says and the seed alone: equal rows stand on the same
 * side, and a row keeps its side when others are added, so what was held out in one round is never trained on in the next. With groups
 * (patients, customers) the group decides in place of the row: nobody stands on two sides.
 */
import { assert } from '../core/assert.ts';
import { UsageError } from '../core/errors.ts';
import { seededRandom } from '../core/random.ts';
import { keyOfRow, type Row, type TaskRow } from './row.ts';

/** Where a row goes. */
export const splitSides = ['train', 'validation', 'test'] as const;

/** One of {@link splitSides}. */
export type SplitSide = (typeof splitSides)[number];

/** Which share goes where; the rest, which must not be nothing, is for training. */
export interface SplitSettings {
  /** Expected share of the rows (with groups: of the groups) for validation, from 0 to below 1. */
  readonly validation?: number;
  /** Expected share for the test. */
  readonly test?: number;
  readonly seed: number;
}

/** What decides about a row: what it says, or the group it belongs to where one is given. */
export interface SplitKeys {
  readonly key: string;
  readonly group?: string;
}

/** Rows by side, each in the order they had. */
export interface SidedRows<Item> extends Readonly<Record<SplitSide, Item[]>> {
  /** Rows of groups whose text another side has already, and which therefore are nowhere: empty without groups. */
  readonly leftOut: Item[];
}

/** Rows to train on and rows to evaluate on. */
export interface SplitRows<Item = Row> {
  readonly train: Item[];
  readonly heldOut: Item[];
}

/**
 * The side of a row on its own, for files that are read row by row: the same as that of {@link splitRows} wherever there are rows enough for
 * every side.
 */
export function sideOf(keys: SplitKeys, settings: SplitSettings): SplitSide {
  return sideAt(drawOf(keys, settings), boundsOf(settings));
}

/** The number in [0, 1) that decides about a row: low ones are for the test, high ones for training. */
export function drawOf({ key, group }: SplitKeys, { seed }: SplitSettings): number {
  const random = seededRandom(seed, 'held-out');
  return (group === undefined ? random.fork(key) : random.fork('group', group)).uniform();
}

/**
 * Sides by draw. With at least as many distinct `draws` as sides that have a share, the bounds are moved so that no such side is empty; without
 * any they are the shares themselves.
 */
export function splitterOf(settings: SplitSettings, draws: Iterable<number> = []): (draw: number) => SplitSide {
  const bounds = filledBounds(boundsOf(settings), [...new Set(draws)]);
  return (draw) => sideAt(draw, bounds);
}

/**
 * Splits `rows`. With at least as many distinct rows (or groups) as sides that have a share, no such side is empty. A text that groups on
 * several sides have stays on one: training, then validation.
 * @throws UsageError `no-group` when `byGroup` is set and a row has none.
 */
export function splitRows<Item extends TaskRow>(
  rows: readonly Item[],
  { byGroup = false, ...settings }: SplitSettings & { readonly byGroup?: boolean },
): SidedRows<Item> {
  const keys = rows.map((row): SplitKeys => {
    if (!byGroup) return { key: keyOfRow(row) };
    if (row.group === undefined) throw new UsageError('no-group', `the row in line ${row.line} has no group`);
    return { key: keyOfRow(row), group: row.group };
  });
  const draws = keys.map((key) => drawOf(key, settings));
  const sideAtDraw = splitterOf(settings, draws);
  /** The highest draw of the groups that have a text, which is the side that keeps it. */
  const highest = new Map<string, number>();
  for (const [index, { key }] of keys.entries()) highest.set(key, Math.max(draws[index]!, highest.get(key) ?? 0));
  const found: SidedRows<Item> = { train: [], validation: [], test: [], leftOut: [] };
  for (const [index, row] of rows.entries()) {
    const side = sideAtDraw(draws[index]!);
    found[sideAtDraw(highest.get(keys[index]!.key)!) === side ? side : 'leftOut'].push(row);
  }
  return found;
}

/** Two sides: training, and `fraction` from 0 (nothing) to below 1 of the rows to evaluate on. As {@link splitRows} otherwise. */
export function splitHeldOut<Item extends TaskRow>(
  rows: readonly Item[],
  fraction: number,
  seed: number,
): SplitRows<Item> {
  const { train, validation } = splitRows(rows, { validation: fraction, seed });
  return { train, heldOut: validation };
}

/** Draws below the first bound are for the test, those below the second for validation, the rest for training. */
interface Bounds {
  readonly test: number;
  readonly validation: number;
}

function boundsOf({ validation = 0, test = 0 }: SplitSettings): Bounds {
  const isShare = validation >= 0 && test >= 0 && validation + test < 1;
  assert(isShare, `the shares ${validation} for validation and ${test} for the test leave nothing to train on`);
  return { test, validation: test + validation };
}

function sideAt(draw: number, { test, validation }: Bounds): SplitSide {
  if (draw < test) return 'test';
  return draw < validation ? 'validation' : 'train';
}

/** The bounds themselves, or the nearest that leave something on every side that has a share. */
function filledBounds(bounds: Bounds, distinctDraws: readonly number[]): Bounds {
  const [hasTest, hasValidation] = [bounds.test > 0, bounds.validation > bounds.test];
  const sorted = [...distinctDraws].sort((left, right) => left - right);
  if (sorted.length <= Number(hasTest) + Number(hasValidation)) return bounds;
  /** `bound`, moved so that at least and at most so many draws lie below it. */
  const moved = (bound: number, atLeast: number, atMost: number): number =>
    Math.min(Math.max(bound, sorted[atLeast]!), sorted[atMost]!);
  const last = sorted.length - 1;
  const test = hasTest ? moved(bounds.test, 1, last - Number(hasValidation)) : 0;
  const testCount = sorted.filter((draw) => draw < test).length;
  return { test, validation: hasValidation ? moved(bounds.validation, testCount + 1, last) : test };
}
