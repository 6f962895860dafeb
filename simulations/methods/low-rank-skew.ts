/**
 * Averaging of low-rank factors where labels are skewed: one federation of five clients by each rule, evenly dealt and skewed, after the independent
 * replication of FedIT and FedSA-LoRA on news topics (rank 8 on query and value, five clients, all in every round). Its orderings: with skewed
 * labels averaging loses little in what it publishes and much in what a client holds after its own training; with a shared A and a B of its
 * own for every client nobody has a model of all topics, for half of the traffic of the factors.
 */
import { join } from 'node:path';
import { memorySource } from '../../shared/data/example-source.ts';
import { partitionRows } from '../../shared/data/partition.ts';
import { labelsOf, type Row } from '../../shared/data/row.ts';
import { readRows } from '../../shared/data/rows.node.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import type { Task } from '../../shared/plan/task.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';
import { drawRows } from '../experiments/data.ts';
import type { CellProgress } from '../experiments/run-cell.ts';
import { federateByRule, type RuleOutcome } from './federate-by-rule.ts';

/** Rules that are compared, and what further they need. */
export const skewRules = {
  'factor-avg': {},
  'freeze-a': {},
  'share-a': {},
  svd: {},
  residual: { publishedRank: 64 },
} as const;

/** Name of a rule. */
export type SkewRule = keyof typeof skewRules;

/** How rows are dealt. */
export type SkewDealing = 'even' | 'skewed';

/** One federation. */
export interface SkewCell {
  readonly method: SkewRule;
  readonly dealing: SkewDealing;
  readonly seed: number;
  readonly settings: SkewSettings;
}

/** Settings of every federation. */
export interface SkewSettings {
  readonly clientCount: number;
  readonly rounds: number;
  readonly rows: number;
  readonly testRows: number;
  /** Concentration of the Dirichlet draw of the skewed dealing. */
  readonly alpha: number;
  readonly rank: number;
  readonly lengthMax: number;
  readonly batchSize: number;
  readonly learningRate: number;
}

/** What came out; `accuracy` is that of what was published. */
export interface SkewResult extends RuleOutcome {
  readonly cell: SkewCell;
  readonly accuracy: number;
}

/** Names a cell. */
export function skewKey({ method, dealing, seed, settings }: SkewCell): string {
  return JSON.stringify([method, dealing, seed, settings]);
}

/** The plan of a cell on a base. */
function skewPlan({ method, settings }: SkewCell, base: LoadedBase, labels: readonly string[]): Plan {
  const { rank, rounds, lengthMax, batchSize, learningRate, clientCount } = settings;
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name: `low-rank pairs by ${method}`,
      base: { digest: base.model.description.digest },
      task: { kind: 'classification', labels, pooling: 'mean', lengthMax },
      adapter: { method: 'lora', rank, alpha: 2 * rank },
      aggregation: { lowRank: method, ...skewRules[method] },
      training: { localEpochs: 1, batchSize, learningRate, schedule: 'linear' },
      // Some of the rules read single updates, and the comparison is of rules alone.
      secureAggregation: { mode: 'off' },
      rounds: { count: rounds, quorum: clientCount },
    },
    'the plan of the experiment',
  );
}

/** What {@link runSkewOn} needs. */
export interface SkewData {
  readonly cell: SkewCell;
  readonly base: LoadedBase;
  readonly train: readonly Row[];
  readonly test: readonly Row[];
  readonly onRound?: (done: number) => void;
}

/** One federation on these rows. */
export async function runSkewOn({ cell, base, train, test, onRound }: SkewData): Promise<SkewResult> {
  const { dealing, seed, settings } = cell;
  const { clientCount, alpha } = settings;
  const plan = skewPlan(cell, base, labelsOf(train));
  const task = bindTask(plan.task as Task);
  const encode = (rows: readonly Row[]) =>
    memorySource(rows.flatMap((row) => task.encode(row, base.tokenizer).examples));
  const partition = dealing === 'even' ? ({ kind: 'iid' } as const) : ({ kind: 'dirichlet', alpha } as const);
  const parts = partitionRows(train, { partition, clientCount, seed }).filter((indices) => indices.length > 0);
  const outcome = await federateByRule({
    base,
    plan,
    clients: parts.map((indices) => encode(indices.map((index) => train[index]!))),
    test: encode(test),
    seed,
    ...(onRound && { onRound }),
  });
  return { cell, accuracy: outcome.published, ...outcome };
}

/** What {@link runSkew} needs. */
export interface RunSkewOptions {
  readonly cell: SkewCell;
  /** The data directory. */
  readonly folder: string;
  readonly base: LoadedBase;
  readonly onProgress: (progress: CellProgress) => void;
}

/** The result of a cell on clinc150, whose domains are the topics. @throws as the readers and the training do. */
export async function runSkew({ cell, folder, base, onProgress }: RunSkewOptions): Promise<SkewResult> {
  const { rows, testRows, rounds } = cell.settings;
  const read = (part: string) =>
    readRows(join(folder, 'clinc150', `${part}.jsonl.gz`), { text: 'text', label: 'client' });
  return runSkewOn({
    cell,
    base,
    train: drawRows(await read('train'), rows, cell.seed),
    test: drawRows(await read('test'), testRows, 0, 3000),
    onRound: (done) => onProgress({ done, total: rounds, note: `round ${done}` }),
  });
}
