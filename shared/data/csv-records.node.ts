/** Records of a CSV or TSV file (RFC 4180 with a header line; TSV quotes fields the same way, as pandas and spreadsheets write it). */
import { pipeline, Readable } from 'node:stream';
import { type InfoRecord, type Options, parse } from 'csv-parse';
import { FormatError } from '../core/errors.ts';
import { recordCharactersMax } from '../core/limits.ts';
import type { DataRecord, RecordOptions } from './records.node.ts';
import { badRow, requireColumns } from './row-faults.ts';
import { readText } from './text-file.node.ts';

/** The parser's fault codes in words; its own messages may quote the field. */
const reasons: Readonly<Record<string, string>> = {
  CSV_INVALID_CLOSING_QUOTE: 'a quoted field goes on after its closing quote; write a quote inside it twice',
  INVALID_OPENING_QUOTE: 'a quote stands inside a field that is not quoted; quote the whole field',
  CSV_QUOTE_NOT_CLOSED: 'a quoted field is never closed',
  CSV_MAX_RECORD_SIZE: `the record is longer than ${recordCharactersMax} characters`,
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: 'the record has more or fewer fields than the header',
};

/** Faults that leave no doubt where the next record begins; after a wrong quote there is none to be trusted. */
const recoverable: ReadonlySet<string> = new Set(['CSV_RECORD_INCONSISTENT_FIELDS_LENGTH', 'INVALID_OPENING_QUOTE']);

interface CsvRecord {
  readonly fields: readonly string[];
  readonly line: number;
}

/** Streams the records of `path`, whose fields `delimiter` separates; values are text. @throws as `readRecords` does. */
export async function* csvRecords(
  path: string,
  delimiter: ',' | '\t',
  { columns, faults }: RecordOptions,
): AsyncGenerator<DataRecord> {
  let lastLine = 0;
  let emptyLines = 0;
  /** A quoted field may hold newlines: a record begins after the end of the one before it and the empty lines between the two. */
  const beginning = (info: Pick<InfoRecord, 'lines' | 'empty_lines'>): number => {
    const line = lastLine + 1 + info.empty_lines - emptyLines;
    lastLine = info.lines;
    emptyLines = info.empty_lines;
    return line;
  };
  const options = {
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_quotes: delimiter === '\t',
    skip_empty_lines: true,
    max_record_size: recordCharactersMax,
    skip_records_with_error: faults !== undefined,
    on_record: (fields: string[], info: InfoRecord): CsvRecord => ({ fields, line: beginning(info) }),
    on_skip: (error: unknown): undefined => {
      const { code, lines, empty_lines } = error as CsvFault;
      // One record may have several faults; the first says enough.
      if (lines === lastLine) return undefined;
      const fault = { file: path, line: beginning({ lines, empty_lines }), reason: reasonOf(code) };
      if (!recoverable.has(code)) throw badRow(fault);
      faults?.add(fault);
      return undefined;
    },
  };
  // The types of the parser know records of text alone; `on_record` may make anything of them.
  const parser = parse(options as unknown as Options);
  const items: AsyncIterable<CsvRecord> = pipeline(Readable.from(readText(path)), parser, () => {});
  let header: readonly string[] | null = null;
  try {
    for await (const { fields, line } of items) {
      if (header === null) {
        header = fields.map((name) => name.trim());
        requireHeader(path, header, columns);
        continue;
      }
      const names = header;
      yield { value: Object.fromEntries(fields.map((field, index) => [names[index]!, field])), line, file: path };
    }
  } catch (cause) {
    const { code, lines } = cause as CsvFault;
    if (cause instanceof FormatError || code === undefined || !/^(CSV_|INVALID_)/.test(code)) throw cause;
    throw badRow({ file: path, line: lines ?? lastLine + 1, reason: reasonOf(code) });
  }
}

interface CsvFault {
  readonly code: string;
  readonly lines: number;
  readonly empty_lines: number;
}

function reasonOf(code: string): string {
  return `broken CSV: ${reasons[code] ?? code}`;
}

function requireHeader(file: string, header: readonly string[], columns: readonly string[] | undefined): void {
  const twice = header.find((name, index) => header.indexOf(name) !== index);
  if (twice !== undefined) throw badRow({ file, line: 1, reason: `the column "${twice}" is there twice` });
  requireColumns(file, header, columns);
}
