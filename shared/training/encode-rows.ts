/** From rows to a source of examples, with what was cut and what was left out counted. */
import type { EncodedExample } from '../data/encode.ts';
import { type ExampleSource, memorySource } from '../data/example-source.ts';
import type { TaskRow } from '../data/row.ts';
import type { BoundTask, TaskTokenizer } from './tasks/task.ts';

/** What became of rows. */
export interface EncodingCounts {
  readonly rowCount: number;
  /** Rows of which a part was left out because they are longer than `lengthMax`. */
  readonly truncatedCount: number;
  /** Of those, rows of which nothing is left to score. */
  readonly droppedCount: number;
}

/** A source and what became of its rows. */
export interface EncodedSource extends EncodingCounts {
  readonly source: ExampleSource;
}

/** What encoding needs. */
export interface EncodeOptions {
  readonly task: BoundTask;
  readonly tokenizer: TaskTokenizer;
}

/** Encodes rows that are in memory. @throws UsageError of the first row that does not belong to the task. */
export function encodeRows(rows: readonly TaskRow[], options: EncodeOptions): EncodedSource {
  const encoder = createRowEncoder(options);
  const source = memorySource(rows.flatMap((row) => encoder.encode(row)));
  return { source, ...encoder.counts() };
}

/** Encodes row after row and counts. */
export interface RowEncoder {
  encode(row: TaskRow): readonly EncodedExample[];
  counts(): EncodingCounts;
}

/** An encoder that has seen no row. */
export function createRowEncoder({ task, tokenizer }: EncodeOptions): RowEncoder {
  let [rowCount, truncatedCount, droppedCount] = [0, 0, 0];
  return {
    encode: (row) => {
      const { examples, isCut } = task.encode(row, tokenizer);
      rowCount++;
      if (isCut) truncatedCount++;
      if (examples.length === 0) droppedCount++;
      return examples;
    },
    counts: () => ({ rowCount, truncatedCount, droppedCount }),
  };
}
