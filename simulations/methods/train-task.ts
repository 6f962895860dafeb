/** Training of one adapter for one task in this process, with what it cost: what every cell of the comparisons is made of. */
import process from 'node:process';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { FederationError } from '../../shared/core/errors.ts';
import { type ExampleSource, memorySource } from '../../shared/data/example-source.ts';
import type { Row } from '../../shared/data/row.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { Task } from '../../shared/plan/task.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import { createTaskModel, type TaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { unflatten } from '../../shared/update/vector.ts';

/** A model for a task on the base that was loaded. @throws UsageError where the adapter's settings do not fit. */
export function bindModel({ model, tokenizer }: LoadedBase, adapter: Plan['adapter'], task: Task): TaskModel {
  return createTaskModel({ base: model, adapter: parseAdapter(adapter, model.description), task, tokenizer });
}

/** The examples of some rows, at least one. */
export function sourceOf(model: TaskModel, { tokenizer }: LoadedBase, rows: readonly Row[]): ExampleSource {
  return memorySource(rows.flatMap((row) => model.task.encode(row, tokenizer).examples));
}

/** What {@link trainTask} needs. */
export interface TrainTaskOptions {
  readonly model: TaskModel;
  readonly source: ExampleSource;
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly seed: number;
  /** Values of some tensors before training, by layout name, in place of their start values. */
  readonly given?: ReadonlyMap<string, Float32Array>;
  readonly onProgress?: (share: number, loss: number) => void;
}

/** Parameters after training in layout order, null where it diverged, and the processor seconds that it took. */
export interface TrainedTask {
  readonly parameters: Float32Array | null;
  readonly seconds: number;
}

/** Trains with a linear schedule; a training that diverges is a result, since a search of learning rates meets such rates. */
export async function trainTask(options: TrainTaskOptions): Promise<TrainedTask> {
  const { model, source, epochs, batchSize, learningRate, seed, given = new Map(), onProgress } = options;
  const start = model.initialise(seed);
  const tensors = unflatten(model.layout, start);
  for (const [name, values] of given) tensors.get(name)?.set(values);
  const before = process.threadCpuUsage();
  try {
    const { parameters } = await trainLocally({
      model,
      start,
      source,
      configuration: { ...defaultTraining, localEpochs: epochs, batchSize, learningRate, schedule: 'linear' },
      seed,
      onProgress: ({ step, stepCount, loss }) => onProgress?.(step / stepCount, loss),
    });
    return { parameters, seconds: processorSeconds(before) };
  } catch (thrown) {
    if (!(thrown instanceof FederationError) || thrown.code !== 'training-diverged') throw thrown;
    return { parameters: null, seconds: processorSeconds(before) };
  }
}

/** Processor time of this thread: on a machine that others use, it says more than the clock. */
function processorSeconds(before: NodeJS.CpuUsage): number {
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1e6;
}
