/**
 * The baseline of tagging: every word gets the tag that it has most often in training rows, whatever stands around it; words that were not
 * seen get the most frequent tag of all.
 */
import type { TaggedRow } from '../../shared/data/row.ts';
import { type CountShape, type EvaluationCounts, startCounts } from '../../shared/training/counts.ts';
import { countEntities, entityTypesOf } from '../../shared/training/entities.ts';

/** Tags of words, in lower case. */
export interface FrequentTags {
  tagOf(word: string): string;
}

/** Counts tags in `rows`, at least one. Ties go to the tag that is earlier in the order of code units. */
export function trainFrequentTags(rows: readonly Pick<TaggedRow, 'words' | 'tags'>[]): FrequentTags {
  const byWord = new Map<string, Map<string, number>>();
  const all = new Map<string, number>();
  const add = (counts: Map<string, number>, tag: string): void => {
    counts.set(tag, (counts.get(tag) ?? 0) + 1);
  };
  for (const { words, tags } of rows) {
    for (const [index, word] of words.entries()) {
      const counts = byWord.get(word.toLowerCase()) ?? new Map<string, number>();
      byWord.set(word.toLowerCase(), counts);
      add(counts, tags[index]!);
      add(all, tags[index]!);
    }
  }
  return { tagOf: (word) => mostFrequent(byWord.get(word.toLowerCase()) ?? all) };
}

function mostFrequent(counts: ReadonlyMap<string, number>): string {
  return [...counts].reduce((best, tag) =>
    tag[1] > best[1] || (tag[1] === best[1] && tag[0] < best[0]) ? tag : best,
  )[0];
}

/** Counts of predictions without probabilities: no loss, no calibration. */
export function countTags(
  model: FrequentTags,
  rows: readonly Pick<TaggedRow, 'words' | 'tags'>[],
  { labels, shape }: { readonly labels: readonly string[]; readonly shape: CountShape },
): EvaluationCounts {
  const counts = startCounts(shape);
  const types = entityTypesOf(labels);
  for (const { words, tags } of rows) {
    const predicted = words.map((word) => model.tagOf(word));
    countEntities(counts, types, { truth: tags, predicted });
    for (const [index, tag] of tags.entries()) {
      const [truth, found] = [labels.indexOf(tag), labels.indexOf(predicted[index]!)];
      counts.labels.truth[truth]!++;
      counts.labels.predicted[found]!++;
      if (truth !== found) continue;
      counts.labels.correct[truth]!++;
      counts.rightCount++;
    }
    counts.targetCount += tags.length;
  }
  counts.exampleCount = rows.length;
  return counts;
}
