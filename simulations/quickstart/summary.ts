/** The result of a run: scores of all contenders, `summary.json`, and the table that ends the command. */
import { formatBytes, formatDuration } from '../../shared/command-line/progress.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import type { TaskKind } from '../../shared/plan/task.ts';
import { type EvaluationCounts, mergeCounts } from '../../shared/training/counts.ts';
import { type MetricName, metricFacts, metricsOf, metricText } from '../../shared/training/metrics.ts';
import type { BoundTask } from '../../shared/training/tasks/task.ts';
import type { TrafficBytes } from './messages.ts';

/** Scores of one contender: on the pooled test set, and on every site's own test rows (null where a site has none). */
export interface Score {
  /** Null where the rows do not define the metric. */
  readonly pooled: number | null;
  readonly own: readonly (number | null)[];
}

/** Scores of everything that is compared; all on the same test rows. */
export interface Contenders {
  /** Naive Bayes over words and word pairs on pooled rows, for tags each word's most frequent one; null where words alone have no answer. */
  readonly bagOfWords: Score | null;
  /** A federated head without adapter; null where the task has no head. */
  readonly head: Score | null;
  /** The adapter that each site trains alone, in the order of the sites. */
  readonly local: readonly Score[];
  readonly federated: Score;
  /** The adapter on pooled rows: what a federation can hope for. */
  readonly pooled: Score;
}

/** What `summary.json` and standard output hold. */
export interface Summary {
  readonly metric: { readonly name: MetricName; readonly higherIsBetter: boolean };
  readonly task: TaskKind;
  /** Why contenders are missing, whose scores are null: a sentence each. */
  readonly missing: readonly string[];
  readonly scores: {
    readonly bagOfWords: number | null;
    readonly head: number | null;
    readonly local: readonly (number | null)[];
    readonly federated: number | null;
    readonly pooled: number | null;
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
  /** What the coordinator could see of the sites' updates: `fewest` is the smallest number of them in one opened sum. */
  readonly coordinatorSaw: { readonly isMasked: boolean; readonly fewest: number };
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
    readonly head: number | null;
    readonly local: readonly number[];
    readonly federated: number;
    readonly pooled: number;
  };
}

/** The metric by group of test rows: the first groups are the sites' own, all groups together the pooled test set. */
export function scoreOf(
  counts: readonly EvaluationCounts[],
  siteCount: number,
  { shape, metrics, metric }: Pick<BoundTask, 'shape' | 'metrics'> & { readonly metric: MetricName },
): Score {
  const scoreFrom = (some: readonly EvaluationCounts[]): number | null => {
    const merged = mergeCounts(some, shape);
    return merged.exampleCount === 0 ? null : metricsOf(merged, metrics)[metric];
  };
  return {
    pooled: scoreFrom(counts),
    own: counts.slice(0, siteCount).map((group) => scoreFrom([group])),
  };
}

/** The part of the summary that compares. */
export function scoresOf({ bagOfWords, head, local, federated, pooled }: Contenders): Summary['scores'] {
  return {
    bagOfWords: bagOfWords?.pooled ?? null,
    head: head?.pooled ?? null,
    local: local.map((score) => score.pooled),
    federated: federated.pooled,
    pooled: pooled.pooled,
    onOwnData: {
      local: local.map((score, index) => score.own[index] ?? null),
      federated: federated.own,
      bagOfWords: bagOfWords?.own ?? federated.own.map(() => null),
      head: head?.own ?? federated.own.map(() => null),
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

/** The comparison in the order of the table, without contenders that the task does not have; `headBytes` are those of the head's federation. */
export function comparisonOf(summary: Summary, headBytes: TrafficBytes | null): readonly ComparisonRow[] {
  const { scores, bytes, secondsOf } = summary;
  const { onOwnData } = scores;
  const rows: readonly ComparisonRow[] = [
    {
      key: 'bagOfWords',
      name:
        summary.task === 'tokens'
          ? 'most frequent tag of each word, pooled data'
          : 'bag of words on pooled data (naive Bayes)',
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
  return rows.filter(({ key, pooled }) => pooled !== null || (key !== 'bagOfWords' && key !== 'head'));
}

/** The tables at the end, for 80 columns: all test rows with bytes and time, then every site's own test rows. */
export function comparisonTables(summary: Summary, rows: readonly ComparisonRow[]): string {
  const right = (heading: string) => ({ heading, align: 'right' as const });
  const { name: metric } = summary.metric;
  const { title } = metricFacts[metric];
  const shown = (value: number | null): string => metricText(metric, value);
  const whole = formatTable(
    [{ heading: `${title} on all test rows` }, right(''), right('bytes up'), right('bytes down'), right('time')],
    rows.map(({ name, pooled, bytes, seconds }) => [
      name,
      shown(pooled),
      bytes === null ? '–' : formatBytes(bytes.up),
      bytes === null ? '–' : formatBytes(bytes.down),
      seconds === null ? '–' : formatDuration(1000 * seconds),
    ]),
  );
  const bySite = formatTable(
    [{ heading: `${title} on a site's own test rows` }, ...rows.map(({ shortName }) => right(shortName))],
    [
      ...summary.sites.map(({ name }, index) => [name, ...rows.map(({ own }) => shown(own[index] ?? null))]),
      ['mean', ...rows.map(({ own }) => shown(meanOf(own)))],
    ],
  );
  return `${whole}\n\n${bySite}\n\n${sightOf(summary)}`;
}

/** What the coordinator saw, in one line. */
export function sightOf({ coordinatorSaw: { isMasked, fewest }, rounds }: Summary): string {
  return isMasked
    ? `The coordinator saw ${rounds === 1 ? 'one sum' : `${rounds} sums`} of ${fewest} masked updates, and no single one.`
    : 'The coordinator saw every single update: secure aggregation needs three sites.';
}

/** What the run shows, losses as plainly as wins. */
export function verdictOf({ scores, task, metric: { name } }: Summary): string {
  const shown = (value: number | null): string => metricText(name, value);
  const against = (other: number | null, what: string): string[] => {
    if (other === null || scores.federated === null) return [];
    const difference = (metricFacts[name].isShare ? 100 : 1) * (scores.federated - other);
    const amount = metricFacts[name].isShare
      ? `${Math.abs(difference).toFixed(1)} points`
      : metricText(name, Math.abs(difference));
    const isLevel = Math.abs(difference) < (metricFacts[name].isShare ? 0.05 : 0.0005);
    return [`${isLevel ? 'level with' : `${amount} ${difference > 0 ? 'above' : 'below'}`} ${what}`];
  };
  const comparisons = [
    ...against(meanOf(scores.local), 'the mean adapter of one site alone'),
    ...against(scores.head, 'the federated head alone'),
    ...against(
      scores.bagOfWords,
      task === 'tokens' ? 'the most frequent tag of each word' : 'a bag of words on pooled data',
    ),
    ...against(scores.pooled, 'an adapter on pooled data'),
  ];
  return (
    `The federated adapter reaches ${introduced(name)}${shown(scores.federated)} on all test rows: ${comparisons.join(', ')}. ` +
    `On the sites' own test rows it reaches ${shown(meanOf(scores.onOwnData.federated))}, ` +
    `an adapter that the site trains alone ${shown(meanOf(scores.onOwnData.local))}.`
  );
}

/** What a number is, where that does not go without saying. */
function introduced(name: MetricName): string {
  const { title, higherIsBetter } = metricFacts[name];
  if (name === 'accuracy') return '';
  return higherIsBetter ? `${title} ` : `${title} (lower is better) `;
}
