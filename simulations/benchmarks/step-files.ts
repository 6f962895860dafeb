/** A training problem in a folder, for several programs: base, start values of what is trained, texts, settings. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BoundAdapter, parseAdapter } from '../../shared/adapters/registry.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { writeSafetensors } from '../../shared/model/safetensors.ts';
import type { Task } from '../../shared/plan/task.ts';
import { defaultTraining, type TrainingConfiguration } from '../../shared/training/configuration.ts';
import { initialValues, taskLayout } from '../../shared/training/initial-adapter.ts';
import { randomExamples, stepLabels } from './measured-step.ts';
import { randomEncoderFiles, type StepShape, vocabularySize } from './random-encoder.ts';

/** A training problem: bottlenecks from a layer on, classification of texts of full length. */
export interface StepProblem extends StepShape {
  /** The lowest layer with an adapter. */
  readonly lowestLayer: number;
  /** Texts; a pass takes them in batches of `batch`. */
  readonly textCount: number;
  readonly threads: number;
}

/** What `step.json` holds. */
export interface StepSettings extends StepProblem {
  readonly texts: readonly (readonly number[])[];
  readonly targets: readonly number[];
}

/** Seed of the start values. */
export const startSeed = 3;
/** Seed of the order of batches. */
export const trainingSeed = 4;

/** The adapter of a problem. */
export function stepAdapter({ rank, layers, lowestLayer }: StepProblem, base: BaseDescription): BoundAdapter {
  return parseAdapter({ method: 'bottleneck', size: rank, topLayers: layers - lowestLayer }, base);
}

/** Its task. */
export function stepTask({ sequence }: StepShape): Task {
  return { kind: 'classification', labels: stepLabels, pooling: 'first', lengthMax: sequence };
}

/** How every program trains. */
export function stepTraining({ batch }: StepShape, localEpochs: number): TrainingConfiguration {
  return { ...defaultTraining, localEpochs, batchSize: batch, schedule: 'constant', warmupFraction: 0 };
}

/** Calls `use` with a folder that holds `problem` and is gone afterwards. */
export async function withStepFiles<Result>(
  problem: StepProblem,
  use: (folder: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'tributary-step-'));
  try {
    await writeFiles(folder, problem);
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Settings and texts of the problem in `folder`. */
export async function readStepSettings(
  folder: string,
): Promise<{ readonly settings: StepSettings; readonly examples: readonly EncodedExample[] }> {
  const settings = JSON.parse(await readFile(join(folder, 'step.json'), 'utf8')) as StepSettings;
  const { texts, targets } = settings;
  const examples = texts.map((ids, index) => ({ ids: Int32Array.from(ids), targets: Int32Array.of(targets[index]!) }));
  return { settings, examples };
}

async function writeFiles(folder: string, problem: StepProblem): Promise<void> {
  const files = randomEncoderFiles(problem);
  for (const [name, bytes] of files) await writeFile(join(folder, name), bytes);
  const base = describeFiles(files);
  const adapter = stepAdapter(problem, base);
  const layout = taskLayout(adapter, base, stepTask(problem));
  const start = initialValues(layout, adapter, startSeed);
  const tensors = layout.tensors.map(({ name, shape, offset, size }) => {
    return [name, { shape: [...shape], values: start.subarray(offset, offset + size) }] as const;
  });
  await writeFile(join(folder, 'adapter.safetensors'), writeSafetensors(new Map(tensors)));
  const examples = randomExamples(problem, problem.textCount);
  const { learningRate, weightDecay, gradientClipNorm } = defaultTraining;
  const settings = {
    ...problem,
    vocabulary: vocabularySize,
    labels: stepLabels.length,
    learningRate,
    weightDecay,
    gradientClipNorm,
    texts: examples.map(({ ids }) => [...ids]),
    targets: examples.map(({ targets }) => targets[0]!),
  };
  await writeFile(join(folder, 'step.json'), JSON.stringify(settings satisfies StepSettings));
}
