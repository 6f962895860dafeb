/**
 * What an evaluation counts. Everything adds up over rows, batches and sites, so that the metrics of a federation are those of the pooled
 * rows and not a mean of means.
 *
 * A *target* is what is scored once: a row with one label, a row with any number of labels, a word, a token. A *decision* is one answer with
 * a probability: the predicted label of a target, or, where labels do not exclude each other, each label of each row.
 */
import { assert } from '../core/assert.ts';

/** Bins of a histogram of log-odds: from -16 to 16 in steps of 1/16, beyond that the outermost bin. */
export const scoreBinCount = 512;
const binsPerUnit = 16;
/** Bins of equal width of the probabilities of decisions (Guo 2017, section 2, uses as many). */
export const calibrationBinCount = 15;

/** One entry per name (label or entity type): how many there are, how many were predicted, and where both hold. */
export interface NameCounts {
  readonly truth: readonly number[];
  readonly predicted: readonly number[];
  readonly correct: readonly number[];
}

/** Rows of one label (`positive`) and the others (`negative`) by the log-odds of the label. */
export interface ScoreHistogram {
  readonly positive: readonly number[];
  readonly negative: readonly number[];
}

/** Decisions by their probability, `[calibrationBinCount]` each: how many, how many are right, and the sum of their probabilities. */
export interface CalibrationCounts {
  readonly decisions: readonly number[];
  readonly right: readonly number[];
  readonly probabilitySums: readonly number[];
}

/** Counts over some rows. */
export interface EvaluationCounts {
  readonly exampleCount: number;
  readonly targetCount: number;
  /** Targets whose prediction is right as a whole. */
  readonly rightCount: number;
  /** Sum of the targets' losses. */
  readonly lossSum: number;
  /** Sum over targets of the squared differences of probabilities and truth (Brier 1950). */
  readonly squaredErrorSum: number;
  /** By label; empty for language models, whose labels are a vocabulary. */
  readonly labels: NameCounts;
  /** By entity type; empty where there are none. */
  readonly entities: NameCounts;
  readonly histograms: readonly ScoreHistogram[];
  readonly calibration: CalibrationCounts;
}

/** Which counts a task has: its coordinator and its clients derive the same from the plan. */
export interface CountShape {
  readonly labelCount: number;
  /** Whether every target has exactly one label of those. */
  readonly isExclusive: boolean;
  /** Whether every row is exactly one target. */
  readonly isTargetRow: boolean;
  readonly entityCount: number;
  /** 0 where no area under a curve is computed. The histogram of two exclusive labels is that of the second. */
  readonly histogramCount: number;
  /** Decisions of one target. */
  readonly decisionsPerTarget: number;
}

const zeros = (length: number): number[] => Array.from({ length }, () => 0);
const noNames = (count: number): NameCounts => ({
  truth: zeros(count),
  predicted: zeros(count),
  correct: zeros(count),
});

/** Counts of no row. */
export function noCounts({ labelCount, entityCount, histogramCount }: CountShape): EvaluationCounts {
  return {
    exampleCount: 0,
    targetCount: 0,
    rightCount: 0,
    lossSum: 0,
    squaredErrorSum: 0,
    labels: noNames(labelCount),
    entities: noNames(entityCount),
    histograms: Array.from({ length: histogramCount }, () => ({
      positive: zeros(scoreBinCount),
      negative: zeros(scoreBinCount),
    })),
    calibration: {
      decisions: zeros(calibrationBinCount),
      right: zeros(calibrationBinCount),
      probabilitySums: zeros(calibrationBinCount),
    },
  };
}

/** The same shape, not `readonly`: for code that counts. It belongs to whoever made it. */
export type CountsInWork = Mutable<EvaluationCounts>;

type Mutable<Value> = Value extends object ? { -readonly [Key in keyof Value]: Mutable<Value[Key]> } : Value;

/** Counts of no row, to be filled. */
export function startCounts(shape: CountShape): CountsInWork {
  return noCounts(shape) as CountsInWork;
}

/** Puts one decision with probability `probability` into its bin; mutates `counts`. */
export function countDecision(counts: CountsInWork, probability: number, isRight: boolean): void {
  const bin = Math.min(calibrationBinCount - 1, Math.floor(probability * calibrationBinCount));
  counts.calibration.decisions[bin]!++;
  counts.calibration.probabilitySums[bin]! += probability;
  if (isRight) counts.calibration.right[bin]!++;
}

/** Puts one row into a histogram of log-odds; mutates it. */
export function countScore(histogram: Mutable<ScoreHistogram>, logOdds: number, isPositive: boolean): void {
  const bin = Math.floor(logOdds * binsPerUnit) + scoreBinCount / 2;
  (isPositive ? histogram.positive : histogram.negative)[Math.min(scoreBinCount - 1, Math.max(0, bin))]!++;
}

/** Counts of all rows of all `parts`, which are of this shape. */
export function mergeCounts(parts: readonly EvaluationCounts[], shape: CountShape): EvaluationCounts {
  return parts.reduce((left, right): EvaluationCounts => {
    const { labels, entities, histograms } = right;
    assert(
      labels.truth.length === shape.labelCount &&
        entities.truth.length === shape.entityCount &&
        histograms.length === shape.histogramCount,
      `counts of ${labels.truth.length} labels cannot join counts of ${shape.labelCount}`,
    );
    return {
      exampleCount: left.exampleCount + right.exampleCount,
      targetCount: left.targetCount + right.targetCount,
      rightCount: left.rightCount + right.rightCount,
      lossSum: left.lossSum + right.lossSum,
      squaredErrorSum: left.squaredErrorSum + right.squaredErrorSum,
      labels: addFields(left.labels, labels),
      entities: addFields(left.entities, entities),
      histograms: left.histograms.map((histogram, index) => addFields(histogram, histograms[index]!)),
      calibration: addFields(left.calibration, right.calibration),
    };
  }, noCounts(shape));
}

function addFields<Lists extends object>(left: Lists, right: Lists): Lists {
  const added = Object.entries(left as Record<string, readonly number[]>).map(([name, values]) => {
    const others = (right as Record<string, readonly number[]>)[name]!;
    return [name, values.map((value, index) => value + others[index]!)];
  });
  return Object.fromEntries(added) as Lists;
}
