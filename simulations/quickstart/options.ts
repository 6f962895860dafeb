/** What a run of the quickstart is asked to do, and how it says what it does. */
import { availableParallelism } from 'node:os';
import { joiningMethodNames, soloMethodNames } from '../../shared/adapters/method-names.ts';
import type { Progress, ProgressOptions } from '../../shared/command-line/progress.ts';
import type { BackendName } from '../../shared/compute/backend.ts';
import type { FrozenPrecision } from '../../shared/compute/compact-matrix.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { Partition } from '../../shared/data/partition.ts';
import type { TaskKind } from '../../shared/plan/task.ts';
import type { MetricName } from '../../shared/training/metrics.ts';

/** Adapter methods of the quickstart: all there are; those that join others do so with two new ones. */
export const adapterNames = [...soloMethodNames, ...joiningMethodNames] as const;

/** One of {@link adapterNames}. */
export type AdapterName = (typeof adapterNames)[number];

/** Rows from the user's files. */
export interface DataFiles {
  readonly train: string;
  readonly test: string;
  /** Null for the usual names of the task. */
  readonly textColumn: string | null;
  readonly labelColumn: string | null;
  /** What whole numbers stand for as labels; null where they are names themselves. */
  readonly labelNames: readonly string[] | null;
}

/** Everything that a run depends on. */
export interface QuickstartOptions {
  /** Checkpoint folder; null for the base that ships. */
  readonly baseFolder: string | null;
  /** Rows; null for the sample. */
  readonly data: DataFiles | null;
  readonly clientCount: number;
  readonly partition: Partition;
  readonly rounds: number;
  readonly localEpochs: number;
  readonly task: TaskKind;
  /** Weights of labels as `train` takes them, from the rows of all sites together; null for none. */
  readonly classWeights: string | null;
  /** The metric that is compared; null for the usual one of the task. */
  readonly metric: MetricName | null;
  readonly adapter: AdapterName;
  readonly backend: BackendName | 'auto';
  readonly threads: number;
  /** How every process keeps the weights of the base; default auto. */
  readonly frozenWeights?: FrozenPrecision;
  /** Decides the partition, the start of the adapter, batches and dropout; the sample's rows do not depend on it. */
  readonly seed: number;
  /** Folder of the results. */
  readonly outFolder: string;
  /** Processes that compute baselines at the same time; default the number of cores. */
  readonly processes?: number;
}

/** How a run talks to whoever started it. */
export interface QuickstartHooks {
  /** Ends the run: children are stopped, and the run rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** One line for people. */
  log(line: string): void;
  progress(options: ProgressOptions): Progress;
}

/** Hooks that say nothing, for programs. */
export function silentHooks(signal: AbortSignal = new AbortController().signal): QuickstartHooks {
  return { signal, log: () => undefined, progress: () => ({ update: () => undefined, finish: () => undefined }) };
}

/** Most sites of one quickstart: every site is a process with its own copy of the base. */
const clientCountMax = 64;

/** Checks what the types do not say. @throws UsageError that names the option. */
export function checkOptions(options: QuickstartOptions): void {
  const { clientCount, rounds, localEpochs, threads, seed, task, data, partition, adapter } = options;
  const demand = (option: string, value: number, least: number, most: number): void => {
    if (Number.isInteger(value) && value >= least && value <= most) return;
    throw new UsageError('bad-option', `${option} must be a whole number from ${least} to ${most}, found ${value}`);
  };
  demand('--clients', clientCount, 1, clientCountMax);
  demand('--rounds', rounds, 1, 10_000);
  demand('--local-epochs', localEpochs, 1, 1000);
  demand('--threads', threads, 1, 256);
  demand('--seed', seed, 0, 2 ** 32 - 1);
  if (data === null && (task === 'multi-label' || task === 'tokens')) {
    throw new UsageError(
      'missing-data',
      `--task ${task} needs --train and --test: the sample has one label per text and no tags`,
    );
  }
  if (partition.kind === 'dirichlet' && task !== 'classification' && task !== 'multi-label') {
    throw new UsageError(
      'bad-partition',
      `--partition dirichlet skews labels, and rows of the task ${task} have none; use iid or natural:COLUMN`,
    );
  }
  if (adapter === 'parallel' && task !== 'classification') {
    throw new UsageError(
      'bad-option',
      `--adapter parallel has a head for each of its adapters, and the task ${task} has other heads; use --task classification`,
    );
  }
  if (adapter === 'none' && (task === 'causal' || task === 'masked')) {
    throw new UsageError(
      'nothing-to-train',
      `--adapter none trains a head alone, and the task ${task} has none; use lora or bottleneck`,
    );
  }
}

/** Processes for baselines. */
export function processCount({ processes = availableParallelism() }: QuickstartOptions): number {
  return Math.max(1, processes);
}
