/**
 * `load`: how long a checkpoint takes from its folder to a base that is ready to train, beside reading its weight files whole into memory
 * (`fs.readFile`) and nothing else, and how much memory that needs beyond an idle process with its back end started. Every figure comes from
 * a process of its own; the files are in the page cache for both, since they were just written. Loading includes all checks and the digest.
 *
 * Then two training steps follow on a few short texts. `startMs` is when the first of them would begin at the pace of the second: all that
 * comes before training, with what the first step alone has to do (kernels that are compiled, copies that are made).
 *
 * Flags: `--megabytes --shards --type --backend --frozen-weights --turns`.
 */
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackendName, backendNames } from '../../shared/compute/backend.ts';
import { type FrozenPrecision, frozenPrecisions } from '../../shared/compute/compact-matrix.ts';
import { type Benchmark, type BenchmarkFlags, integerFlag, machineName, median } from './benchmark.ts';
import { createChildren } from './children.ts';
import type { LoadReport } from './load-base.ts';
import { writeRandomCheckpoint } from './random-checkpoint.ts';

const types = ['F32', 'F16', 'BF16'] as const;

/** Measures loading. */
export const bench: Benchmark = async (flags, progress) => {
  const megabytes = integerFlag(flags, 'megabytes', 500);
  const shards = integerFlag(flags, 'shards', 1);
  const turns = integerFlag(flags, 'turns', 3);
  const type = choiceFlag(flags, 'type', types, 'F32');
  const backend = choiceFlag<BackendName>(flags, 'backend', backendNames, 'wasm');
  const frozenWeights = choiceFlag<FrozenPrecision>(flags, 'frozen-weights', frozenPrecisions, 'auto');
  const folder = await mkdtemp(join(tmpdir(), 'tributary-load-'));
  try {
    const names = await writeRandomCheckpoint({ folder, megabytes, shards, type });
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
    const fileBytes = sizes.reduce((sum, size) => sum + size, 0);
    progress(`${toMegabytes(fileBytes)} MiB in ${names.length} file(s)`);
    const reads: LoadReport[] = [];
    const loads: LoadReport[] = [];
    // In turns, so that whatever else the machine does meets both.
    for (let turn = 0; turn < turns; turn++) {
      reads.push(await runChild(['read', folder, backend, frozenWeights, ...names]));
      loads.push(await runChild(['load', folder, backend, frozenWeights]));
      progress(`read in ${reads.at(-1)!.ms.toFixed(0)} ms, loaded in ${loads.at(-1)!.ms.toFixed(0)} ms`);
    }
    const readMs = median(reads.map(({ ms }) => ms));
    const loadMs = median(loads.map(({ ms }) => ms));
    const peakBytes = Math.max(...loads.map((report) => report.peakBytes));
    const trainings = loads.map(({ training }) => training!);
    const startMs = median(trainings.map(({ firstStepMs, secondStepMs }) => 2 * firstStepMs - secondStepMs));
    const trainingPeakBytes = Math.max(...trainings.map((training) => training.peakBytes));
    return {
      name: 'load',
      machine: machineName(),
      backend,
      threads: 1,
      results: {
        readMs,
        loadMs,
        ratio: loadMs / readMs,
        fileMegabytes: toMegabytes(fileBytes),
        peakMegabytes: toMegabytes(peakBytes),
        memoryRatio: peakBytes / fileBytes,
        startMs,
        startRatio: startMs / readMs,
        firstStepMs: median(trainings.map(({ firstStepMs }) => firstStepMs)),
        stepMs: median(trainings.map(({ firstStepMs, secondStepMs }) => secondStepMs - firstStepMs)),
        trainingPeakMegabytes: toMegabytes(trainingPeakBytes),
        trainingMemoryRatio: trainingPeakBytes / fileBytes,
        readPeakMegabytes: toMegabytes(Math.max(...reads.map((report) => report.peakBytes))),
        type,
        frozenWeights,
        shards: names.length,
        turns,
      },
    };
  } finally {
    await rm(folder, { recursive: true });
  }
};

async function runChild(words: readonly string[]): Promise<LoadReport> {
  const failures: string[] = [];
  const child = createChildren('load-base.ts', (detail) => failures.push(detail)).start(words);
  const reports: LoadReport[] = [];
  child.on('message', (report: LoadReport) => reports.push(report));
  await once(child, 'exit');
  if (reports[0] === undefined) throw new Error(failures[0] ?? 'a process ended without its report');
  return reports[0];
}

function choiceFlag<Choice extends string>(
  flags: BenchmarkFlags,
  name: string,
  choices: readonly Choice[],
  preset: Choice,
): Choice {
  const text = flags[name] ?? preset;
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new RangeError(`--${name} must be one of ${choices.join(', ')}, found ${JSON.stringify(text)}`);
}

function toMegabytes(bytes: number): number {
  return Math.round((bytes / 2 ** 20) * 10) / 10;
}
