/** Texts of requests as the rows of a task, and scores as answers that name labels with their probabilities. */
import { UsageError } from '../../shared/core/errors.ts';
import type { TaskRow } from '../../shared/data/row.ts';
import type { Tokenizer } from '../../shared/model/tokenizer.ts';
import type { Task, TokensTask } from '../../shared/plan/task.ts';
import type { MixedRow } from '../../shared/training/mixed-pass.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';
import { taskOf } from '../../shared/training/task-sampling.ts';
import { piecesOf } from '../../shared/training/tasks/tokens.ts';

/** A text, or its words where words are tagged. */
export type TextInput = string | readonly string[];

/** A label and how likely it is. */
export interface LikelyLabel {
  readonly label: string;
  readonly probability: number;
}

/** The answer to one text. `cut`: the text was longer than the adapter reads. */
export type TextAnswer =
  /** One label: the likeliest first. */
  | { readonly labels: readonly LikelyLabel[]; readonly cut: boolean }
  /** Any number of labels: `chosen` are more likely than not. */
  | { readonly chosen: readonly string[]; readonly labels: readonly LikelyLabel[]; readonly cut: boolean }
  /** A tag for every word; null for words that the tokenizer does not know, or that were cut off. */
  | { readonly tags: readonly (LikelyLabel | null)[]; readonly cut: boolean }
  /** One label for every task. */
  | {
      readonly tasks: readonly { readonly task: string; readonly labels: readonly LikelyLabel[] }[];
      readonly cut: boolean;
    };

/** A text that was read for a task: its rows, and what is known to make the answer. */
export interface TextReading {
  readonly rows: readonly Pick<MixedRow, 'example' | 'task'>[];
  readonly form: AnswerForm;
  readonly cut: boolean;
}

type AnswerForm =
  | { readonly kind: 'one' | 'any'; readonly labels: readonly string[] }
  /** `isScored`: whether a word has a score, in the order of the words. */
  | { readonly kind: 'tags'; readonly labels: readonly string[]; readonly isScored: readonly boolean[] }
  | {
      readonly kind: 'several';
      readonly blocks: readonly { readonly task: string; readonly labels: readonly string[]; readonly start: number }[];
    };

/** What {@link readingOf} needs. */
export interface ReadingOptions {
  readonly model: TaskModel;
  readonly tokenizer: Tokenizer;
  /** Where the adapter has several tasks, which; absent means all. */
  readonly task: string | undefined;
}

/** Reads the text at place `index` of a request. @throws UsageError `bad-text`, `no-such-task`, `cannot-classify`. */
export function readingOf(
  input: TextInput,
  index: number,
  { model, tokenizer, task: asked }: ReadingOptions,
): TextReading {
  const { task } = model.task;
  const encode = (row: TaskRow) => {
    try {
      const { examples, isCut } = model.task.encode(row, tokenizer);
      return { example: examples[0], isCut };
    } catch (thrown) {
      if (!(thrown instanceof UsageError)) throw thrown;
      throw new UsageError('bad-text', `texts[${index}] has no token that the base model knows`, { cause: thrown });
    }
  };
  if (asked !== undefined && task.kind !== 'several')
    throw new UsageError('no-such-task', `task belongs to adapters of several tasks; this one has one, ${task.kind}`);
  const line = index + 1;
  switch (task.kind) {
    case 'classification':
    case 'multi-label': {
      const text = requireText(input, index, task);
      const row = task.kind === 'classification' ? { text, label: task.labels[0]!, line } : { text, labels: [], line };
      const { example, isCut } = encode(row);
      const kind = task.kind === 'classification' ? 'one' : 'any';
      return { rows: [{ example: example! }], form: { kind, labels: task.labels }, cut: isCut };
    }
    case 'tokens': {
      const words = wordsOf(input, index);
      const { example, isCut } = encode({ words, tags: words.map(() => task.labels[0]!), line });
      const form = tagForm(task, words, tokenizer, example?.targets);
      return { rows: example === undefined ? [] : [{ example }], form, cut: isCut };
    }
    case 'several': {
      const text = requireText(input, index, task);
      const names = task.tasks.map(({ name }) => name);
      if (asked !== undefined && !names.includes(asked))
        throw new UsageError('no-such-task', `task must be one of ${names.join(', ')}, found ${JSON.stringify(asked)}`);
      let start = 0;
      const all = task.tasks.map(({ name, labels }) => {
        const block = { task: name, labels, start };
        start += labels.length;
        return block;
      });
      const blocks = all.filter((block) => asked === undefined || block.task === asked);
      const labelled = (some: typeof blocks) =>
        encode({ text, labelOf: Object.fromEntries(some.map((one) => [one.task, one.labels[0]!])), line });
      // An adapter that computes by task reads the text anew for each.
      const apart = model.adapterTasks.length > 0 ? blocks.map((block) => [block]) : [blocks];
      const read = apart.map((some) => ({ ...labelled(some), ...taskOf(model, some[0]!.task) }));
      return {
        rows: read.map(({ example, task: own }) => ({ example: example!, task: own })),
        form: { kind: 'several', blocks },
        cut: read.some(({ isCut }) => isCut),
      };
    }
    case 'causal':
    case 'masked': {
      const sentence = `the adapter was trained to model language (${task.kind}) and names no labels`;
      const next = task.kind === 'causal' ? '; ask it at /generate' : '';
      throw new UsageError('cannot-classify', `${sentence}${next}`);
    }
    default:
      return task satisfies never;
  }
}

