/**
 * One tag per word: words are cut into pieces, the first piece of a word is scored (Devlin 2019, section 5.3). De-identification, entities,
 * parts of speech.
 */
import { UsageError } from '../../core/errors.ts';
import { labelIndexOf, noTokens } from '../../data/encode.ts';
import type { TaggedRow } from '../../data/row.ts';
import { columnOf, namesIn, placeOf, wordsIn } from '../../data/row-fields.ts';
import type { TokensTask } from '../../plan/task.ts';
import { bestLabel, countExclusive } from '../decisions.ts';
import { countEntities, entityTypesOf } from '../entities.ts';
import { writeGroup } from './shared.ts';
import type { BoundTask, RowForm, TaskTokenizer } from './task.ts';

/** Words with tags: `tokens` or `words`, and `tags`. */
export const taggedRows: RowForm<TaggedRow> = {
  read: (view, columns) => {
    const column = columnOf(view, columns.text === undefined ? ['tokens', 'words'] : [columns.text]);
    const words = wordsIn(view, column);
    const tagColumn = columnOf(view, columns.label === undefined ? ['tags', 'ner_tags', 'labels'] : [columns.label]);
    const tags = namesIn(view, tagColumn, { separator: /\s+/, names: columns.names });
    if (tags.length !== words.length)
      return view.fail(
        `expected one tag in "${tagColumn}" for each of the ${words.length} words, found ${tags.length}`,
      );
    return { words, tags, ...placeOf(view, columns) };
  },
  write: (row) => ({ tokens: row.words, tags: row.tags, ...writeGroup(row) }),
};

/** Tagging with these settings. */
export function tokens(task: TokensTask): BoundTask<TaggedRow> {
  const { labels, lengthMax } = task;
  const indexOf = labelIndexOf(labels);
  const types = entityTypesOf(labels);
  const hasEntities = types.length > 0;
  return {
    task,
    metrics: [
      ...(hasEntities ? (['entityF1'] as const) : []),
      'accuracy',
      'macroF1',
      'loss',
      'calibrationError',
      'brier',
    ],
    shape: {
      labelCount: labels.length,
      isExclusive: true,
      isTargetRow: false,
      entityCount: types.length,
      histogramCount: 0,
      decisionsPerTarget: 1,
    },
    readout: { kind: 'token-head', outputCount: labels.length, loss: 'cross-entropy' },
    fault: () => null,
    rows: taggedRows,
    encode: (row, tokenizer) => {
      const { before, after } = tokenizer.frame;
      const room = lengthMax - before.length - after.length;
      if (room < 1) {
        const least = before.length + after.length + 1;
        throw new UsageError('length-too-short', `${lengthMax} tokens hold no word; allow at least ${least}`);
      }
      const ids: number[] = [];
      const targets: number[] = [];
      let isCut = false;
      for (const [index, pieces] of piecesOf(row.words, tokenizer).entries()) {
        const target = indexOf(row.tags[index]!, row.line);
        if (ids.length + pieces.length > room) {
          isCut = true;
          break;
        }
        for (const [place, id] of pieces.entries()) {
          ids.push(id);
          targets.push(place === 0 ? target : -1);
        }
      }
      if (ids.length === 0) {
        if (!isCut) throw noTokens(row.line);
        return { examples: [], isCut };
      }
      const unscored = (count: number): number[] => Array.from({ length: count }, () => -1);
      const example = {
        ids: Int32Array.from([...before, ...ids, ...after]),
        targets: Int32Array.from([...unscored(before.length), ...targets, ...unscored(after.length)]),
      };
      return { examples: [example], isCut };
    },
    arrange: (examples) => {
      const scored = examples.flatMap(({ targets }, row) =>
        [...targets].flatMap((target, token) => (target === -1 ? [] : [{ row, token, target }])),
      );
      return { examples, places: scored, targets: scored.map(({ target }) => target) };
    },
    count: (counts, scores, { examples, places, targets }) => {
      countExclusive(counts, scores, targets as readonly number[], labels.length);
      counts.exampleCount += examples.length;
      if (!hasEntities) return;
      const sequences = examples.map(() => ({ truth: [] as string[], predicted: [] as string[] }));
      for (const [state, { row }] of places.entries()) {
        sequences[row]!.truth.push(labels[targets[state] as number]!);
        sequences[row]!.predicted.push(labels[bestLabel(scores, state * labels.length, labels.length)]!);
      }
      for (const sequence of sequences) countEntities(counts, types, sequence);
    },
  };
}

/**
 * The pieces of every word, as they are within a text: where a tokenizer marks the blank before a word, words after the first are cut with one.
 * A word that is nothing to the tokenizer has no pieces and is not scored.
 */
export function piecesOf(words: readonly string[], tokenizer: TaskTokenizer): Int32Array[] {
  const isSpaced = marksBlanks(tokenizer);
  return words.map((word, index) => tokenizer.pieces(isSpaced && index > 0 ? ` ${word}` : word));
}

/** Whether the pieces of a text are those of its words with the blanks before them, and not those of the bare words. */
function marksBlanks({ pieces }: TaskTokenizer): boolean {
  const join = (parts: readonly Int32Array[]): string => parts.map((part) => part.join()).join();
  const whole = join([pieces('a b')]);
  return whole !== join([pieces('a'), pieces('b')]);
}
