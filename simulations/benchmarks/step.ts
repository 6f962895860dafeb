/**
 * `step`: milliseconds of one training step on a frozen encoder (by default 4 layers of width 256, a bottleneck of 16 after every
 * feed-forward, batches of 16 texts of 64 tokens, a head of ten classes on the first token, AdamW), and of the same step with the gradients
 * of the library alone, in the same run.
 *
 * Flags: `--backend --threads --layers --width --heads --feed-forward --sequence --batch --rank`.
 */
import process from 'node:process';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { type BackendName, backendNames, useBackend } from '../../shared/compute/backend.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import { networkFrom } from '../../shared/model/load.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import { createTaskModel, type TaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { type Benchmark, type BenchmarkFlags, integerFlag, machineName, median } from './benchmark.ts';
import { plainBottleneck, plainEncoder } from './plain-encoder.ts';
import { randomEncoderFiles, type StepShape, vocabularySize } from './random-encoder.ts';

const labels = Array.from({ length: 10 }, (_, index) => `label ${index}`);

/** Steps before the clock starts: kernels are compiled and transposed copies made in them. */
const warmUpSteps = 2;
/** Steps that are timed; those with the library's gradients take so long that few must do. */
const timedSteps = { fused: 11, plain: 4 };

/** Measures the step. */
export const bench: Benchmark = async (flags, progress) => {
  const backend = await useBackend(backendFlag(flags), { threads: integerFlag(flags, 'threads', 1) });
  const shape: StepShape = {
    layers: integerFlag(flags, 'layers', 4),
    width: integerFlag(flags, 'width', 256),
    heads: integerFlag(flags, 'heads', 4),
    feedForward: integerFlag(flags, 'feed-forward', 1024),
    sequence: integerFlag(flags, 'sequence', 64),
    batch: integerFlag(flags, 'batch', 16),
    rank: integerFlag(flags, 'rank', 16),
  };
  const files = randomEncoderFiles(shape);
  const base = networkFrom(files);
  const adapter = parseAdapter({ method: 'bottleneck', size: shape.rank }, base.description);
  const task = { kind: 'classification', labels, pooling: 'first', lengthMax: shape.sequence } as const;
  const examples = randomExamples(shape);
  const fused = createTaskModel({ base, adapter, task });
  const ours = await measure(fused, examples, shape, timedSteps.fused);
  progress(`${ours.msPerStep.toFixed(0)} ms per step, fastest ${ours.fastestMs.toFixed(0)} ms`);
  const peakMegabytes = process.resourceUsage().maxRSS / 1024;
  const plainBase = plainEncoder(files, base.description);
  const plain = createTaskModel({ base: plainBase, adapter: plainBottleneck(adapter), task });
  const theirs = await measure(plain, examples, shape, timedSteps.plain);
  progress(`${theirs.msPerStep.toFixed(0)} ms per step with the library's own gradients`);
  for (const model of [base, plainBase]) model.dispose();
  return {
    name: 'step',
    machine: machineName(),
    backend: backend.name,
    threads: backend.threads,
    results: {
      msPerStep: rounded(ours.msPerStep),
      fastestMs: rounded(ours.fastestMs),
      gflops: rounded(floatingPointOperations(shape) / ours.msPerStep / 1e6),
      peakMegabytes: rounded(peakMegabytes),
      tfjsGradientsMsPerStep: rounded(theirs.msPerStep),
      ratio: Math.round((ours.msPerStep / theirs.msPerStep) * 1e4) / 1e4,
      lossDifference: Math.abs(ours.losses[theirs.losses.length - 1]! - theirs.losses.at(-1)!),
    },
  };
};

function backendFlag({ backend = 'wasm' }: BenchmarkFlags): BackendName | 'auto' {
  const known = (['auto', ...backendNames] as const).find((name) => name === backend);
  if (known !== undefined) return known;
  throw new RangeError(`--backend must be auto or one of ${backendNames.join(', ')}, found ${JSON.stringify(backend)}`);
}

function randomExamples({ sequence, batch }: StepShape): EncodedExample[] {
  const random = seededRandom(2, 'step-examples');
  return Array.from({ length: batch }, (_, index) => ({
    ids: Int32Array.from({ length: sequence }, () => random.integer(vocabularySize)),
    targets: Int32Array.of(index % labels.length),
  }));
}

/** Runs the training loop that clients run and times its steps one by one. */
async function measure(
  model: TaskModel,
  examples: readonly EncodedExample[],
  { batch }: StepShape,
  steps: number,
): Promise<{ msPerStep: number; fastestMs: number; losses: readonly number[] }> {
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
      batchSize: batch,
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

/**
 * Floating-point operations of the products that the step needs: forward everywhere, and back to the inputs of all that stands above the
 * lowest adapter, which follows the first feed-forward.
 */
function floatingPointOperations({ layers, width, feedForward, sequence, batch, rank }: StepShape): number {
  const rows = batch * sequence;
  const linear = 2 * rows * (4 * width * width + 2 * width * feedForward);
  const attention = 2 * 2 * rows * sequence * width;
  const adapter = 2 * rows * 2 * width * rank;
  return layers * (linear + attention + 3 * adapter) + (layers - 1) * (linear + 2 * attention);
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
