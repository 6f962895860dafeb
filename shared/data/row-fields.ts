/** Picks the parts of a row out of a record as a reader delivers it; says what is missing by column, never by content. */
import { FormatError } from '../core/errors.ts';
import { textCharactersMax } from '../core/limits.ts';
import { type ChatMessage, keyOfRow, type Row, type RowPlace, type SeveralRow } from './row.ts';
import { kindOf } from './row-faults.ts';

/** Which column (CSV header name or JSON key) holds what, where the user says so; tasks know their usual names. */
export interface ColumnMapping {
  /** What is read: text, words, prompt or chat. */
  readonly text?: string | undefined;
  /** What is learned: label, labels, tags or answer. */
  readonly label?: string | undefined;
  /** The natural owner of a row, for partitions. */
  readonly group?: string | undefined;
  /** The data set within the file that a row is of, such as a language or a task. */
  readonly part?: string | undefined;
  /** What whole numbers stand for as labels or tags, from 0 up, as published sets list them; absent means that a number is its own name. */
  readonly names?: readonly string[] | undefined;
}

/** A record and how to refuse it. */
export interface RecordView {
  readonly value: Readonly<Record<string, unknown>>;
  readonly line: number;
  /** @throws the error of this record, with file, line and `reason`. */
  readonly fail: (reason: string) => never;
}

/** The first of `names` that the record has. @throws by `fail` when it has none. */
export function columnOf({ value, fail }: RecordView, names: readonly string[]): string {
  const found = names.find((name) => Object.hasOwn(value, name) && value[name] !== undefined);
  if (found !== undefined) return found;
  const present = Object.keys(value).map((name) => `"${name}"`);
  const wanted = names.map((name) => `"${name}"`).join(' or ');
  return fail(`the column ${wanted} is missing; there are: ${present.join(', ') || 'none'}`);
}

/** The line of the record, and its owner and part where they are asked for. */
export function placeOf(view: RecordView, { group, part }: ColumnMapping): RowPlace {
  return {
    line: view.line,
    ...(group === undefined ? {} : { group: nameIn(view, columnOf(view, [group])) }),
    ...(part === undefined ? {} : { part: nameIn(view, columnOf(view, [part])) }),
  };
}

/** Text with something in it, of bounded length. */
export function textIn(view: RecordView, column: string): string {
  const text = view.value[column];
  if (typeof text !== 'string') return view.fail(`expected text in "${column}", found ${kindOf(text)}`);
  if (text.trim() === '') return view.fail(`the column "${column}" is empty`);
  return bounded(view, text, column);
}

/** A label: text, a whole number or a truth value, as text; where `names` are given, a whole number is the place of its name. */
export function nameIn(view: RecordView, column: string, names?: readonly string[]): string {
  const value = view.value[column];
  if (!isName(value))
    return view.fail(`expected text, a whole number or a truth value in "${column}", found ${kindOf(value)}`);
  const name = named(view, column, value, names);
  return name.trim() === '' ? view.fail(`the column "${column}" is empty`) : name;
}

function named(
  { fail }: RecordView,
  column: string,
  value: string | number | boolean,
  names: readonly string[] | undefined,
): string {
  // CSV has numbers as text.
  const place = typeof value === 'string' && /^\d{1,6}$/.test(value) ? Number(value) : value;
  if (names === undefined || typeof place !== 'number') return String(value);
  return (
    names[place] ?? fail(`expected a number below ${names.length}, the count of names, in "${column}", found ${place}`)
  );
}

/** How labels are written in one text, and what numbers stand for. */
export interface NameListOptions {
  /** What stands between labels in CSV, which has no lists. */
  readonly separator: string | RegExp;
  readonly names?: readonly string[] | undefined;
}

/** A list of labels or tags, which may be empty. */
export function namesIn(view: RecordView, column: string, { separator, names }: NameListOptions): string[] {
  const value = view.value[column];
  const items: unknown =
    typeof value === 'string' ? value.split(separator).filter((part) => part.trim() !== '') : value;
  if (!Array.isArray(items)) return view.fail(`expected a list in "${column}", found ${kindOf(items)}`);
  return items.map((item: unknown) =>
    isName(item) && String(item).trim() !== ''
      ? named(view, column, typeof item === 'string' ? item.trim() : item, names)
      : view.fail(`expected labels in the list "${column}", found ${kindOf(item)}`),
  );
}

