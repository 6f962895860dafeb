/**
 * The rows of `train` and `evaluate` on their way to examples. Small files are read once and split so that no side is empty; larger ones are
 * read several times, row by row, and what does not fit into memory goes to a temporary file.
 */
import { FormatError } from '../../shared/core/errors.ts';
import { createParts } from '../../shared/data/parts.ts';
import { keyOfRow, type TaskRow } from '../../shared/data/row.ts';
import type { ColumnMapping } from '../../shared/data/row-fields.ts';
import { streamViews } from '../../shared/data/rows.node.ts';
import { sideOf, splitHeldOut } from '../../shared/data/split.ts';
import { collectExamples, type HeldSource } from '../../shared/data/spool.node.ts';
import { createRowEncoder, type EncodingCounts } from '../../shared/training/encode-rows.ts';
import type { BoundTask, RowForm, TaskTokenizer } from '../../shared/training/tasks/task.ts';
import { addLabels } from './task-options.ts';

/** Where rows come from. */
export interface RowFiles {
  readonly train: string;
  readonly heldOut?: string | undefined;
  readonly heldOutFraction: number;
  readonly seed: number;
  readonly columns: ColumnMapping;
  /** Rows of a file that are kept in memory; a longer file is streamed. */
  readonly memoryRows: number;
}

/** What the first reading found. */
export interface RowSurvey {
  readonly rowCount: number;
  /** Rows with each label. */
  readonly labels: ReadonlyMap<string, number>;
  /** The rows of both sides where they are few; null where they are streamed. */
  readonly split: { readonly train: readonly TaskRow[]; readonly heldOut: readonly TaskRow[] } | null;
}

/** The rows of a file, one by one. @throws as `readRecords` does, and FormatError on a record that is no row of the task. */
export async function* streamRows(path: string, form: RowForm, columns: ColumnMapping): AsyncGenerator<TaskRow> {
  for await (const view of streamViews(path)) yield form.read(view, columns);
}

/** Reads the training file once: counts its labels and, if it is small, keeps its rows. @throws FormatError `no-rows`. */
export async function surveyRows(files: RowFiles, form: RowForm): Promise<RowSurvey> {
  const labels = new Map<string, number>();
  let rowCount = 0;
  let kept: TaskRow[] | null = [];
  for await (const row of streamRows(files.train, form, files.columns)) {
    rowCount++;
    addLabels(labels, row);
    kept?.push(row);
    if (rowCount > files.memoryRows) kept = null;
  }
  if (rowCount === 0) throw new FormatError('no-rows', `${files.train}: expected at least one row, found none`);
  if (kept === null) return { rowCount, labels, split: null };
  if (files.heldOut === undefined)
    return { rowCount, labels, split: splitHeldOut(kept, files.heldOutFraction, files.seed) };
  const heldOut: TaskRow[] = [];
  for await (const row of streamRows(files.heldOut, form, files.columns)) {
    heldOut.push(row);
    if (heldOut.length > files.memoryRows) return { rowCount, labels, split: null };
  }
  return { rowCount, labels, split: { train: kept, heldOut } };
}

/** The rows of one side. */
export async function* rowsOfSide(
  side: 'train' | 'heldOut',
  files: RowFiles,
  survey: RowSurvey,
  form: RowForm,
): AsyncGenerator<TaskRow> {
  if (survey.split !== null) {
    yield* survey.split[side];
    return;
  }
  if (files.heldOut !== undefined) {
    yield* streamRows(side === 'train' ? files.train : files.heldOut, form, files.columns);
    return;
  }
  const settings = { validation: files.heldOutFraction, seed: files.seed };
  const wanted = side === 'train' ? 'train' : 'validation';
  for await (const row of streamRows(files.train, form, files.columns))
    if (sideOf({ key: keyOfRow(row) }, settings) === wanted) yield row;
}

/** Examples in memory or in a temporary file, and what became of their rows. */
export interface CollectedRows extends EncodingCounts {
  readonly source: HeldSource;
}

/** What {@link collectRows} needs. */
export interface CollectOptions {
  readonly task: BoundTask;
  readonly tokenizer: TaskTokenizer;
  readonly vocabularySize: number;
  readonly signal: AbortSignal;
}

/** Encodes rows as they come. @throws as the tasks' `encode` and the spool do. */
export async function collectRows(
  rows: AsyncIterable<TaskRow>,
  { task, tokenizer, vocabularySize, signal }: CollectOptions,
): Promise<CollectedRows> {
  const encoder = createRowEncoder({ task, tokenizer });
  const parts = createParts();
  async function* examples() {
    for await (const row of rows) yield* parts.tag(row.part, encoder.encode(row));
  }
  const { labelCount } = task.shape;
  const source = await collectExamples(examples(), { vocabularySize: Math.max(vocabularySize, labelCount), signal });
  return { source: parts.label(source), ...encoder.counts() };
}
