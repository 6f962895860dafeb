/** The rows of one set for one seed: training rows drawn, test rows fixed. */
import { join } from 'node:path';
import { seededRandom } from '../../shared/core/random.ts';
import { labelsOf, type Row } from '../../shared/data/row.ts';
import { readRows } from '../../shared/data/rows.node.ts';
import type { SetName } from './settings.ts';

/** Rows of a set, and its labels in the order of their code units. */
export interface SetRows {
  readonly train: readonly Row[];
  readonly test: readonly Row[];
  readonly labels: readonly string[];
}

/** What {@link readSet} needs. */
export interface ReadSetOptions {
  /** Folder that holds one folder per set with `train.jsonl.gz`, `validation.jsonl.gz` and `test.jsonl.gz`. */
  readonly folder: string;
  readonly set: SetName;
  readonly split: 'validation' | 'test';
  readonly trainCount: number;
  readonly testCount: number;
  /** Rows of the split that would be drawn first and are left out. */
  readonly passedOver: number;
  readonly seed: number;
}

/** Reads and draws. Labels are those of the whole training file, so that every seed has the same task. @throws as `readRows` does. */
export async function readSet({
  folder,
  set,
  split,
  trainCount,
  testCount,
  passedOver,
  seed,
}: ReadSetOptions): Promise<SetRows> {
  const columns = { text: 'text', label: 'label' };
  const read = (part: string) =>
    readRows(join(folder, set, `${part}.jsonl.gz`), set === 'banking77' ? columns : { ...columns, group: 'client' });
  const train = await read('train');
  const test = await read(split);
  return {
    train: drawRows(train, trainCount, seed),
    test: drawRows(test, testCount, 0, passedOver),
    labels: labelsOf(train),
  };
}

/** At most `count` rows, drawn without replacement, in their order; the first `passedOver` that would be drawn are left out. */
export function drawRows(rows: readonly Row[], count: number, seed: number, passedOver = 0): Row[] {
  if (passedOver === 0 && count >= rows.length) return [...rows];
  const order = seededRandom(seed, 'draw-rows').shuffle(rows.map((_, index) => index));
  return order
    .slice(passedOver, passedOver + count)
    .sort((left, right) => left - right)
    .map((index) => rows[index]!);
}
