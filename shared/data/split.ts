/**
 * Sets some of a site's rows apart for evaluation. The side of a row depends on its text and the seed alone: equal texts stand on the same
 * side, and a row keeps its side when others are added, so what was held out in one round is never trained on in the next.
 */
import { assert } from '../core/assert.ts';
import { seededRandom } from '../core/random.ts';
import type { Row } from './row.ts';

/** Rows to train on and rows to evaluate on. */
export interface SplitRows {
  readonly train: Row[];
  readonly heldOut: Row[];
}

/**
 * Splits `rows`, keeping their order. `fraction` from 0 (nothing is held out) to below 1 is the expected share of held-out rows. With two or
 * more distinct texts and a positive fraction, neither side is empty.
 */
export function splitHeldOut(rows: readonly Row[], fraction: number, seed: number): SplitRows {
  assert(fraction >= 0 && fraction < 1, `the held-out fraction ${fraction} is not in [0, 1)`);
  const random = seededRandom(seed, 'held-out');
  const draws = rows.map((row) => random.fork(row.text).uniform());
  const bound = fraction === 0 ? 0 : boundBetween(draws, fraction);
  return {
    train: rows.filter((_, index) => draws[index]! >= bound),
    heldOut: rows.filter((_, index) => draws[index]! < bound),
  };
}

/** The fraction itself, or the nearest bound that leaves a text on either side. */
function boundBetween(draws: readonly number[], fraction: number): number {
  const sorted = [...new Set(draws)].sort((left, right) => left - right);
  if (sorted.length < 2) return fraction;
  return Math.min(Math.max(fraction, sorted[1]!), sorted.at(-1)!);
}
