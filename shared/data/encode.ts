/** Turns labelled texts into token ids and targets. */
import { UsageError } from '../core/errors.ts';
import type { Row } from './row.ts';

/** One training or test example. Neither list is changed after creation. */
export interface EncodedExample {
  /** Token ids without padding. */
  readonly ids: Int32Array;
  /** What the task scores; with a single label, its index alone. */
  readonly targets: Int32Array;
}

/** The part of a tokenizer that encoding needs: at most `lengthMax` ids, special tokens included. */
export interface TextEncoding {
  encode(text: string, lengthMax: number): Int32Array;
}

/** What encoding needs. */
export interface EncodeOptions {
  readonly tokenizer: TextEncoding;
  /** The labels of the task; the index in this list is the class. */
  readonly labels: readonly string[];
  /** Ids per example, special tokens included; at least 1 and at most the positions of the base model. */
  readonly lengthMax: number;
}

/** Examples in the order of the rows, and how many texts were cut to the longest length. */
export interface EncodedRows {
  readonly examples: EncodedExample[];
  readonly truncatedCount: number;
}

/**
 * Encodes every row.
 * @throws UsageError when a row has a label that the task does not, or a text that has no token.
 */
export function encodeRows(rows: readonly Row[], { tokenizer, labels, lengthMax }: EncodeOptions): EncodedRows {
  const labelIndices = new Map(labels.map((label, index) => [label, index]));
  let truncatedCount = 0;
  const examples = rows.map((row): EncodedExample => {
    const label = labelIndices.get(row.label);
    if (label === undefined) throw unknownLabel(row, labels);
    // One id more than fits tells a text that was cut from one that just fits.
    const longer = tokenizer.encode(row.text, lengthMax + 1);
    const isCut = longer.length > lengthMax;
    const ids = isCut ? tokenizer.encode(row.text, lengthMax) : longer;
    if (ids.length === 0)
      throw new UsageError('no-tokens', `the text in line ${row.line} has no token that the base model knows`);
    if (isCut) truncatedCount++;
    return { ids, targets: Int32Array.of(label) };
  });
  return { examples, truncatedCount };
}

function unknownLabel(row: Row, labels: readonly string[]): UsageError {
  const shown = labels.slice(0, 12).map((label) => JSON.stringify(label));
  const more = labels.length > shown.length ? ` and ${labels.length - shown.length} more` : '';
  return new UsageError(
    'unknown-label',
    `the row in line ${row.line} has the label ${JSON.stringify(row.label)}, which the task does not; its labels are ${shown.join(', ')}${more}`,
  );
}
