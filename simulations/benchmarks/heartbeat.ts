/**
 * `heartbeat`: how long the thread of the socket keeps an event waiting while this site trains, with the learner in a thread of its own as
 * clients in Node have it, with the same learner on the thread of the socket, and without any training, in one run. A heartbeat that the
 * coordinator sends waits that long for its answer.
 *
 * Flags: `--backend --threads --layers --width --heads --feed-forward --sequence --batch --rank --steps`.
 */
import { extname } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Learner, PreparedLearning } from '../../client/learner.ts';
import { openThreadLearner } from '../../client/learning-thread/thread-learner.node.ts';
import { type Benchmark, integerFlag, machineName } from './benchmark.ts';
import { benchmarkFederation } from './federation.ts';
import type { HeartbeatTraining } from './heartbeat-learner.ts';
import { backendFlag } from './measured-step.ts';

/** Milliseconds between two looks at the clock; delays are what comes on top. */
const resolutionMs = 2;
/** How long nothing is done, to know what this machine makes wait anyway. */
const idleMs = 1000;

/** Delays of the thread's events, in milliseconds. */
interface Delays {
  readonly worstMs: number;
  /** 99 of 100 waited at most so long. */
  readonly mostMs: number;
  readonly seconds: number;
}

/** Measures both ways. */
export const bench: Benchmark = async (flags, progress) => {
  const training: HeartbeatTraining = {
    backend: backendFlag(flags),
    threads: integerFlag(flags, 'threads', 1),
    layers: integerFlag(flags, 'layers', 4),
    width: integerFlag(flags, 'width', 256),
    heads: integerFlag(flags, 'heads', 4),
    feedForward: integerFlag(flags, 'feed-forward', 1024),
    sequence: integerFlag(flags, 'sequence', 64),
    batch: integerFlag(flags, 'batch', 16),
    rank: integerFlag(flags, 'rank', 16),
    steps: integerFlag(flags, 'steps', 10),
  };
  const module = new URL(`./heartbeat-learner${extname(import.meta.url)}`, import.meta.url);
  let backend: string = training.backend;
  const there = await openThreadLearner<HeartbeatTraining>({
    module,
    data: training,
    onNote: (note) => {
      if (note.about === 'backend') backend = note.name;
    },
  });
  const idle = await delaysDuring(() => new Promise<void>((resolve) => setTimeout(resolve, idleMs)));
  progress(`without training ${idle.worstMs.toFixed(1)} ms at worst`);
  const away = await measured(there);
  await there.close();
  progress(`learner in its thread: ${away.worstMs.toFixed(1)} ms at worst`);
  const { createLearner } = await import('./heartbeat-learner.ts');
  const here = await measured(await createLearner(training, () => undefined));
  progress(`learner on the thread of the socket: ${here.worstMs.toFixed(1)} ms at worst`);
  return {
    name: 'heartbeat',
    machine: machineName(),
    backend,
    threads: training.threads,
    results: {
      idleWorstMs: idle.worstMs,
      threadWorstMs: away.worstMs,
      threadP99Ms: away.mostMs,
      sameThreadWorstMs: here.worstMs,
      sameThreadP99Ms: here.mostMs,
      ratio: away.worstMs / here.worstMs,
      threadStepMs: (1000 * away.seconds) / training.steps,
      sameThreadStepMs: (1000 * here.seconds) / training.steps,
    },
  };
};

/** Delays while `learner` trains; kernels are compiled before, in a training that is not looked at. */
async function measured(learner: Learner): Promise<Delays> {
  const prepared = await learner.prepare(plan, new Map());
  try {
    const start = await prepared.initialise!(3);
    const train = () => trainOnce(prepared, start);
    await train();
    return await delaysDuring(train);
  } finally {
    prepared.dispose();
  }
}

async function trainOnce(prepared: PreparedLearning, start: Float32Array): Promise<void> {
  const { signal } = new AbortController();
  await prepared.train({ start, frozen: null, roundIndex: 0, signal, onProgress: () => undefined });
}

async function delaysDuring(work: () => Promise<void>): Promise<Delays> {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  const beganMs = performance.now();
  histogram.enable();
  await work();
  histogram.disable();
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolutionMs);
  return {
    worstMs: ms(histogram.max),
    mostMs: ms(histogram.percentile(99)),
    seconds: (performance.now() - beganMs) / 1000,
  };
}

/** The learner of this benchmark asks no plan; a thread is told one all the same. */
const { plan } = benchmarkFederation({ clientCount: 1, roundCount: 1, dim: 1 });
