/**
 * `step`: milliseconds of one training step on a frozen encoder (by default 4 layers of width 256, a bottleneck of 16 after every
 * feed-forward, batches of 16 texts of 64 tokens, a head of ten classes on the first token, AdamW), and of the same step with the gradients
 * of the library alone, in the same run.
 *
 * With `--against pytorch`: the same step beside PyTorch's own modules on its processor back end, each in a process of its own. `ratio` compares the same
 * arithmetic; `clientRatio` the step that clients take, whose last layer computes the tokens that the head reads alone.
 *
 * Flags: `--backend --threads --layers --width --heads --feed-forward --sequence --batch --rank --against --turns --python`.
 */
import process from 'node:process';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { networkFrom } from '../../shared/model/load.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { type Benchmark, type BenchmarkFlags, type BenchmarkReport, integerFlag, machineName } from './benchmark.ts';
import { backendFlag, measureSteps, randomExamples, stepLabels } from './measured-step.ts';
import { plainBottleneck, plainEncoder } from './plain-encoder.ts';
import { randomEncoderFiles, type StepShape } from './random-encoder.ts';
import { stepAgainstPytorch } from './step-against.ts';

/** Steps that are timed; those with the library's gradients take so long that few must do. */
const timedSteps = { fused: 11, plain: 4 };

/** Measures the step. */
export const bench: Benchmark = async (flags, progress) => {
  const shape: StepShape = {
    layers: integerFlag(flags, 'layers', 4),
    width: integerFlag(flags, 'width', 256),
    heads: integerFlag(flags, 'heads', 4),
    feedForward: integerFlag(flags, 'feed-forward', 1024),
    sequence: integerFlag(flags, 'sequence', 64),
    batch: integerFlag(flags, 'batch', 16),
    rank: integerFlag(flags, 'rank', 16),
  };
  const threads = integerFlag(flags, 'threads', 1);
  if (flags.against !== undefined) return against({ ...shape, threads }, flags, progress);
  const backend = await useBackend(backendFlag(flags), { threads });
  const files = randomEncoderFiles(shape);
  const base = networkFrom(files);
  const adapter = parseAdapter({ method: 'bottleneck', size: shape.rank }, base.description);
  const task = { kind: 'classification', labels: stepLabels, pooling: 'first', lengthMax: shape.sequence } as const;
  const examples = randomExamples(shape);
  const fused = createTaskModel({ base, adapter, task });
  const ours = await measureSteps(fused, examples, timedSteps.fused);
  progress(`${ours.msPerStep.toFixed(0)} ms per step, fastest ${ours.fastestMs.toFixed(0)} ms`);
  const peakMegabytes = process.resourceUsage().maxRSS / 1024;
  const plainBase = plainEncoder(files, base.description);
  const plain = createTaskModel({ base: plainBase, adapter: plainBottleneck(adapter), task });
  const theirs = await measureSteps(plain, examples, timedSteps.plain);
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

async function against(
  shape: StepShape & { readonly threads: number },
  flags: BenchmarkFlags,
  progress: (line: string) => void,
): Promise<BenchmarkReport> {
  const { against: other, python } = flags;
  if (other !== 'pytorch') throw new RangeError(`--against must be pytorch, found ${JSON.stringify(other)}`);
  if (python === true) throw new RangeError('--python needs the path of an interpreter');
  const problem = { ...shape, lowestLayer: 0, textCount: shape.batch };
  const { ready, results } = await stepAgainstPytorch({
    problem,
    turns: integerFlag(flags, 'turns', 6),
    backend: backendFlag(flags),
    python,
    progress,
  });
  return { name: 'step', machine: machineName(), backend: ready.backend, threads: ready.threads, results };
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
