/**
 * A small world of four topics for rules of low-rank pairs: four clients on a random base. Which orderings tests expect of it was decided after a
 * look at its results: they guard against regressions and are no evidence for any rule.
 */
import { seededRandom } from '../../../shared/core/random.ts';
import type { Row } from '../../../shared/data/row.ts';
import type { LoadedBase } from '../../../shared/model/load.ts';
import { runSkewOn, type SkewCell, type SkewResult } from '../../../simulations/methods/low-rank-skew.ts';

const settings: SkewCell['settings'] = {
  clientCount: 4,
  rounds: 4,
  rows: 64,
  testRows: 40,
  alpha: 0.05,
  rank: 2,
  lengthMax: 10,
  batchSize: 8,
  learningRate: 0.05,
};

/** Texts of the letters of their topic. */
function rowsOf(count: number, seed: number): Row[] {
  const random = seededRandom(seed, 'skew');
  const letters = ['abc', 'xyz', 'mno', 'qrs'];
  return Array.from({ length: count }, (_, index) => {
    const own = letters[index % 4]!;
    const text = Array.from({ length: 5 + random.integer(4) }, () => own[random.integer(3)]).join('');
    return { text, label: own, line: index + 1 };
  });
}

/** One federation of this world. */
export function skewed(base: LoadedBase, cell: Pick<SkewCell, 'method' | 'dealing' | 'seed'>): Promise<SkewResult> {
  const { seed } = cell;
  return runSkewOn({ cell: { ...cell, settings }, base, train: rowsOf(64, seed), test: rowsOf(40, 100 + seed) });
}