/** A list of words, at least one; in CSV one text, whose words are separated by blanks. */
export function wordsIn(view: RecordView, column: string): string[] {
  const value = view.value[column];
  const words: unknown[] = typeof value === 'string' ? value.split(/\s+/).filter((word) => word !== '') : asList(value);
  if (words.length === 0) return view.fail(`expected a list of words in "${column}", found ${kindOf(value)}`);
  let length = 0;
  const texts = words.map((word) => {
    if (typeof word !== 'string') return view.fail(`expected text in the list "${column}", found ${kindOf(word)}`);
    length += word.length;
    return word;
  });
  if (length > textCharactersMax)
    return view.fail(`the words in "${column}" have ${length} characters, at most ${textCharactersMax} are read`);
  return texts;
}

/** The turns of a chat: objects with `role` and `content`. */
export function messagesIn(view: RecordView, column: string): ChatMessage[] {
  const value = view.value[column];
  const turns = asList(value);
  if (turns.length === 0) return view.fail(`expected a list of turns in "${column}", found ${kindOf(value)}`);
  return turns.map((turn) => {
    if (typeof turn !== 'object' || turn === null)
      return view.fail(`expected turns with role and content in "${column}", found ${kindOf(turn)}`);
    const role = Reflect.get(turn, 'role') as unknown;
    const content = Reflect.get(turn, 'content') as unknown;
    if (typeof role !== 'string' || typeof content !== 'string')
      return view.fail(`expected text as role and content of every turn in "${column}"`);
    return { role, content: bounded(view, content, column) };
  });
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function isName(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value);
}

function bounded({ fail }: RecordView, text: string, column: string): string {
  if (text.length <= textCharactersMax) return text;
  return fail(`the text in "${column}" has ${text.length} characters, at most ${textCharactersMax} are read`);
}

/**
 * All that a record asks, whatever task it is for: what the column of `columns.text` says, or the first that it has of the usual ones. The same as
 * `keyOfRow` of the row that a task makes of it.
 */
export function keyOfRecord(view: RecordView, columns: ColumnMapping): string {
  const names = columns.text === undefined ? ['text', 'messages', 'prompt', 'tokens', 'words'] : [columns.text];
  const column = columnOf(view, names);
  const value = view.value[column];
  if (typeof value === 'string')
    return column === 'tokens' || column === 'words' ? wordsIn(view, column).join(' ') : value;
  const isChat = asList(value).some((item) => typeof item === 'object');
  const row = isChat ? { messages: messagesIn(view, column) } : { words: wordsIn(view, column), tags: [] };
  return keyOfRow({ ...row, line: view.line });
}

/** A text with its label, by default in the columns `text` and `label`. */
export function labelledRow(view: RecordView, columns: ColumnMapping): Row {
  return {
    text: textIn(view, columnOf(view, [columns.text ?? 'text'])),
    label: nameIn(view, columnOf(view, [columns.label ?? 'label']), columns.names),
    ...placeOf(view, columns),
  };
}

/** A text with labels for several tasks: an object by task in the column `labels`, or one in `label` (of the task that is its part). */
export function severalRow(view: RecordView, columns: ColumnMapping): SeveralRow {
  const text = textIn(view, columnOf(view, [columns.text ?? 'text']));
  const column = columnOf(view, columns.label === undefined ? ['labels', 'label'] : [columns.label]);
  const value = view.value[column];
  const isByTask = typeof value === 'object' && value !== null && !Array.isArray(value);
  const labelOf = isByTask
    ? Object.fromEntries(
        Object.keys(value).map((name) => [name, nameIn({ ...view, value: value as RecordView['value'] }, name)]),
      )
    : nameIn(view, column, columns.names);
  if (typeof labelOf !== 'string' && Object.keys(labelOf).length === 0)
    return view.fail(`expected a label for at least one task in "${column}", found none`);
  return { text, labelOf, ...placeOf(view, columns) };
}

/** Views of records that a program made, such as `{ text, label }`; lines count from 1. */
export function viewsOf(records: readonly object[]): RecordView[] {
  return records.map((value, index) => ({
    value: value as Readonly<Record<string, unknown>>,
    line: index + 1,
    fail: (reason) => {
      throw new FormatError('bad-row', `row ${index + 1}: ${reason}`, { context: { line: index + 1 } });
    },
  }));
}
