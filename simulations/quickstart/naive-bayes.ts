/**
 * The baseline that any adapter has to beat: multinomial naive Bayes (Manning, Raghavan and Schütze 2008, chapter 13) over words and word pairs
 * with additive smoothing. Words are runs of letters and digits in lower case; what training rows do not have is ignored.
 */
import type { Row } from '../../shared/data/row.ts';

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
  readonly byFeature: Map<string, number>;
  rowCount: number;
  featureCount: number;
}

/** Trains on `rows`, at least one. */
export function trainNaiveBayes(rows: readonly Pick<Row, 'text' | 'label'>[]): NaiveBayes {
  const labels = new Map<string, LabelCounts>();
  const vocabulary = new Set<string>();
  for (const { text, label } of rows) {
    const counts = labels.get(label) ?? { label, byFeature: new Map(), rowCount: 0, featureCount: 0 };
    labels.set(label, counts);
    counts.rowCount++;
    for (const feature of featuresOf(text)) {
      vocabulary.add(feature);
      counts.byFeature.set(feature, (counts.byFeature.get(feature) ?? 0) + 1);
      counts.featureCount++;
    }
  }
  const ordered = [...labels.values()].sort((left, right) => (left.label < right.label ? -1 : 1));
  return {
    classify: (text) => {
      const features = featuresOf(text).filter((feature) => vocabulary.has(feature));
      let best = { label: '', score: Number.NEGATIVE_INFINITY };
      for (const { label, byFeature, rowCount, featureCount } of ordered) {
        let score = Math.log(rowCount / rows.length);
        for (const feature of features)
          score += Math.log(((byFeature.get(feature) ?? 0) + smoothing) / (featureCount + smoothing * vocabulary.size));
        if (score > best.score) best = { label, score };
      }
      return best.label;
    },
  };
}

/** Share of `rows` that get their own label; null without rows. */
export function accuracyOf(model: NaiveBayes, rows: readonly Pick<Row, 'text' | 'label'>[]): number | null {
  if (rows.length === 0) return null;
  return rows.filter(({ text, label }) => model.classify(text) === label).length / rows.length;
}
