/** Records of JSON files: one object per line (.jsonl, .ndjson, and .json where it is so), a list of objects, or one under the key "data". */
import { FormatError } from '../core/errors.ts';
import { recordCharactersMax } from '../core/limits.ts';
import { JsonListError, jsonElements } from './json-records.ts';
import type { DataRecord, RecordOptions } from './records.node.ts';
import { kindOf, reportFault } from './row-faults.ts';
import { readLines, readText } from './text-file.node.ts';

/** Streams one record per line; empty lines are left out. @throws as `readRecords` does. */
export async function* jsonLineRecords(file: string, { faults }: RecordOptions): AsyncGenerator<DataRecord> {
  let line = 0;
  for await (const block of readLines(file)) {
    for (const content of block) {
      line++;
      if ('text' in content && content.text.trim() === '') continue;
      const record = 'text' in content ? objectOf(content.text) : content;
      if ('fault' in record) reportFault({ file, line, reason: record.fault }, faults);
      else yield { value: record.value, line, file };
    }
  }
}

/** Streams the objects of a list, or one object per line, whichever the file holds. @throws as `readRecords` does. */
export async function* jsonFileRecords(file: string, options: RecordOptions): AsyncGenerator<DataRecord> {
  if (await holdsLines(file)) {
    yield* jsonLineRecords(file, options);
    return;
  }
  try {
    for await (const { text, line } of jsonElements(readText(file), recordCharactersMax)) {
      const tooLong = `the object is longer than ${recordCharactersMax} characters`;
      const record = text === null ? { fault: tooLong } : objectOf(text);
      if ('fault' in record) reportFault({ file, line, reason: record.fault }, options.faults);
      else yield { value: record.value, line, file };
    }
  } catch (cause) {
    if (!(cause instanceof JsonListError)) throw cause;
    const expected = 'expected a list of objects, an object that holds one under "data", or one object per line';
    const context = { file, line: cause.line };
    throw new FormatError('bad-json', `${file}, line ${cause.line}: ${cause.message}; ${expected}`, { cause, context });
  }
}

/** Whether the first line that is not empty is a whole object, and something follows it. */
async function holdsLines(file: string): Promise<boolean> {
  let isFirst = true;
  for await (const block of readLines(file)) {
    for (const line of block) {
      if ('text' in line && line.text.trim() === '') continue;
      if (!isFirst) return true;
      if ('fault' in line || 'fault' in objectOf(line.text)) return false;
      isFirst = false;
    }
  }
  return false;
}

function objectOf(text: string): { readonly value: Record<string, unknown> } | { readonly fault: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: 'expected one JSON object, found invalid JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { fault: `expected a JSON object, found ${kindOf(value)}` };
  }
  return { value: value as Record<string, unknown> };
}
