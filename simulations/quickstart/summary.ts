/** The result of a run: scores of all contenders, `summary.json`, and the table that ends the command. */
import { formatBytes, formatDuration } from '../../shared/command-line/progress.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { type EvaluationCounts, mergeCounts, metricsOf } from '../../shared/training/metrics.ts';
import type { TrafficBytes } from './messages.ts';

/** Scores of one contender: on the pooled test set, and on every site's own test rows (null where a site has none). */
export interface Score {
  readonly pooled: number;
  readonly own: readonly (number | null)[];
}

/** Scores of everything that is compared; all on the same test rows. */
export interface Contenders {
  /** Naive Bayes over words and word pairs on pooled rows. */
  readonly bagOfWords: Score;
  /** A federated head without adapter. */
  readonly head: Score;
  /** The adapter that each site trains alone, in the order of the sites. */
  readonly local: readonly Score[];
  readonly federated: Score;
  /** The adapter on pooled rows: what a federation can hope for. */
  readonly pooled: Score;
}

/** What `summary.json` and standard output hold. */
export interface Summary {
  readonly metric: { readonly name: 'accuracy'; readonly higherIsBetter: true };
  readonly scores: {
    readonly bagOfWords: number;
    readonly head: number;
    readonly local: readonly number[];
    readonly federated: number;
    readonly pooled: number;
    /** On the sites' own test rows, in the order of the sites; every list has one entry per site. */
    readonly onOwnData: {
      readonly local: readonly (number | null)[];
      readonly federated: readonly (number | null)[];
      readonly bagOfWords: readonly (number | null)[];
      readonly head: readonly (number | null)[];
      readonly pooled: readonly (number | null)[];
    };
  };
  /** Published rounds of the federated adapter. */
  readonly rounds: number;
  /** Application bytes of the federated adapter, all sites together: base, adapters and updates. */
  readonly bytes: TrafficBytes;
  /** The whole run. */
  readonly seconds: number;
  readonly backend: string;
  readonly parameters: { readonly trainable: number; readonly frozen: number };
  readonly seed: number;
  readonly sites: readonly {
    readonly name: string;
    readonly trainRows: number;
    readonly heldOutRows: number;
    readonly testRows: number;
  }[];
  /** Seconds by contender. */
  readonly secondsOf: {
    readonly head: number;
    readonly local: readonly number[];
    readonly federated: number;
    readonly pooled: number;
  };
}

/** Accuracy by group of test rows: the first groups are the sites' own, all groups together the pooled test set. */
export function scoreOf(counts: readonly EvaluationCounts[], siteCount: number, labelCount: number): Score {
  const accuracyOf = (some: readonly EvaluationCounts[]): number | null => {
    const merged = mergeCounts(some, labelCount);
    return merged.exampleCount === 0 ? null : metricsOf(merged).accuracy;
  };
  return {
    pooled: accuracyOf(counts) ?? 0,
    own: counts.slice(0, siteCount).map((group) => accuracyOf([group])),
  };
}

/** The part of the summary that compares. */
export function scoresOf({ bagOfWords, head, local, federated, pooled }: Contenders): Summary['scores'] {
  return {
    bagOfWords: bagOfWords.pooled,
    head: head.pooled,
    local: local.map((score) => score.pooled),
    federated: federated.pooled,
    pooled: pooled.pooled,
    onOwnData: {
      local: local.map((score, index) => score.own[index] ?? null),
      federated: federated.own,
      bagOfWords: bagOfWords.own,
      head: head.own,
      pooled: pooled.own,
    },
  };
}

/** Mean of the numbers; null when there are none. */
export function meanOf(values: readonly (number | null)[]): number | null {
  const numbers = values.filter((value) => value !== null);
  return numbers.length === 0 ? null : numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
}

/** `81.3 %`, or a dash. */
export function percent(value: number | null): string {
  return value === null ? '–' : `${(100 * value).toFixed(1)} %`;
}

