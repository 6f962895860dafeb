/** Training and measuring of one classifier with progress lines: what `train` does once everything is loaded. */
import type { BoundAdapter } from '../../shared/adapters/registry.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { type EncodedExample, encodeRows } from '../../shared/data/encode.ts';
import type { Row } from '../../shared/data/row.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { type Classifier, createClassifier } from '../../shared/training/classifier.ts';
import type { TrainingConfiguration } from '../../shared/training/configuration.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import { localStepCount, type TrainingResult, trainLocally } from '../../shared/training/train.ts';
import type { AdapterLayout } from '../../shared/update/layout.ts';

/** What {@link trainClassifier} needs. */
export interface TrainClassifierOptions extends LoadedBase {
  readonly adapter: BoundAdapter;
  readonly task: Plan['task'];
  readonly rows: { readonly train: readonly Row[]; readonly heldOut: readonly Row[] };
  readonly configuration: TrainingConfiguration;
  readonly seed: number;
}

/** What it gives back. */
export interface TrainedClassifier {
  readonly layout: AdapterLayout;
  /** `[dim]` in layout order. */
  readonly parameters: Float32Array;
  readonly result: TrainingResult;
  /** Metrics on the held-out rows; null without any. */
  readonly heldOut: Metrics | null;
  /** Texts of both sides that were cut. */
  readonly truncatedCount: number;
}

/** Trains from the start values of `seed` and measures on the held-out rows. @throws as `encodeRows` and `trainLocally` do. */
export async function trainClassifier(
  { model, tokenizer, adapter, task, rows, configuration, seed }: TrainClassifierOptions,
  context: CommandContext,
): Promise<TrainedClassifier> {
  const { labels, pooling, lengthMax } = task;
  const train = encodeRows(rows.train, { tokenizer, labels, lengthMax });
  const heldOut = encodeRows(rows.heldOut, { tokenizer, labels, lengthMax });
  const classifier = createClassifier({ base: model, adapter, labels, pooling, padId: tokenizer.padId });
  const line = context.progress({
    label: 'training',
    unit: 'steps',
    total: localStepCount(configuration, train.examples.length),
  });
  const result = await trainLocally({
    classifier,
    start: classifier.initialise(seed),
    examples: train.examples,
    configuration,
    seed,
    onProgress: ({ step, loss }) => line.update(step, `loss ${loss.toFixed(3)}`),
    signal: context.signal,
  }).finally(() => line.finish());
  const { parameters } = result;
  return {
    layout: classifier.layout,
    parameters,
    result,
    heldOut:
      heldOut.examples.length === 0
        ? null
        : await measure({ classifier, parameters, examples: heldOut.examples }, context),
    truncatedCount: train.truncatedCount + heldOut.truncatedCount,
  };
}

/** What {@link measure} needs. */
export interface MeasureOptions {
  readonly classifier: Classifier;
  /** `[dim]` in layout order. */
  readonly parameters: Float32Array;
  readonly examples: readonly EncodedExample[];
}

/** Metrics of `parameters` on `examples`, with a progress line. */
export async function measure(options: MeasureOptions, context: CommandContext): Promise<Metrics> {
  const line = context.progress({ label: 'measuring', unit: 'rows', total: options.examples.length });
  return evaluate({ ...options, onProgress: ({ done }) => line.update(done), signal: context.signal }).finally(() =>
    line.finish(),
  );
}
