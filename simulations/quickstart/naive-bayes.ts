/**
 * The baseline that any adapter has to beat: multinomial naive Bayes (Manning, Raghavan and Schütze 2008, chapter 13) over words and word pairs
 * with additive smoothing. Words are runs of letters and digits in lower case; what training rows do not have is ignored.
 */
import type { Row } from '../../shared/data/row.ts';
import { type CountShape, type EvaluationCounts, startCounts } from '../../shared/training/counts.ts';

/**
 * Added to every count (Lidstone's rule). Laplace's 1 drowns rare words in vocabularies of word pairs: on banking77 it costs eight points, and
 * the baseline has to be a strong one.
 */
const smoothing = 0.1;

/** A trained classifier. */
export interface NaiveBayes {
  /** The most probable label of a text; ties go to the label that is earlier in the order of code units. */
  classify(text: string): string;
}

/** Words, and neighbouring words joined by a blank. */
export function featuresOf(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return [...words, ...words.slice(1).map((word, index) => `${words[index]} ${word}`)];
}

/** Counts of one label. */
interface LabelCounts {
  readonly label: string;
  rowCount: number;
  featureCount: number;
}

/** Trains on `rows`, at least one. */
export function trainNaiveBayes(rows: readonly Pick<Row, 'text' | 'label'>[]): NaiveBayes {
  const byLabel = new Map<string, LabelCounts>();
  /** Occurrences of each feature by label; labels that never have it are absent. */
  const occurrences = new Map<string, Map<string, number>>();
  for (const { text, label } of rows) {
    const counts = byLabel.get(label) ?? { label, rowCount: 0, featureCount: 0 };
    byLabel.set(label, counts);
    counts.rowCount++;
    for (const feature of featuresOf(text)) {
      counts.featureCount++;
      const labels = occurrences.get(feature) ?? new Map<string, number>();
      occurrences.set(feature, labels);
      labels.set(label, (labels.get(label) ?? 0) + 1);
    }
  }
  const labels = [...byLabel.values()].sort((left, right) => (left.label < right.label ? -1 : 1));
  return {
    classify: (text) => {
      const known = featuresOf(text).flatMap((feature) => occurrences.get(feature) ?? []);
      const scores = new Map<string, number>();
      for (const { label, rowCount, featureCount } of labels) {
        // As if no feature had occurred with the label; the loop below adds what did.
        const absent = Math.log(smoothing / (featureCount + smoothing * occurrences.size));
        scores.set(label, Math.log(rowCount / rows.length) + known.length * absent);
      }
      for (const counts of known)
        for (const [label, count] of counts)
          scores.set(label, scores.get(label)! + Math.log((count + smoothing) / smoothing));
      let best = { label: '', score: Number.NEGATIVE_INFINITY };
      for (const [label, score] of scores) if (score > best.score) best = { label, score };
      return best.label;
    },
  };
}

/** Counts of predictions without probabilities: no loss, no calibration. */
export function countPredictions(
  model: NaiveBayes,
  rows: readonly Pick<Row, 'text' | 'label'>[],
  { labels, shape }: { readonly labels: readonly string[]; readonly shape: CountShape },
): EvaluationCounts {
  const counts = startCounts(shape);
  for (const { text, label } of rows) {
    const [truth, predicted] = [labels.indexOf(label), labels.indexOf(model.classify(text))];
    counts.labels.truth[truth]!++;
    counts.labels.predicted[predicted]!++;
    if (truth !== predicted) continue;
    counts.labels.correct[truth]!++;
    counts.rightCount++;
  }
  counts.exampleCount = rows.length;
  counts.targetCount = rows.length;
  return counts;
}
