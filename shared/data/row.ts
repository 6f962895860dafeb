/** What the readers deliver and the partitioners deal out: rows of a task's form, each with its place. */

/** The place of a row in its file (1 is the first line) and, where the file has one, its natural owner. */
export interface RowPlace {
  readonly line: number;
  readonly group?: string;
  /** The data set within the file, such as a language or a task. */
  readonly part?: string;
}

/** A text with its label. */
export interface Row extends RowPlace {
  readonly text: string;
  readonly label: string;
}

/** A text with any number of labels. */
export interface MultiLabelRow extends RowPlace {
  readonly text: string;
  readonly labels: readonly string[];
}

/** A text with labels by task, or with one label: of the task that is its part, or of all that know it. */
export interface SeveralRow extends RowPlace {
  readonly text: string;
  readonly labelOf: string | Readonly<Record<string, string>>;
}

/** Words with one tag each. */
export interface TaggedRow extends RowPlace {
  readonly words: readonly string[];
  readonly tags: readonly string[];
}

/** A text alone. */
export interface TextRow extends RowPlace {
  readonly text: string;
}

/** A prompt with its answer; the answer follows the prompt without anything between them. */
export interface AnswerRow extends RowPlace {
  readonly prompt: string;
  readonly answer: string;
}

/** One turn of a chat. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the chat template knows. */
  readonly role: string;
  readonly content: string;
}

/** A chat. */
export interface ChatRow extends RowPlace {
  readonly messages: readonly ChatMessage[];
}

/** A row of any task. */
export type TaskRow = Row | MultiLabelRow | SeveralRow | TaggedRow | TextRow | AnswerRow | ChatRow;

/** The distinct labels of `rows` in the order of their code units, which every machine agrees on. */
export function labelsOf(rows: readonly Row[]): string[] {
  return distinctLabels(rows.map((row) => row.label));
}

/** Distinct names in the order of their code units. */
export function distinctLabels(names: Iterable<string>): string[] {
  return [...new Set(names)].sort();
}

/** All that a row says, without its labels: rows with the same key belong on the same side of a split. */
export function keyOfRow(row: TaskRow): string {
  if ('text' in row) return row.text;
  if ('words' in row) return row.words.join(' ');
  // Only the question decides: two answers to one prompt never stand on both sides.
  if ('prompt' in row) return row.prompt;
  const asked = row.messages.filter(({ role }) => role !== 'assistant');
  return JSON.stringify(asked.map(({ role, content }) => [role, content]));
}

/** Every label of a row: one, several, its words' tags, or none. */
export function labelsInRow(row: TaskRow): readonly string[] {
  if ('label' in row) return [row.label];
  if ('labels' in row) return row.labels;
  if ('labelOf' in row) return typeof row.labelOf === 'string' ? [row.labelOf] : Object.values(row.labelOf);
  return 'tags' in row ? row.tags : [];
}
