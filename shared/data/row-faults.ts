/**
 * Bad rows of data files: where they stand and what is wrong with them, never what they say. Whoever reads decides whether the first one stops
 * the reading or whether they are skipped, counted and the first of them kept for the user.
 */
import { FormatError } from '../core/errors.ts';

/** One bad row. `line` is the first line of the row in a text file, the number of the row in a Parquet file, each from 1. */
export interface RowFault {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

/** Bad rows that were skipped. */
export interface RowFaults {
  readonly count: number;
  /** The first of them, in the order of reading. */
  readonly first: readonly RowFault[];
  /** Notes one more. @throws FormatError `too-many-bad-rows` when there are more than the limit. */
  add(fault: RowFault): void;
}

/** Limits of {@link collectFaults}. */
export interface FaultLimits {
  /** Bad rows that are kept to be shown. */
  readonly keptMax?: number;
  /** Bad rows after which reading stops: many are a sign of the wrong file or the wrong column. */
  readonly countMax?: number;
}

/** Collects bad rows instead of stopping at the first; without limits it keeps 20 and goes on for ever. */
export function collectFaults({ keptMax = 20, countMax = Number.POSITIVE_INFINITY }: FaultLimits = {}): RowFaults {
  const first: RowFault[] = [];
  let count = 0;
  return {
    get count() {
      return count;
    },
    first,
    add: (fault) => {
      count++;
      if (first.length < keptMax) first.push(fault);
      if (count <= countMax) return;
      throw new FormatError(
        'too-many-bad-rows',
        `${fault.file}: more than ${countMax} bad rows; the first: ${faultText(first[0] ?? fault)}`,
        { context: { file: fault.file, count } },
      );
    },
  };
}

/** Skips a bad row by noting it in `faults`. @throws FormatError `bad-row` where there are none to note it in. */
export function reportFault(fault: RowFault, faults: RowFaults | undefined): void {
  if (faults === undefined) throw badRow(fault);
  faults.add(fault);
}

/** The error that one bad row is when it stops the reading. */
export function badRow(fault: RowFault): FormatError {
  return new FormatError('bad-row', faultText(fault), { context: { file: fault.file, line: fault.line } });
}

/** `file, line 3: reason`. */
export function faultText({ file, line, reason }: RowFault): string {
  return `${file}, ${file.endsWith('.parquet') ? 'row' : 'line'} ${line}: ${reason}`;
}

/** What a value is, in words, for messages: never the value. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}

/** States that a file has every column of `wanted`. @throws FormatError `bad-row` that names those there are. */
export function requireColumns(file: string, names: readonly string[], wanted: readonly string[] | undefined): void {
  const missing = wanted?.find((column) => !names.includes(column));
  if (missing === undefined) return;
  const there = names.map((name) => `"${name}"`).join(', ') || 'none';
  throw badRow({ file, line: 1, reason: `the column "${missing}" is missing; there are: ${there}` });
}
