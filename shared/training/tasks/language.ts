/** What both language-model tasks have in common: the base's own output scores, and nothing of it is trained. */
import type { CountShape } from '../counts.ts';
import type { MetricName } from '../metrics.ts';
import type { Arranged } from './task.ts';

/** Metrics of language models; the first is the usual one. */
export const languageMetrics = [
  'perplexity',
  'accuracy',
  'loss',
  'calibrationError',
  'brier',
] as const satisfies readonly MetricName[];

/** Counts of language models: no list has an entry per word of the vocabulary. */
export const languageShape: CountShape = {
  labelCount: 0,
  isExclusive: true,
  isTargetRow: false,
  entityCount: 0,
  histogramCount: 0,
  decisionsPerTarget: 1,
};

/** One scored state. */
export interface ScoredToken {
  readonly row: number;
  readonly token: number;
  readonly target: number;
}

/** Examples with these states scored. */
export function arrangeTokens(examples: Arranged['examples'], scored: readonly ScoredToken[]): Arranged {
  return { examples, places: scored, targets: scored.map(({ target }) => target) };
}
