/**
 * The next token, in three forms of rows, which may be mixed in a file:
 * - a text: every token but the first is predicted. A text that is longer than `lengthMax` becomes several examples, each beginning with the
 *   last token of the one before, so that every token is predicted once and nothing is left out. Texts are not packed together: an example
 *   never holds two rows, so rows stay what is counted and weighed.
 * - a prompt and its answer, joined as they stand: only the answer is predicted, and the token that ends a text after it.
 * - a chat, written by the base's chat template: only what the assistant says is predicted, the end of its turns included.
 *
 * Prompts and chats that are too long lose their end; if nothing of an answer is left, the row gives no example.
 */
import { UsageError } from '../../core/errors.ts';
import { type EncodedExample, noTokens } from '../../data/encode.ts';
import type { AnswerRow, ChatRow, TextRow } from '../../data/row.ts';
import { columnOf, messagesIn, placeOf, type RecordView, textIn } from '../../data/row-fields.ts';
import type { CausalTask } from '../../plan/task.ts';
import { arrangeTokens, languageMetrics, languageShape, type ScoredToken } from './language.ts';
import { headless, writeGroup } from './shared.ts';
import type { BoundTask, EncodedRow, RowForm, TaskTokenizer } from './task.ts';

type CausalRow = TextRow | AnswerRow | ChatRow;

/** A text in parts, of which some are learned. */
interface Part {
  readonly text: string;
  readonly isAnswer: boolean;
}

/** Texts, prompts with answers, or chats, by the columns that a record has. */
export const causalRows: RowForm<CausalRow> = {
  read: (view, columns) => {
    const place = placeOf(view, columns);
    const { text, label } = columns;
    if (text !== undefined && label !== undefined)
      return { prompt: textIn(view, columnOf(view, [text])), answer: textIn(view, columnOf(view, [label])), ...place };
    const column = columnOf(view, text === undefined ? ['messages', 'prompt', 'text'] : [text]);
    if (Array.isArray(view.value[column])) return { messages: messagesIn(view, column), ...place };
    if (column !== 'prompt') return { text: textIn(view, column), ...place };
    return { prompt: textIn(view, column), answer: answerIn(view), ...place };
  },
  write: (row) => {
    const group = writeGroup(row);
    if ('text' in row) return { text: row.text, ...group };
    return 'prompt' in row
      ? { prompt: row.prompt, answer: row.answer, ...group }
      : { messages: row.messages, ...group };
  },
};

/** Causal language modelling with these settings. */
export function causal(task: CausalTask): BoundTask<CausalRow> {
  const { lengthMax } = task;
  return {
    task,
    metrics: languageMetrics,
    shape: languageShape,
    readout: { kind: 'vocabulary' },
    fault: (base) =>
      base.causal
        ? headless(base, 'causal')
        : {
            field: 'kind',
            sentence: `must be another on ${base.family}, found "causal": tokens see what follows them there; masked is the language-model task of such bases`,
          },
    rows: causalRows,
    encode: (row, tokenizer) => {
      if ('text' in row) return windowsOf(endedIds(row.text, tokenizer), lengthMax, row.line);
      if ('prompt' in row) {
        const parts = [
          { text: row.prompt, isAnswer: false },
          { text: row.answer, isAnswer: true },
        ];
        return answersOf(
          markedIds(parts, (text) => endedIds(text, tokenizer)),
          lengthMax,
        );
      }
      const { chat } = tokenizer;
      if (chat === null) {
        throw new UsageError(
          'no-chat-template',
          `the row in line ${row.line} is a chat, but the base has no chat_template in tokenizer_config.json; give rows with prompt and answer`,
        );
      }
      return answersOf(markedIds(chat.parts(row.messages), tokenizer.pieces), lengthMax);
    },
    arrange: (examples) => {
      // The state before a token predicts it.
      const scored = examples.flatMap(({ targets }, row) =>
        [...targets].flatMap((target, token): ScoredToken[] =>
          target === -1 ? [] : [{ row, token: token - 1, target }],
        ),
      );
      return arrangeTokens(examples, scored);
    },
  };
}

function answerIn(view: RecordView): string {
  return textIn(view, columnOf(view, ['answer', 'completion', 'response']));
}

/** A text with its special tokens, and the one that ends texts where the base has one. */
function endedIds(text: string, { encode, endId }: TaskTokenizer): number[] {
  const ids = [...encode(text, Number.POSITIVE_INFINITY)];
  if (endId !== null && ids.at(-1) !== endId) ids.push(endId);
  return ids;
}

function windowsOf(ids: readonly number[], lengthMax: number, line: number): EncodedRow {
  if (ids.length < 2) throw noTokens(line);
  if (lengthMax < 2) throw new UsageError('length-too-short', 'a language model needs examples of at least 2 tokens');
  const examples: EncodedExample[] = [];
  for (let start = 0; start < ids.length - 1; start += lengthMax - 1) {
    const window = Int32Array.from(ids.slice(start, start + lengthMax));
    examples.push({ ids: window, targets: window.map((id, index) => (index === 0 ? -1 : id)) });
  }
  return { examples, isCut: false };
}

/**
 * Ids of all parts together and whether each is learned. The whole is cut into tokens at once, as it is when a model answers; where a token
 * spans the beginning of an answer it belongs to the answer.
 */
function markedIds(
  parts: readonly Part[],
  idsOf: (text: string) => ArrayLike<number>,
): { readonly ids: ArrayLike<number>; readonly isLearned: boolean[] } {
  const ids = idsOf(parts.map(({ text }) => text).join(''));
  const isLearned = Array.from({ length: ids.length }, () => parts.at(-1)?.isAnswer ?? false);
  let text = '';
  let from = 0;
  for (const part of parts.slice(0, -1)) {
    text += part.text;
    const to = Math.max(from, commonLength(ids, idsOf(text)));
    isLearned.fill(part.isAnswer, from, to);
    from = to;
  }
  return { ids, isLearned };
}

/** How many ids at the beginning are the same. */
function commonLength(whole: ArrayLike<number>, beginning: ArrayLike<number>): number {
  let length = 0;
  while (length < beginning.length && length < whole.length && whole[length] === beginning[length]) length++;
  return length;
}

function answersOf(
  { ids, isLearned }: { readonly ids: ArrayLike<number>; readonly isLearned: readonly boolean[] },
  lengthMax: number,
): EncodedRow {
  const kept = Int32Array.from(ids).subarray(0, lengthMax);
  const targets = kept.map((id, index) => (index > 0 && isLearned[index] ? id : -1));
  const isCut = kept.length < ids.length;
  // A copy: the part that was cut away is not kept in memory.
  return { examples: targets.some((target) => target !== -1) ? [{ ids: kept.slice(), targets }] : [], isCut };
}
