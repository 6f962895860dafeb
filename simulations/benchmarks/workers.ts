/**
 * `workers`: memory of so many threads that have one base ready, all over the same memory and each with weights of its own, in two processes one
 * after the other.
 *
 * Flags: `--backend --workers --layers --width --feed-forward`.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Benchmark, integerFlag, machineName } from './benchmark.ts';
import { createChildren } from './children.ts';
import { backendFlag } from './measured-step.ts';
import { randomEncoderFiles, type StepShape } from './random-encoder.ts';
import type { WorkersReport } from './workers-child.ts';

const mebibyte = 2 ** 20;

/** Measures both. */
export const bench: Benchmark = async (flags, progress) => {
  const backend = backendFlag({ backend: 'native', ...flags });
  if (backend === 'auto') throw new RangeError('--backend must name a back end here');
  const workers = integerFlag(flags, 'workers', 4);
  const shape: StepShape = {
    layers: integerFlag(flags, 'layers', 12),
    width: integerFlag(flags, 'width', 768),
    heads: 4,
    feedForward: integerFlag(flags, 'feed-forward', 3072),
    sequence: 64,
    batch: 1,
    rank: 1,
  };
  const folder = await mkdtemp(join(tmpdir(), 'tributary-workers-'));
  try {
    for (const [name, bytes] of randomEncoderFiles(shape)) await writeFile(join(folder, name), bytes);
    const reportOf = async (mode: 'shared' | 'own'): Promise<WorkersReport> => {
      const failures: string[] = [];
      const children = createChildren('workers-child.ts', (detail) => failures.push(detail));
      const child = children.start([folder, backend, String(workers), mode]);
      const said = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => null)]);
      if (said === null) throw new Error(failures[0] ?? 'a process ended without its report');
      const report = said[0] as WorkersReport;
      await once(child, 'exit');
      progress(`${mode}: ${report.residentBytes.map((bytes) => Math.round(bytes / mebibyte)).join(', ')} MiB`);
      return report;
    };
    const [shared, own] = [await reportOf('shared'), await reportOf('own')];
    const grown = ({ residentBytes }: WorkersReport): number => residentBytes.at(-1)! - residentBytes[1]!;
    return {
      name: 'workers',
      machine: machineName(),
      backend,
      threads: workers,
      results: {
        workers,
        weightMegabytes: Math.round(shared.weightBytes / mebibyte),
        sharedMegabytes: Math.round(shared.residentBytes.at(-1)! / mebibyte),
        ownMegabytes: Math.round(own.residentBytes.at(-1)! / mebibyte),
        // 0 where one base is in memory however many workers there are, 1 where each has its own.
        sharedBasesPerFurtherWorker: grown(shared) / (workers - 1) / shared.weightBytes,
        ownBasesPerFurtherWorker: grown(own) / (workers - 1) / shared.weightBytes,
        computeTheSame: new Set([...shared.sums, ...own.sums]).size === 1,
      },
    };
  } finally {
    await rm(folder, { recursive: true });
  }
};
