/**
 * Records of a Parquet file, with every compression that is in use. Memory holds the wanted columns of one row group; of files with
 * page indexes only some pages of it.
 */
import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type FileMetaData,
  type ParquetParsers,
  parquetMetadataAsync,
  parquetReadObjects,
} from 'hyparquet';
import { errorMessage, FormatError, UsageError } from '../core/errors.ts';
import { parquetGroupBytesMax } from '../core/limits.ts';
import { checkFooter, createParquetCheck } from './parquet-check.ts';
import { parquetCompressors as compressors } from './parquet-compressors.node.ts';
import { brokenText, type Feature, ParquetValueError, parseFeatures, plainValue } from './parquet-values.ts';
import type { DataRecord, RecordOptions } from './records.node.ts';
import { reportFault, requireColumns } from './row-faults.ts';

/** Uncompressed bytes that are decoded at a time where pages can be found without reading the others. */
const sliceBytes = 16 * 1024 * 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The decoder's own ways, but for texts that are not UTF-8 (it would replace their bytes in silence) and days (which are no instants). */
const parsers: Partial<ParquetParsers> = {
  stringFromBytes: (bytes) => {
    try {
      return bytes && utf8.decode(bytes);
    } catch {
      return brokenText;
    }
  },
  dateFromDays: (days) => new Date(days * 86_400_000).toISOString().slice(0, 10),
};

/** Streams the rows of a Parquet file in their order. @throws as `readRecords` does. */
export async function* parquetRecords(path: string, { columns, faults }: RecordOptions): AsyncGenerator<DataRecord> {
  const handle = await open(path).catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  });
  try {
    const file = await fileBuffer(handle);
    await decoding(path, () => checkFooter(file));
    const metadata = await decoding(path, () => parquetMetadataAsync(file, { parsers, geoparquet: false }));
    const names = columnsOf(metadata);
    requireColumns(path, names, columns);
    const wanted = columns ?? names;
    const check = await decoding(path, async () => createParquetCheck(file, metadata, { wanted, compressors }));
    const features = parseFeatures(metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value);
    let line = 0;
    let checked = -1;
    for (const { group, rowStart, rowEnd } of slicesOf(metadata, wanted, path)) {
      if (group !== checked) await decoding(path, () => check.group(group));
      checked = group;
      const options = {
        file,
        metadata,
        columns: [...wanted],
        rowStart,
        rowEnd,
        compressors,
        parsers,
        useOffsetIndex: true,
        utf8: false,
      };
      const rows: readonly Record<string, unknown>[] = await decoding(path, () => parquetReadObjects(options));
      for (const row of rows) {
        line++;
        const value = recordOf(row, features);
        if (typeof value === 'string') reportFault({ file: path, line, reason: value }, faults);
        else yield { value, line, file: path };
      }
    }
  } finally {
    await handle.close();
  }
}

/** The row as a record, or what is wrong with it. */
function recordOf(
  row: Record<string, unknown>,
  features: ReadonlyMap<string, Feature>,
): Record<string, unknown> | string {
  let column = '';
  try {
    const values = Object.keys(row).map((name): [string, unknown] => {
      column = name;
      return [name, plainValue(row[name], features.get(name))];
    });
    return Object.fromEntries(values);
  } catch (cause) {
    if (cause instanceof ParquetValueError) return `${cause.message} in "${column}"`;
    throw cause;
  }
}

async function fileBuffer(handle: FileHandle): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      const from = start < 0 ? Math.max(0, size + start) : start;
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - from));
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, from + done);
        if (bytesRead === 0) throw new Error('the file became shorter while it was read');
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

/** Names of the columns at the top of the schema, whose first element is its root. */
function columnsOf({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  for (let index = 1; index < schema.length; ) {
    names.push(schema[index]!.name);
    let open = 1;
    for (; open > 0 && index < schema.length; index++) open += (schema[index]?.num_children ?? 0) - 1;
  }
  return names;
}

/** Ranges of rows that are decoded together, in order. @throws FormatError `row-group-too-large` */
function* slicesOf(
  { row_groups }: FileMetaData,
  wanted: readonly string[],
  path: string,
): Generator<{ readonly group: number; readonly rowStart: number; readonly rowEnd: number }> {
  let start = 0;
  for (const [group, { columns, num_rows }] of row_groups.entries()) {
    const rowCount = Number(num_rows);
    const chunks = columns.filter(({ meta_data }) => wanted.includes(meta_data?.path_in_schema[0] ?? ''));
    const bytes = chunks.reduce((sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0), 0);
    const hasIndex = chunks.every(({ offset_index_offset }) => offset_index_offset !== undefined);
    if (!hasIndex && bytes > parquetGroupBytesMax) {
      throw new FormatError(
        'row-group-too-large',
        `${path}: expected row groups of at most ${parquetGroupBytesMax} bytes in the columns that are read, found one of ${bytes}; write the file with fewer rows per group, or with a page index`,
        { context: { file: path, bytes } },
      );
    }
    const sliceCount = hasIndex ? Math.max(1, Math.ceil(bytes / sliceBytes)) : 1;
    const step = Math.ceil(rowCount / sliceCount);
    for (let first = 0; first < rowCount; first += step) {
      yield { group, rowStart: start + first, rowEnd: start + Math.min(rowCount, first + step) };
    }
    start += rowCount;
  }
}

/** Runs the decoder, whose errors are faults of the file. */
async function decoding<Value>(path: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (cause) {
    throw new FormatError('bad-parquet', `${path}: cannot be read as Parquet: ${errorMessage(cause)}`, { cause });
  }
}
