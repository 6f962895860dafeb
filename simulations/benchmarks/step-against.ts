/**
 * `step --against pytorch`: the same step here and in PyTorch, in one run, a few steps of each in turn; and the step that clients take, of which the last layer
 * computes the tokens that the head reads alone.
 */

import { median } from './benchmark.ts';
import { type Pytorch, startPytorch } from './pytorch.ts';
import { type StepProblem, withStepFiles } from './step-files.ts';
import { type StepProcess, startTraining } from './step-process.ts';

/** Steps of each that count, in turns; before them some that do not, in which graphs are compiled and memory is found. */
const [stepsPerTurn, warmUpSteps] = [3, 8];

/** What the comparison needs. */
export interface AgainstOptions {
  readonly problem: StepProblem;
  readonly turns: number;
  readonly backend: string;
  /** The interpreter; absent: the first that has PyTorch. */
  readonly python: string | undefined;
  readonly progress: (line: string) => void;
}

interface Times {
  readonly ms: number[];
  readonly cpuMs: number[];
  readonly losses: number[];
  peakBytes: number;
}

/** The report's results, and what ours ran on. */
export async function stepAgainstPytorch({ problem, turns, backend, python, progress }: AgainstOptions) {
  return withStepFiles(problem, async (folder) => {
    const ours = await startTraining(folder, backend, { states: 'plain', tokens: 'all' });
    const clients = await startTraining(folder, backend, { states: 'plain', tokens: 'read' });
    const theirs = await startPytorch(folder, { python, threads: problem.threads });
    try {
      if ('missing' in theirs) progress(`NOT RUN against PyTorch: ${theirs.missing}`);
      const processes = { ours, clients, theirs: 'missing' in theirs ? null : theirs };
      const times = await taken(processes, { turns, progress });
      return { ready: ours.ready, results: resultsOf(times, theirs) };
    } finally {
      await Promise.all([ours.leave(), clients.leave()]);
      if (!('missing' in theirs)) await theirs.leave();
    }
  });
}

interface Processes {
  readonly ours: StepProcess;
  readonly clients: StepProcess;
  readonly theirs: Pytorch | null;
}

async function taken(
  { ours, clients, theirs }: Processes,
  { turns, progress }: Pick<AgainstOptions, 'turns' | 'progress'>,
) {
  const times = (): Times => ({ ms: [], cpuMs: [], losses: [], peakBytes: 0 });
  const [own, client, other] = [times(), times(), times()];
  const turn = async (steps: number): Promise<void> => {
    for (let step = 0; step < steps; step++) add(own, await ours.pass());
    for (let step = 0; step < steps; step++) add(client, await clients.pass());
    if (theirs !== null) add(other, await theirs.run({ steps }));
  };
  await turn(warmUpSteps);
  const { length: ignored } = own.ms;
  for (let index = 0; index < turns; index++) {
    await turn(stepsPerTurn);
    const last = (all: Times) => median(all.ms.slice(-stepsPerTurn)).toFixed(0);
    progress(
      `ours ${last(own)} ms, a client's ${last(client)} ms${theirs === null ? '' : `, PyTorch ${last(other)} ms`}`,
    );
  }
  for (const all of [own, client, other]) for (const figures of [all.ms, all.cpuMs]) figures.splice(0, ignored);
  return { own, client, other };
}

function add(all: Times, report: Omit<Awaited<ReturnType<Pytorch['run']>>, 'type'>): void {
  all.ms.push(...[report.ms].flat());
  all.cpuMs.push(...[report.cpuMs].flat());
  all.losses.push(...report.losses);
  all.peakBytes = report.peakBytes;
}

function resultsOf(
  { own, client, other }: Awaited<ReturnType<typeof taken>>,
  theirs: Pytorch | { readonly missing: string },
) {
  const megabytes = (bytes: number) => Math.round(bytes / 2 ** 20);
  const ours = {
    msPerStep: rounded(median(own.ms)),
    fastestMs: rounded(Math.min(...own.ms)),
    cpuMsPerStep: rounded(median(own.cpuMs)),
    peakMegabytes: megabytes(own.peakBytes),
    clientMsPerStep: rounded(median(client.ms)),
    clientLossDifference: Math.max(...own.losses.map((loss, step) => Math.abs(loss - client.losses[step]!))),
  };
  if ('missing' in theirs) return { ...ours, ratio: null, pytorch: `NOT RUN: ${theirs.missing}` };
  return {
    ...ours,
    pytorchMsPerStep: rounded(median(other.ms)),
    pytorchFastestMs: rounded(Math.min(...other.ms)),
    pytorchCpuMsPerStep: rounded(median(other.cpuMs)),
    pytorchPeakMegabytes: megabytes(other.peakBytes),
    ratio: hundredths(median(own.ms) / median(other.ms)),
    cpuRatio: hundredths(median(own.cpuMs) / median(other.cpuMs)),
    clientRatio: hundredths(median(client.ms) / median(other.ms)),
    clientCpuRatio: hundredths(median(client.cpuMs) / median(other.cpuMs)),
    memoryRatio: hundredths(own.peakBytes / other.peakBytes),
    lossDifference: Math.max(...own.losses.map((loss, step) => Math.abs(loss - other.losses[step]!))),
    pytorch: theirs.facts.version,
    pytorchProductGflops: rounded(theirs.facts.gflops),
  };
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

function hundredths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
