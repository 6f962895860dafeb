/** Computes one cell of the comparison: reads the rows, trains by one method, and measures on rows of the split. */
import { assert } from '../../shared/core/assert.ts';
import type { Row } from '../../shared/data/row.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { Task } from '../../shared/plan/task.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import { metricsOf } from '../../shared/training/metrics.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { plainExchange } from '../../shared/update/federated-layout.ts';
import { trainsLocally } from '../../shared/update/layout.ts';
import { unflatten } from '../../shared/update/vector.ts';
import { readSet, type SetRows } from '../experiments/data.ts';
import type { CellProgress } from '../experiments/run-cell.ts';
import { pooling } from '../experiments/settings.ts';
import { countPredictions, trainNaiveBayes } from '../quickstart/naive-bayes.ts';
import type { MethodCell, MethodResult } from './cells.ts';
import { contenders } from './contenders.ts';
import { bindModel, sourceOf, trainTask } from './train-task.ts';

/** What {@link runMethod} needs. */
export interface RunMethodOptions {
  readonly cell: MethodCell;
  /** The data directory. */
  readonly folder: string;
  readonly base: LoadedBase;
  readonly onProgress: (progress: CellProgress) => void;
}

type Measured = Omit<MethodResult, 'cell' | 'trainRows' | 'testRows'>;

/** The result of a cell. @throws as the readers and the training do. */
export async function runMethod(options: RunMethodOptions): Promise<MethodResult> {
  const { cell, folder } = options;
  const { set, seed, split, settings, method } = cell;
  const contender = contenders.find(({ name }) => name === method);
  assert(contender !== undefined, `${method} is none of the methods that are compared`);
  const { rows: trainCount, testRows: testCount, passedOver } = settings;
  const rows = await readSet({ folder, set, split, trainCount, testCount, passedOver, seed });
  const { learner } = contender;
  const measured =
    learner.kind === 'naive-bayes'
      ? countWords(rows)
      : await train(options, rows, learner.kind === 'adapter' ? learner : { ...learner, adapter: learner.member });
  return { cell, ...measured, trainRows: rows.train.length, testRows: rows.test.length };
}

function countWords({ train: trainRows, test, labels }: SetRows): Measured {
  const { shape, metrics } = bindTask({ kind: 'classification', labels, pooling, lengthMax: 1 });
  const counts = countPredictions(trainNaiveBayes(trainRows), test, { labels, shape });
  const { accuracy, macroF1 } = metricsOf(counts, metrics);
  const sizes = { parameters: 0, headParameters: 0, updateBytes: 0, epochSeconds: null };
  return { accuracy, macroF1: macroF1 ?? 0, loss: null, diverged: false, ...sizes };
}

async function train(
  { cell, base, onProgress }: RunMethodOptions,
  rows: SetRows,
  { adapter, groups = 0 }: { readonly adapter: Plan['adapter']; readonly groups?: number },
): Promise<Measured> {
  const { seed, settings } = cell;
  const { learningRate, epochs, batchSize, lengthMax } = settings;
  assert(learningRate !== null, 'what trains on a base has a learning rate');
  const task: Task = { kind: 'classification', labels: rows.labels, pooling, lengthMax };
  const stages = groups === 0 ? 1 : 2;
  const trainOn = (
    model: TaskModel,
    own: readonly Row[],
    place: { readonly done: number; readonly part: number },
    given = {},
  ) =>
    trainTask({
      model,
      source: sourceOf(model, base, own),
      epochs,
      batchSize,
      learningRate,
      seed,
      onProgress: (share, loss) =>
        onProgress({ done: place.done + share * place.part, total: stages, note: `loss ${loss.toFixed(3)}` }),
      ...given,
    });
  // Adapters of groups of labels first, each with a head of its own that is thrown away.
  const members: { readonly id: string; readonly values: ReadonlyMap<string, Float32Array> }[] = [];
  for (let group = 0; group < groups; group++) {
    const model = bindModel(base, adapter, task);
    const own = rows.train.filter(({ label }) => rows.labels.indexOf(label) % groups === group);
    const { parameters } = await trainOn(model, own, { done: group / groups, part: 1 / groups });
    if (parameters !== null) members.push({ id: `group${group}`, values: unflatten(model.layout, parameters) });
  }
  const whole = groups === 0 ? adapter : { method: 'fuse', members: members.map(({ id }) => ({ ...adapter, id })) };
  if (members.length < groups) return { ...lost, ...sizesOf(bindModel(base, adapter, task)), epochSeconds: null };
  const given = new Map(
    members.flatMap(({ id, values }) => [...values].map(([name, own]) => [`${id}.${name}`, own] as const)),
  );
  const model = bindModel(base, whole, task);
  const { parameters, seconds } = await trainOn(model, rows.train, { done: stages - 1, part: 1 }, { given });
  const cost = { ...sizesOf(model), epochSeconds: seconds / epochs };
  if (parameters === null) return { ...lost, ...cost };
  const { accuracy, macroF1, loss } = await evaluate({ model, parameters, source: sourceOf(model, base, rows.test) });
  return { accuracy, macroF1: macroF1 ?? 0, loss, diverged: false, ...cost };
}

/** What a diverged training is worth. */
const lost = { accuracy: 0, macroF1: 0, loss: null, diverged: true } as const;

/** Sizes of what is trained and sent, as a federation of plain averaging has them. */
function sizesOf({ layout }: TaskModel): Pick<MethodResult, 'parameters' | 'headParameters' | 'updateBytes'> {
  const trained = layout.tensors.filter(({ aggregationClass }) => trainsLocally(aggregationClass));
  const count = (isHead: boolean): number =>
    trained.reduce((sum, { name, size }) => (name.startsWith('head.') === isHead ? sum + size : sum), 0);
  const { uploaded } = exchangeOf(plainExchange, layout);
  return { parameters: count(false), headParameters: count(true), updateBytes: 4 * uploaded.dim };
}
