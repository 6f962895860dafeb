/** Steps of the training loop that clients run, timed one by one on random texts. */
import { type BackendName, backendNames } from '../../shared/compute/backend.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { type BenchmarkFlags, median } from './benchmark.ts';
import { type StepShape, vocabularySize } from './random-encoder.ts';

/** Labels of the head. */
export const stepLabels = Array.from({ length: 10 }, (_, index) => `label ${index}`);

/** Steps before the clock starts: kernels are compiled and transposed copies made in them. */
const warmUpSteps = 2;

/** The flag `--backend`. @throws RangeError for a back end that does not exist. */
export function backendFlag({ backend = 'wasm' }: BenchmarkFlags): BackendName | 'auto' {
  const known = (['auto', ...backendNames] as const).find((name) => name === backend);
  if (known !== undefined) return known;
  throw new RangeError(`--backend must be auto or one of ${backendNames.join(', ')}, found ${JSON.stringify(backend)}`);
}

/** Random texts of full length; by default one batch of them. */
export function randomExamples(
  { sequence, batch }: Pick<StepShape, 'sequence' | 'batch'>,
  count = batch,
): EncodedExample[] {
  const random = seededRandom(2, 'step-examples');
  return Array.from({ length: count }, (_, index) => ({
    ids: Int32Array.from({ length: sequence }, () => random.integer(vocabularySize)),
    targets: Int32Array.of(index % stepLabels.length),
  }));
}

/** Times of steps that each see all `examples`, and the loss before every step. */
export async function measureSteps(
  model: TaskModel,
  examples: readonly EncodedExample[],
  steps: number,
): Promise<{ readonly msPerStep: number; readonly fastestMs: number; readonly losses: readonly number[] }> {
  const times: number[] = [];
  const losses: number[] = [];
  let lastMs = performance.now();
  await trainLocally({
    model,
    start: model.initialise(3),
    source: memorySource(examples),
    configuration: {
      ...defaultTraining,
      localEpochs: undefined,
      localSteps: warmUpSteps + steps,
      batchSize: examples.length,
      schedule: 'constant',
      warmupFraction: 0,
    },
    seed: 4,
    onProgress: (state) => {
      const nowMs = performance.now();
      if (state.step > warmUpSteps) times.push(nowMs - lastMs);
      losses.push(state.loss);
      lastMs = nowMs;
    },
  });
  return { msPerStep: median(times), fastestMs: Math.min(...times), losses };
}
