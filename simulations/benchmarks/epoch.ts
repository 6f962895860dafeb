/**
 * `epoch`: a pass over some texts with adapters in the upper third of the layers, three ways in one run, in turns: with the states below the lowest
 * adapter kept from an earlier pass, without, and in PyTorch with the same states kept, written plainly. What keeping can save is arithmetic: with L
 * layers about (2 L / 3 - 1) of (4 L / 3 - 1) products stay, a quarter at 4 layers (one has an adapter) and half at many; less still where the last layer
 * computes the tokens that the head reads alone, as clients do. `ratio` compares the same arithmetic as PyTorch's, all tokens; `clientRatio` what clients do.
 *
 * Flags: `--backend --threads --layers --width --heads --feed-forward --sequence --batch --rank --texts --turns --python`.
 */
import { seededRandom } from '../../shared/core/random.ts';
import { epochBatches } from '../../shared/data/batches.ts';
import { type Benchmark, integerFlag, machineName, median } from './benchmark.ts';
import { backendFlag } from './measured-step.ts';
import { type Pytorch, startPytorch } from './pytorch.ts';
import { type StepProblem, trainingSeed, withStepFiles } from './step-files.ts';
import { startTraining } from './step-process.ts';

type Way = 'cached' | 'uncached' | 'allTokens' | 'pytorch';

/** Measures the passes. */
export const bench: Benchmark = async (flags, progress) => {
  const layers = integerFlag(flags, 'layers', 4);
  const problem: StepProblem = {
    layers,
    width: integerFlag(flags, 'width', 256),
    heads: integerFlag(flags, 'heads', 4),
    feedForward: integerFlag(flags, 'feed-forward', 1024),
    sequence: integerFlag(flags, 'sequence', 64),
    batch: integerFlag(flags, 'batch', 16),
    rank: integerFlag(flags, 'rank', 16),
    lowestLayer: layers - Math.max(1, Math.floor(layers / 3)),
    textCount: integerFlag(flags, 'texts', 128),
    threads: integerFlag(flags, 'threads', 1),
  };
  const turns = integerFlag(flags, 'turns', 3);
  const { python } = flags;
  if (python === true) throw new RangeError('--python needs the path of an interpreter');
  return withStepFiles(problem, async (folder) => {
    const backend = backendFlag(flags);
    const cached = await startTraining(folder, backend, { states: 'cached', tokens: 'read' });
    const uncached = await startTraining(folder, backend, { states: 'plain', tokens: 'read' });
    const allTokens = await startTraining(folder, backend, { states: 'cached', tokens: 'all' });
    const own = { cached, uncached, allTokens };
    const pytorch = await startPytorch(folder, { python, threads: problem.threads });
    if ('missing' in pytorch) progress(`NOT RUN against PyTorch: ${pytorch.missing}`);
    const figures = (): Record<Way, number[]> => ({ cached: [], uncached: [], allTokens: [], pytorch: [] });
    const [ms, cpuMs, losses] = [figures(), figures(), figures()];
    const add = (way: Way, report: Omit<Awaited<ReturnType<Pytorch['run']>>, 'peakBytes'>): void => {
      ms[way].push(...[report.ms].flat());
      cpuMs[way].push(...[report.cpuMs].flat());
      losses[way].push(...report.losses);
    };
    try {
      // The first pass of each fills the cache, compiles and finds memory.
      for (let turn = 0; turn <= turns; turn++) {
        for (const way of ['cached', 'uncached', 'allTokens'] as const) add(way, await own[way].pass());
        if (!('missing' in pytorch)) add('pytorch', await pytorch.run({ epoch: batchesOf(problem, turn) }));
        const last = (way: Way) => ms[way].at(-1)?.toFixed(0);
        progress(
          `cached ${last('cached')} ms (all tokens ${last('allTokens')} ms), uncached ${last('uncached')} ms, PyTorch ${last('pytorch')} ms`,
        );
      }
    } finally {
      const ours = Object.values(own).map((one) => one.leave());
      await Promise.all([...ours, ...('missing' in pytorch ? [] : [pytorch.leave()])]);
    }
    const middle = (all: readonly number[]) => Math.round(median(all.slice(1)) * 10) / 10;
    const results = {
      cachedMs: middle(ms.cached),
      uncachedMs: middle(ms.uncached),
      allTokensMs: middle(ms.allTokens),
      cachedToUncached: ratio(ms.cached, ms.uncached),
      cachedToUncachedCpu: ratio(cpuMs.cached, cpuMs.uncached),
      cachedLossDifference: difference(losses.cached, losses.uncached),
      lowestLayer: problem.lowestLayer,
    };
    const { backend: name, threads } = cached.ready;
    const report = { name: 'epoch', machine: machineName(), backend: name, threads };
    if ('missing' in pytorch)
      return { ...report, results: { ...results, ratio: null, pytorch: `NOT RUN: ${pytorch.missing}` } };
    return {
      ...report,
      results: {
        ...results,
        pytorchCachedMs: middle(ms.pytorch),
        ratio: ratio(ms.allTokens, ms.pytorch),
        cpuRatio: ratio(cpuMs.allTokens, cpuMs.pytorch),
        clientRatio: ratio(ms.cached, ms.pytorch),
        lossDifference: difference(losses.cached, losses.pytorch),
        pytorch: pytorch.facts.version,
        pytorchProductGflops: Math.round(pytorch.facts.gflops),
      },
    };
  });
};

/** The batches that `trainLocally` draws for a pass, so that all see the same texts in the same order. */
function batchesOf({ textCount, sequence, batch }: StepProblem, epoch: number): number[][] {
  const lengths = new Int32Array(textCount).fill(sequence);
  return epochBatches(lengths, batch, seededRandom(trainingSeed, 'training').fork('epoch', epoch));
}

/** How many times the second a pass of the first takes; the first pass counts for neither. */
function ratio(own: readonly number[], other: readonly number[]): number {
  return Math.round((1000 * median(own.slice(1))) / median(other.slice(1))) / 1000;
}

function difference(own: readonly number[], other: readonly number[]): number {
  return Math.max(...own.map((loss, step) => Math.abs(loss - other[step]!)));
}
