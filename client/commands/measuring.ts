/** Measuring of a model with a progress line, as it is and with a temperature fitted to other rows. */
import type { AdapterContext } from '../../shared/adapters/method.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import { countAtTemperature, fitTemperature } from '../../shared/training/calibration.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import { evaluateCounts } from '../../shared/training/evaluate.ts';
import { type Metrics, metricsOf } from '../../shared/training/metrics.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';

/** What {@link measureCalibrated} needs. */
export interface MeasureOptions {
  readonly model: TaskModel;
  /** `[dim]` in layout order. */
  readonly parameters: Float32Array;
  readonly source: ExampleSource;
  /** What the temperature is fitted to; null for none. */
  readonly fitted: ExampleSource | null;
  /** Takes what the adapter observes on `source`. */
  readonly observe: NonNullable<AdapterContext['observe']>;
}

/** Counts and metrics; with a temperature those of the calibrated probabilities, and beside them those without. */
export interface Measured {
  readonly counts: EvaluationCounts;
  readonly metrics: Metrics;
  readonly temperature: number | null;
  readonly uncalibrated: Metrics | null;
}

/** Measures. @throws as `fitTemperature` does; the reason of the context's signal. */
export async function measureCalibrated(
  { model, parameters, source, fitted, observe }: MeasureOptions,
  context: CommandContext,
): Promise<Measured> {
  const { signal } = context;
  const names = model.task.metrics;
  const line = context.progress({ label: 'measuring', unit: 'rows', total: source.count + (fitted?.count ?? 0) });
  const started = (before: number) => ({
    signal,
    onProgress: ({ done }: { readonly done: number }) => line.update(before + done),
  });
  try {
    if (fitted === null) {
      const counts = await evaluateCounts({ model, parameters, source, observe, ...started(0) });
      return { counts, metrics: metricsOf(counts, names), temperature: null, uncalibrated: null };
    }
    const temperature = await fitTemperature({ model, parameters, source: fitted, ...started(0) });
    const { plain, calibrated } = await countAtTemperature({
      model,
      parameters,
      source,
      temperature,
      observe,
      ...started(fitted.count),
    });
    const uncalibrated = metricsOf(plain, names);
    return { counts: calibrated, metrics: metricsOf(calibrated, names), temperature, uncalibrated };
  } finally {
    line.finish();
  }
}
