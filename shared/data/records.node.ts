/**
 * Reads the records of data files as they are, whatever they mean: JSON Lines, JSON, CSV, TSV and Parquet, text also compressed with gzip, in
 * one file or many shards. Files are streamed, so that what is held is one record (in Parquet one row group), not the file. Which column
 * means what is the caller's business.
 */
import { UsageError } from '../core/errors.ts';
import { csvRecords } from './csv-records.node.ts';
import { jsonFileRecords, jsonLineRecords } from './json-file.node.ts';
import type { RowFaults } from './row-faults.ts';
import { endingsText, formatOf, shardsOf } from './shards.node.ts';

/** One record with its place: the line on which it begins, in Parquet the number of the row, each from 1. */
export interface DataRecord {
  /** Values by column: those of JSON, in CSV text alone, in Parquet what JSON has too (see `parquet.node.ts`). */
  readonly value: Readonly<Record<string, unknown>>;
  readonly line: number;
  readonly file: string;
}

/** What to read, and what to do with rows that are broken. */
export interface RecordOptions {
  /** Columns that must be there: of CSV and Parquet, whose files name their columns, a missing one is refused; of Parquet no other is read. Default: all. */
  readonly columns?: readonly string[];
  /** Where broken rows are noted, and then skipped. Without it the first one stops the reading. */
  readonly faults?: RowFaults;
}

/**
 * Streams the records of a file, of all files of a folder, or of those that match a pattern (`train-*.parquet`), in the order of names.
 * @throws UsageError when nothing can be read there or the ending is unknown; FormatError when a file is broken as a whole, and on the
 * first bad row unless `faults` takes it.
 */
export async function* readRecords(path: string, options: RecordOptions = {}): AsyncGenerator<DataRecord> {
  for (const file of await shardsOf(path)) yield* fileRecords(file, options);
}

function fileRecords(file: string, options: RecordOptions): AsyncGenerator<DataRecord> {
  const format = formatOf(file);
  switch (format) {
    case 'jsonl':
      return jsonLineRecords(file, options);
    case 'json':
      return jsonFileRecords(file, options);
    case 'csv':
      return csvRecords(file, ',', options);
    case 'tsv':
      return csvRecords(file, '\t', options);
    case 'parquet':
      return parquetFile(file, options);
    case null:
      throw new UsageError('unknown-data-format', `${file}: expected a file that ends in ${endingsText}`);
    default:
      return format satisfies never;
  }
}

/** Loaded when there is such a file: the decompressors are WebAssembly that others need not compile. */
async function* parquetFile(file: string, options: RecordOptions): AsyncGenerator<DataRecord> {
  const { parquetRecords } = await import('./parquet.node.ts');
  yield* parquetRecords(file, options);
}
