/** Examples: token ids and what is scored of them. How a row of a task becomes examples stands with the task (`shared/training/tasks`). */
import { UsageError } from '../core/errors.ts';
import type { RowPlace } from './row.ts';

/** One training or test example. Neither list is changed after creation. */
export interface EncodedExample {
  /** Token ids without padding. */
  readonly ids: Int32Array;
  /**
   * What the task scores: with one label its index alone, with several those that the text has; with tags one per id; of a language model one
   * per id, the id itself where it is, or with masks may be, to be predicted. -1 where nothing is scored.
   */
  readonly targets: Int32Array;
}

/** The part of a tokenizer that encoding whole texts needs: at most `lengthMax` ids, special tokens included. */
export interface TextEncoding {
  encode(text: string, lengthMax: number): Int32Array;
}

/** Ids of a text, and whether it was cut to `lengthMax`. @throws UsageError `no-tokens` when it has none. */
export function encodeText(
  text: string,
  { tokenizer, lengthMax, line }: { readonly tokenizer: TextEncoding; readonly lengthMax: number } & RowPlace,
): { readonly ids: Int32Array; readonly isCut: boolean } {
  // One id more than fits tells a text that was cut from one that just fits.
  const longer = tokenizer.encode(text, lengthMax + 1);
  const isCut = longer.length > lengthMax;
  const ids = isCut ? tokenizer.encode(text, lengthMax) : longer;
  if (ids.length === 0) throw noTokens(line);
  return { ids, isCut };
}

/** The error of a row that has nothing to read. */
export function noTokens(line: number): UsageError {
  return new UsageError('no-tokens', `the text in line ${line} has no token that the base model knows`);
}

/** Finds the index of a label. */
export type LabelIndex = (label: string, line: number) => number;

/** @throws UsageError `unknown-label` for a label that is not among `labels`. */
export function labelIndexOf(labels: readonly string[]): LabelIndex {
  const indices = new Map(labels.map((label, index) => [label, index]));
  return (label, line) => {
    const index = indices.get(label);
    if (index === undefined) throw unknownLabel(label, line, labels);
    return index;
  };
}

function unknownLabel(label: string, line: number, labels: readonly string[]): UsageError {
  const shown = labels.slice(0, 12).map((known) => JSON.stringify(known));
  const more = labels.length > shown.length ? ` and ${labels.length - shown.length} more` : '';
  return new UsageError(
    'unknown-label',
    `the row in line ${line} has the label ${JSON.stringify(label)}, which the task does not; its labels are ${shown.join(', ')}${more}`,
  );
}
