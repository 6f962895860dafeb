/**
 * What a kind of task is: how a record becomes a row and a row becomes examples, what is scored of them, the loss, and the counts. A new
 * kind is one file that exports a function from its settings to a {@link BoundTask}, a schema in `shared/plan/task.ts`, and a line in
 * `registry.ts`.
 */
import type { SeededRandom } from '../../core/random.ts';
import type { EncodedExample } from '../../data/encode.ts';
import type { TaskRow } from '../../data/row.ts';
import type { ColumnMapping, RecordView } from '../../data/row-fields.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { Pooling, Task } from '../../plan/task.ts';
import type { CountShape, CountsInWork } from '../counts.ts';
import type { MetricName } from '../metrics.ts';

/** What encoding needs of a tokenizer. */
export type TaskTokenizer = Pick<Tokenizer, 'encode' | 'pieces' | 'frame' | 'endId' | 'maskId' | 'specialIds' | 'chat'>;

/** The examples of one row; none where its length leaves nothing to score. */
export interface EncodedRow {
  readonly examples: readonly EncodedExample[];
  /** Whether a part of the row was left out for its length. */
  readonly isCut: boolean;
}

/** Examples as the base is to read them, and what is scored. */
export interface Arranged {
  readonly examples: readonly EncodedExample[];
  /** Places of the scored states: row and token within it. Empty where the state of a whole text is scored. */
  readonly places: readonly { readonly row: number; readonly token: number }[];
  /** What each scored state stands for: an index, or with labels that do not exclude each other one list of indices. */
  readonly targets: readonly (number | Int32Array)[];
}

/** A stream of chance for the row at a place of its batch: for masks. */
export type Draw = (row: number) => SeededRandom;

/** How a trained head is scored: labels that exclude each other, or each label by itself; both with a weight per label where they have one. */
export interface HeadLoss {
  readonly outputCount: number;
  readonly loss: 'cross-entropy' | 'binary-cross-entropy';
  readonly weights?: readonly number[] | undefined;
  /** Where outputs are of several tasks, each with a head of its own: their stretches, in order. */
  readonly blocks?: readonly LabelBlock[];
}

/** The outputs of one task among those of several. */
export interface LabelBlock {
  readonly name: string;
  readonly start: number;
  readonly size: number;
}

/** What scores hidden states. */
export type Readout =
  /** A trained head over the state of a text. */
  | ({ readonly kind: 'text-head'; readonly pooling: Pooling } & HeadLoss)
  /** A trained head over states of single tokens. */
  | ({ readonly kind: 'token-head' } & HeadLoss)
  /** The frozen output of the base over states of single tokens. */
  | { readonly kind: 'vocabulary' };

/** Facts of a loaded base that a task depends on. */
export interface TaskVocabulary {
  readonly vocabularySize: number;
  readonly maskId: number | null;
}

/** The form of a kind's rows, whatever its settings. */
export interface RowForm<Content extends TaskRow = TaskRow> {
  /** @throws by `view.fail` when the record is not of this form. */
  read(view: RecordView, columns: ColumnMapping): Content;
  /** The columns of a row that {@link read} reads back; its owner stands in `client`. */
  write(row: Content): Readonly<Record<string, unknown>>;
}

/** A kind of task with its settings. Pure, and without a tensor: a coordinator binds tasks too. */
export interface BoundTask<Content extends TaskRow = TaskRow> {
  readonly task: Task;
  /** Metrics that it has; the first is the one that is looked at when nobody says otherwise. */
  readonly metrics: readonly MetricName[];
  readonly shape: CountShape;
  readonly readout: Readout;
  /** Why a base does not fit, as the end of a sentence after the name of the field; null where it does. */
  fault(
    base: Pick<BaseDescription, 'causal' | 'family' | 'hasLanguageModelHead'>,
  ): { readonly field: string; readonly sentence: string } | null;
  readonly rows: RowForm<Content>;
  /**
   * Examples of a row, each of at most `lengthMax` ids and with something to score.
   * @throws UsageError when the row has a label that the task does not, or nothing that the tokenizer knows.
   */
  encode(row: Content, tokenizer: TaskTokenizer): EncodedRow;
  /** What is read and scored of a batch; at least one state. Draws from `draw` what is left to chance. */
  arrange(examples: readonly EncodedExample[], draw: Draw, vocabulary: TaskVocabulary): Arranged;
  /** Adds the scored states of whole examples to `counts`; `scores` `[states * outputs]`. Absent where the vocabulary scores. */
  readonly count?: (counts: CountsInWork, scores: ArrayLike<number>, arranged: Arranged) => void;
}
