/**
 * Reads labelled text rows from JSON Lines and CSV files, plain or gzip-compressed, in UTF-8 with or without a byte order mark. Files are
 * streamed; a bad row stops the reading with the file, the line and the reason. The text of a row never appears in a message.
 */
import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { errorMessage, FormatError, UsageError } from '../core/errors.ts';
import { textCharactersMax } from '../core/limits.ts';
import type { Row } from './row.ts';

/** Which column (CSV header name or JSON key) holds what. `group` is optional: the natural owner of a row, for partitions. */
export interface ColumnMapping {
  readonly text: string;
  readonly label: string;
  readonly group?: string;
}

/** The columns that a file has when nobody says otherwise. */
export const defaultMapping: ColumnMapping = { text: 'text', label: 'label' };

type RowFailure = (line: number, reason: string) => FormatError;

/**
 * All rows of a file in their order.
 * @throws UsageError when the file cannot be read or has no known ending; FormatError on the first bad row, or when there is no row.
 */
export async function readRows(path: string, mapping: ColumnMapping = defaultMapping): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of streamRows(path, mapping)) rows.push(row);
  if (rows.length === 0) throw new FormatError('no-rows', `${path}: expected at least one row, found none`);
  return rows;
}

/** The rows of a file one by one, in memory that does not grow with the file. @throws as {@link readRows}. */
async function* streamRows(path: string, mapping: ColumnMapping = defaultMapping): AsyncGenerator<Row> {
  const failure: RowFailure = (line, reason) =>
    new FormatError('bad-row', `${path}, line ${line}: ${reason}`, { context: { file: path, line } });
  const isCompressed = path.endsWith('.gz');
  const name = isCompressed ? path.slice(0, -3) : path;
  const text = decodeFile(path, isCompressed);
  if (name.endsWith('.jsonl') || name.endsWith('.ndjson')) yield* jsonRows(text, mapping, failure);
  else if (name.endsWith('.csv')) yield* csvRows(text, mapping, failure);
  else {
    throw new UsageError(
      'unknown-data-format',
      `${path}: expected a file that ends in .jsonl, .ndjson or .csv, plain or with .gz after it`,
    );
  }
}

async function* decodeFile(path: string, isCompressed: boolean): AsyncGenerator<string> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  // A failure reaches whoever iterates the last stream; the callback has nothing to add.
  const bytes: Readable = isCompressed ? pipeline(file, createGunzip(), () => {}) : file;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of bytes) yield decoder.decode(chunk as Uint8Array, { stream: true });
    yield decoder.decode();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      throw new FormatError('bad-encoding', `${path}: expected text in UTF-8, found bytes that are not`, { cause });
    }
    if (code.startsWith('Z_')) {
      throw new FormatError('bad-gzip', `${path}: the gzip stream is broken (${errorMessage(cause)})`, { cause });
    }
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  }
}

/** Lines without their ends. A line may be as long as the longest text with every character escaped, and some columns more. */
async function* splitLines(chunks: AsyncIterable<string>, failure: RowFailure): AsyncGenerator<string> {
  const charactersMax = 8 * textCharactersMax;
  let rest = '';
  let line = 1;
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const complete of lines) {
      yield complete.endsWith('\r') ? complete.slice(0, -1) : complete;
      line++;
    }
    if (rest.length > charactersMax) throw failure(line, `the line is longer than ${charactersMax} characters`);
  }
  if (rest !== '') yield rest;
}

async function* jsonRows(
  chunks: AsyncIterable<string>,
  mapping: ColumnMapping,
  failure: RowFailure,
): AsyncGenerator<Row> {
  let line = 0;
  for await (const content of splitLines(chunks, failure)) {
    line++;
    if (content.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(content);
    } catch {
      throw failure(line, 'expected one JSON object, found invalid JSON');
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw failure(line, `expected a JSON object, found ${kindOf(value)}`);
    }
    yield rowOf(value as Record<string, unknown>, mapping, line, failure);
  }
}

interface CsvItem {
  readonly record: readonly string[];
  readonly info: { readonly lines: number; readonly empty_lines: number };
}

async function* csvRows(
  chunks: AsyncIterable<string>,
  mapping: ColumnMapping,
  failure: RowFailure,
): AsyncGenerator<Row> {
  const parser = parse({ info: true, skip_empty_lines: true, max_record_size: 8 * textCharactersMax });
  const items: AsyncIterable<CsvItem> = pipeline(Readable.from(chunks), parser, () => {});
  let header: readonly string[] | null = null;
  let lastLine = 0;
  let emptyLines = 0;
  try {
    for await (const { record, info } of items) {
      // A quoted field may hold newlines: a record begins after the end of the one before it and the empty lines between the two.
      const line = lastLine + 1 + info.empty_lines - emptyLines;
      lastLine = info.lines;
      emptyLines = info.empty_lines;
      if (header === null) {
        header = record.map((name) => name.trim());
        requireColumns(header, mapping, failure);
        continue;
      }
      const names = header;
      yield rowOf(Object.fromEntries(record.map((value, index) => [names[index]!, value])), mapping, line, failure);
    }
  } catch (cause) {
    const { code, lines } = cause as { readonly code?: string; readonly lines?: number };
    if (code?.startsWith('CSV_')) throw failure(lines ?? lastLine + 1, `broken CSV: ${errorMessage(cause)}`);
    throw cause;
  }
}

function requireColumns(header: readonly string[], mapping: ColumnMapping, failure: RowFailure): void {
  for (const column of Object.values(mapping) as string[]) {
    if (header.includes(column)) continue;
    throw failure(1, `the column "${column}" is missing; there are: ${header.map((name) => `"${name}"`).join(', ')}`);
  }
}

function rowOf(record: Record<string, unknown>, mapping: ColumnMapping, line: number, failure: RowFailure): Row {
  const cell = (column: string): unknown => {
    if (Object.hasOwn(record, column)) return record[column];
    const names = Object.keys(record).map((name) => `"${name}"`);
    throw failure(line, `the column "${column}" is missing; there are: ${names.join(', ') || 'none'}`);
  };
  const nameIn = (column: string): string => {
    const value = cell(column);
    const isName = typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value);
    if (!isName)
      throw failure(line, `expected text, a whole number or a truth value in "${column}", found ${kindOf(value)}`);
    const name = String(value);
    if (name.trim() === '') throw failure(line, `the column "${column}" is empty`);
    return name;
  };
  const text = cell(mapping.text);
  if (typeof text !== 'string') throw failure(line, `expected text in "${mapping.text}", found ${kindOf(text)}`);
  if (text.trim() === '') throw failure(line, `the column "${mapping.text}" is empty`);
  if (text.length > textCharactersMax) {
    throw failure(
      line,
      `the text in "${mapping.text}" has ${text.length} characters, at most ${textCharactersMax} are read`,
    );
  }
  const row = { text, label: nameIn(mapping.label), line };
  return mapping.group === undefined ? row : { ...row, group: nameIn(mapping.group) };
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}