/** One line of the comparison. */
export interface ComparisonRow {
  readonly key: 'bagOfWords' | 'head' | 'local' | 'federated' | 'pooled';
  readonly name: string;
  /** Name for narrow columns. */
  readonly shortName: string;
  readonly pooled: number | null;
  readonly own: readonly (number | null)[];
  readonly bytes: TrafficBytes | null;
  readonly seconds: number | null;
}

/** The comparison in the order of the table; `headBytes` are those of the head's federation. */
export function comparisonOf(summary: Summary, headBytes: TrafficBytes): readonly ComparisonRow[] {
  const { scores, bytes, secondsOf } = summary;
  const { onOwnData } = scores;
  return [
    {
      key: 'bagOfWords',
      name: 'bag of words on pooled data (naive Bayes)',
      shortName: 'words',
      pooled: scores.bagOfWords,
      own: onOwnData.bagOfWords,
      bytes: null,
      seconds: null,
    },
    {
      key: 'head',
      name: 'federated head alone, no adapter',
      shortName: 'head',
      pooled: scores.head,
      own: onOwnData.head,
      bytes: headBytes,
      seconds: secondsOf.head,
    },
    {
      key: 'local',
      name: 'adapter of one site alone (mean)',
      shortName: 'alone',
      pooled: meanOf(scores.local),
      own: onOwnData.local,
      bytes: null,
      seconds: meanOf(secondsOf.local),
    },
    {
      key: 'federated',
      name: 'federated adapter',
      shortName: 'federated',
      pooled: scores.federated,
      own: onOwnData.federated,
      bytes,
      seconds: secondsOf.federated,
    },
    {
      key: 'pooled',
      name: 'adapter on pooled data (upper bound)',
      shortName: 'pooled',
      pooled: scores.pooled,
      own: onOwnData.pooled,
      bytes: null,
      seconds: secondsOf.pooled,
    },
  ];
}

/** The tables at the end, for 80 columns: all test rows with bytes and time, then every site's own test rows. */
export function comparisonTables(summary: Summary, rows: readonly ComparisonRow[]): string {
  const right = (heading: string) => ({ heading, align: 'right' as const });
  const whole = formatTable(
    [{ heading: 'accuracy on all test rows' }, right(''), right('bytes up'), right('bytes down'), right('time')],
    rows.map(({ name, pooled, bytes, seconds }) => [
      name,
      percent(pooled),
      bytes === null ? '–' : formatBytes(bytes.up),
      bytes === null ? '–' : formatBytes(bytes.down),
      seconds === null ? '–' : formatDuration(1000 * seconds),
    ]),
  );
  const bySite = formatTable(
    [{ heading: "accuracy on a site's own test rows" }, ...rows.map(({ shortName }) => right(shortName))],
    [
      ...summary.sites.map(({ name }, index) => [name, ...rows.map(({ own }) => percent(own[index] ?? null))]),
      ['mean', ...rows.map(({ own }) => percent(meanOf(own)))],
    ],
  );
  return `${whole}\n\n${bySite}`;
}

/** What the run shows, losses as plainly as wins. */
export function verdictOf({ scores }: Summary): string {
  const points = (other: number | null): string => {
    const difference = 100 * (scores.federated - (other ?? 0));
    const amount = `${Math.abs(difference).toFixed(1)} points`;
    return Math.abs(difference) < 0.05 ? 'level with' : `${amount} ${difference > 0 ? 'above' : 'below'}`;
  };
  return (
    `The federated adapter reaches ${percent(scores.federated)} on all test rows: ${points(meanOf(scores.local))} the mean adapter of one site alone, ` +
    `${points(scores.head)} the federated head alone, ${points(scores.bagOfWords)} a bag of words on pooled data, ` +
    `${points(scores.pooled)} an adapter on pooled data. On the sites' own test rows it reaches ${percent(meanOf(scores.onOwnData.federated))}, ` +
    `an adapter that the site trains alone ${percent(meanOf(scores.onOwnData.local))}.`
  );
}