function requireText(input: TextInput, index: number, { kind }: Task): string {
  if (typeof input === 'string') {
    if (input.trim() !== '') return input;
    throw new UsageError('bad-text', `texts[${index}] is empty; leave it out`);
  }
  throw new UsageError('bad-text', `texts[${index}] must be a text for the task ${kind}, found a list of words`);
}

/** Words as they are given, or the parts of a text between blanks. */
function wordsOf(input: TextInput, index: number): readonly string[] {
  const words = typeof input === 'string' ? input.split(/\s+/u).filter((word) => word !== '') : input;
  if (words.some((word) => word.trim() !== '')) return words;
  throw new UsageError('bad-text', `texts[${index}] has no word`);
}

function tagForm(
  { labels }: TokensTask,
  words: readonly string[],
  tokenizer: Tokenizer,
  targets: Int32Array | undefined,
): AnswerForm {
  let left = targets?.reduce((count, target) => (target === -1 ? count : count + 1), 0) ?? 0;
  const isScored = piecesOf(words, tokenizer).map(({ length }) => length > 0 && left-- > 0);
  return { kind: 'tags', labels, isScored };
}

/** The answer of a text from the scores of its states. */
export function answerOf({ form, cut }: TextReading, scores: readonly Float32Array[], top: number): TextAnswer {
  switch (form.kind) {
    case 'one':
      return { labels: likeliest(form.labels, softmax(scores[0]!), top), cut };
    case 'any': {
      const probabilities = [...scores[0]!].map((score) => 1 / (1 + Math.exp(-score)));
      const chosen = form.labels.filter((_, index) => probabilities[index]! > 0.5);
      return { chosen, labels: likeliest(form.labels, probabilities, top), cut };
    }
    case 'tags': {
      let next = 0;
      const tags = form.isScored.map((isScored) =>
        isScored ? likeliest(form.labels, softmax(scores[next++]!), 1)[0]! : null,
      );
      return { tags, cut };
    }
    case 'several': {
      const tasks = form.blocks.map(({ task, labels, start }, index) => {
        const own = scores[index]!.subarray(start, start + labels.length);
        return { task, labels: likeliest(labels, softmax(own), top) };
      });
      return { tasks, cut };
    }
    default:
      return form satisfies never;
  }
}

function softmax(scores: Float32Array): number[] {
  const highest = scores.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY);
  const parts = [...scores].map((score) => Math.exp(score - highest));
  const sum = parts.reduce((total, part) => total + part, 0);
  return parts.map((part) => part / sum);
}

/** The `top` likeliest labels; of equals the first comes first. */
function likeliest(labels: readonly string[], probabilities: readonly number[], top: number): LikelyLabel[] {
  return labels
    .map((label, index) => ({ label, probability: probabilities[index]! }))
    .sort((left, right) => right.probability - left.probability)
    .slice(0, top);
}
