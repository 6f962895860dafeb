/** Computes one cell: reads the rows, deals them, trains, and measures on the test rows. */
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { assert } from '../../shared/core/assert.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import { partitionRows } from '../../shared/data/partition.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import { type Metrics, metricsOf } from '../../shared/training/metrics.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { trainClients } from '../../shared/training/train-together.ts';
import { countPredictions, trainNaiveBayes } from '../quickstart/naive-bayes.ts';
import type { Cell, CellResult } from './cells.ts';
import { readSet, type SetRows } from './data.ts';
import { federate } from './in-process.ts';
import { adapter, pooling, sets, trainingOf } from './settings.ts';

/** Share of a cell that is done, and a word about it. */
export interface CellProgress {
  readonly done: number;
  readonly total: number;
  readonly note: string;
}

/** What {@link runCell} needs. */
export interface RunCellOptions {
  readonly cell: Cell;
  /** The data directory. */
  readonly folder: string;
  readonly base: LoadedBase;
  readonly onProgress: (progress: CellProgress) => void;
}

type Scores = Pick<CellResult, 'accuracy' | 'macroF1' | 'loss' | 'clients'>;

/** The result of a cell. @throws as the readers and the training do. */
export async function runCell({ cell, folder, base, onProgress }: RunCellOptions): Promise<CellResult> {
  const startedMs = performance.now();
  const { settings } = cell;
  const rows = await readSet({
    folder,
    set: cell.set,
    split: cell.split,
    trainCount: settings.rows,
    testCount: settings.testRows,
    passedOver: settings.passedOver,
    seed: cell.seed,
  });
  const scores = cell.method === 'naive-bayes' ? bayes(rows) : await train({ cell, rows, base, onProgress });
  return {
    cell,
    ...scores,
    trainRows: rows.train.length,
    testRows: rows.test.length,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

function bayes({ train: trainRows, test, labels }: SetRows): Scores {
  const { shape, metrics } = bindTask({ kind: 'classification', labels, pooling, lengthMax: 1 });
  const counts = countPredictions(trainNaiveBayes(trainRows), test, { labels, shape });
  const { accuracy, macroF1 } = metricsOf(counts, metrics);
  return { accuracy, macroF1: macroF1 ?? 0, loss: null, clients: [] };
}

interface TrainOptions {
  readonly cell: Cell;
  readonly rows: SetRows;
  readonly base: LoadedBase;
  readonly onProgress: (progress: CellProgress) => void;
}

async function train({ cell, rows, base, onProgress }: TrainOptions): Promise<Scores> {
  const isHead = cell.method === 'federated-head';
  const { model, tokenizer } = base;
  const taskModel = createTaskModel({
    base: model,
    adapter: parseAdapter(isHead ? { method: 'none' } : adapter, model.description),
    task: { kind: 'classification', labels: rows.labels, pooling, lengthMax: cell.settings.lengthMax },
    tokenizer,
  });
  const encode = (some: SetRows['train']) => some.flatMap((row) => taskModel.task.encode(row, tokenizer).examples);
  const examples = encode(rows.train);
  const test = memorySource(encode(rows.test));
  const measure = (parameters: Float32Array) => evaluate({ model: taskModel, parameters, source: test });
  const clients = dealt(cell, rows, examples).map(memorySource);
  const { seed, method } = cell;
  const { rounds, learningRate, batchSize } = cell.settings;
  assert(method !== 'naive-bayes' && learningRate !== null, 'naive Bayes is not trained on a base model');
  const configurationOf = (epochs: number) => trainingOf({ learningRate, batchSize, epochs });
  switch (method) {
    case 'federated-head':
    case 'federated-adapter': {
      const parameters = await federate({
        model: taskModel,
        clients,
        rounds,
        configuration: configurationOf(1),
        seed,
        onProgress: ({ done, total, loss }) => onProgress({ done, total, note: `loss ${loss.toFixed(3)}` }),
      });
      return single(await measure(parameters));
    }
    case 'pooled-adapter': {
      const { parameters } = await trainLocally({
        model: taskModel,
        start: taskModel.initialise(seed),
        source: memorySource(examples),
        configuration: configurationOf(rounds),
        seed,
        onProgress: ({ step, stepCount, loss }) =>
          onProgress({ done: step / stepCount, total: 1, note: `loss ${loss.toFixed(3)}` }),
      });
      return single(await measure(parameters));
    }
    case 'local-adapter': {
      const start = taskModel.initialise(seed);
      let done = 0;
      const trained = await trainClients({
        model: taskModel,
        clients: clients.map((source) => ({ start, source, seed })),
        // As many epochs as a client trains in all rounds.
        configuration: configurationOf(rounds),
        onDone: (_, { meanLoss }) =>
          onProgress({ done: ++done, total: clients.length, note: `loss ${meanLoss.toFixed(3)}` }),
      });
      const metrics: Metrics[] = [];
      for (const { parameters } of trained) metrics.push(await measure(parameters));
      return meanOf(metrics);
    }
    default:
      return method satisfies never;
  }
}

/** The examples of every client; one client with all where the rows are pooled. */
function dealt(
  { set, dealing, seed, settings }: Cell,
  rows: SetRows,
  examples: readonly EncodedExample[],
): (readonly EncodedExample[])[] {
  const found = sets[set].dealings.find(({ label }) => label === dealing);
  if (found === undefined) return [examples];
  const { clientCount } = settings;
  return partitionRows(rows.train, { partition: found.partition, clientCount, seed }).map((indices) =>
    indices.map((index) => examples[index]!),
  );
}

function single({ accuracy, macroF1, loss }: Metrics): Scores {
  return { accuracy, macroF1: macroF1 ?? 0, loss, clients: [] };
}

function meanOf(metrics: readonly Metrics[]): Scores {
  const mean = (value: (one: Metrics) => number) => metrics.reduce((sum, one) => sum + value(one), 0) / metrics.length;
  return {
    accuracy: mean(({ accuracy }) => accuracy),
    macroF1: mean(({ macroF1 }) => macroF1 ?? 0),
    loss: mean(({ loss }) => loss),
    clients: metrics.map(({ accuracy }) => accuracy),
  };
}
