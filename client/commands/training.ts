/** Training and measuring of one model with progress lines: what `train` does once everything is loaded. */
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import type { BoundAdapter } from '../../shared/adapters/registry.ts';
import { collectRouting, type SiteRouting } from '../../shared/adapters/routing-statistics.ts';
import { startValuesFrom } from '../../shared/adapters/start-values.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatBytes } from '../../shared/command-line/progress.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Task } from '../../shared/plan/task.ts';
import { type ActivationCacheOptions, createActivationCache } from '../../shared/training/activation-cache.ts';
import { openActivationSpill } from '../../shared/training/activation-spill.node.ts';
import type { TrainingConfiguration } from '../../shared/training/configuration.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import { isBetter, type MetricName, type Metrics } from '../../shared/training/metrics.ts';
import { createTaskModel, type TaskModel } from '../../shared/training/task-model.ts';
import { localStepCount, type TrainingResult, trainLocally } from '../../shared/training/train.ts';
import type { AdapterLayout } from '../../shared/update/layout.ts';

/** What {@link trainModel} needs. */
export interface TrainModelOptions extends LoadedBase {
  readonly adapter: BoundAdapter;
  readonly task: Task;
  readonly train: ExampleSource;
  readonly heldOut: ExampleSource;
  readonly configuration: TrainingConfiguration;
  readonly seed: number;
  /** The metric by which the best pass is kept; null keeps the last. */
  readonly keepBy: MetricName | null;
  /** The adapter whose values training starts from; null for the start values of the seed. */
  readonly start: AdapterDocument | null;
  /** The room for states below the lowest adapter. */
  readonly activations: ActivationCacheOptions;
}

/** What it gives back. */
export interface TrainedModel {
  readonly layout: AdapterLayout;
  /** `[dim]` in layout order. */
  readonly parameters: Float32Array;
  readonly result: TrainingResult;
  /** Metrics on the held-out rows; null without any. Those of a best pass look better than they will be, since the rows chose it. */
  readonly heldOut: Metrics | null;
  /** Which pass is kept, from 1. */
  readonly pass: number;
  /** How mixtures routed the tokens of all steps; empty without one. */
  readonly routing: readonly SiteRouting[];
}

/** A pass that is kept. */
interface Kept {
  readonly pass: number;
  readonly parameters: Float32Array;
  readonly metrics: Metrics;
}

/** Trains from `start`, or from the start values of `seed`, and measures on the held-out rows. @throws as `trainLocally` does. */
export async function trainModel(options: TrainModelOptions, context: CommandContext): Promise<TrainedModel> {
  const { model: base, tokenizer, adapter, task, train, heldOut, configuration, seed, keepBy, start } = options;
  const activations = createActivationCache({ ...options.activations, openSpill: openActivationSpill });
  const model = createTaskModel({ base, adapter, task, tokenizer, activations });
  const line = context.progress({
    label: 'training',
    unit: 'steps',
    total: localStepCount(configuration, train.count),
  });
  const routing = collectRouting();
  let best: Kept | null = null;
  const judge = async (by: MetricName, pass: number, parameters: Float32Array): Promise<void> => {
    const metrics = await evaluate({ model, parameters, source: heldOut, signal: context.signal });
    if (best === null || isBetter(by, metrics[by], best.metrics[by])) best = { pass, parameters, metrics };
  };
  const result = await trainLocally({
    model,
    start:
      start === null ? model.initialise(seed) : startValuesFrom(start, { layout: model.layout, adapter, task, seed }),
    source: train,
    configuration,
    seed,
    onProgress: ({ step, loss }) => line.update(step, `loss ${loss.toFixed(3)}`),
    ...(keepBy === null ? {} : { onPass: ({ index, parameters }) => judge(keepBy, index + 1, parameters) }),
    observe: routing.observe,
    signal: context.signal,
  }).finally(() => line.finish());
  if (activations.count > 0)
    context.log(`states of ${activations.count} texts below the adapter kept in ${formatBytes(activations.bytes)}`);
  const kept = best as Kept | null;
  const parameters = kept?.parameters ?? result.parameters;
  const measured = async () =>
    heldOut.count === 0 ? null : await measure({ model, parameters, source: heldOut }, context);
  const metrics = kept?.metrics ?? (await measured());
  activations.dispose();
  return {
    layout: model.layout,
    parameters,
    result,
    heldOut: metrics,
    pass: kept?.pass ?? configuration.localEpochs ?? 1,
    routing: routing.routing(),
  };
}

/** What {@link measure} needs. */
export interface MeasureOptions {
  readonly model: TaskModel;
  /** `[dim]` in layout order. */
  readonly parameters: Float32Array;
  readonly source: ExampleSource;
}

/** Metrics of `parameters` on a source, with a progress line. */
export async function measure(options: MeasureOptions, context: CommandContext): Promise<Metrics> {
  const line = context.progress({ label: 'measuring', unit: 'rows', total: options.source.count });
  return evaluate({ ...options, onProgress: ({ done }) => line.update(done), signal: context.signal }).finally(() =>
    line.finish(),
  );
}
