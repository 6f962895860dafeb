/**
 * Reads rows from the data files of `records.node.ts`. A bad row stops the reading with the file, the line and the reason. The text of a row
 * never appears in a message.
 */
import { FormatError } from '../core/errors.ts';
import { type RecordOptions, readRecords } from './records.node.ts';
import type { Row } from './row.ts';
import { badRow } from './row-faults.ts';
import { type ColumnMapping, labelledRow, type RecordView } from './row-fields.ts';

/** Streams the records of a file one by one, each with a way to refuse it. @throws as `readRecords` does. */
export async function* streamViews(path: string, options: RecordOptions = {}): AsyncGenerator<RecordView> {
  for await (const { value, line, file } of readRecords(path, options)) {
    const fail = (reason: string): never => {
      throw badRow({ file, line, reason });
    };
    yield { value, line, fail };
  }
}

/**
 * All rows of a file in their order, each made by `read`.
 * @throws UsageError when the file cannot be read or has no known ending; FormatError on the first bad row, or when there is no row.
 */
export async function readRowsAs<Content>(
  path: string,
  read: (view: RecordView) => Content,
  options: RecordOptions = {},
): Promise<Content[]> {
  const rows: Content[] = [];
  for await (const view of streamViews(path, options)) rows.push(read(view));
  if (rows.length === 0) throw new FormatError('no-rows', `${path}: expected at least one row, found none`);
  return rows;
}

/** All labelled texts of a file in their order. @throws as {@link readRowsAs}. */
export async function readRows(path: string, mapping: ColumnMapping = {}): Promise<Row[]> {
  const { text = 'text', label = 'label', group } = mapping;
  const columns = [text, label, ...(group === undefined ? [] : [group])];
  return readRowsAs(path, (view) => labelledRow(view, mapping), { columns });
}
