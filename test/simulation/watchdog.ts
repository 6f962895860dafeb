/** Ends a process in which one step does not end, after saying which: a loop without end lets no timer of its own thread run. */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import process from 'node:process';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** Bytes of a step's name that are kept. */
const nameBytes = 256;
/** Words before the name: how many steps began, whether one runs, length of its name. */
const words = { begun: 0, runs: 1, length: 2 } as const;
const headBytes = 16;

interface Watched {
  readonly memory: SharedArrayBuffer;
  readonly limitMs: number;
}

/** Who watches. */
export interface Watchdog {
  /** Runs a step; it may compute as long as the limit; the process ends before it computed twice as long. */
  watch<Result>(name: string, step: () => Promise<Result>): Promise<Result>;
  close(): Promise<unknown>;
}

/** Starts watching in a thread of its own; it watches when this resolves. */
export async function startWatchdog(limitMs: number): Promise<Watchdog> {
  const memory = new SharedArrayBuffer(headBytes + nameBytes);
  const state = new Int32Array(memory, 0, 3);
  const text = Buffer.from(memory, headBytes);
  const watched: Watched = { memory, limitMs };
  const worker = new Worker(import.meta.filename, { workerData: watched, execArgv: [] });
  await once(worker, 'message');
  worker.unref();
  return {
    watch: async (name, step) => {
      Atomics.store(state, words.length, text.write(name));
      Atomics.add(state, words.begun, 1);
      Atomics.store(state, words.runs, 1);
      try {
        return await step();
      } finally {
        Atomics.store(state, words.runs, 0);
      }
    },
    close: () => worker.terminate(),
  };
}

/** A step on a machine that has no time for it is given as many limits. */
const looksMax = 20;

/**
 * Looks once per limit whether the step that ran then still runs: one that computed for most of the limit does not end, and neither does one that
 * waited for {@link looksMax} of them.
 */
function keepWatch({ memory, limitMs }: Watched): void {
  const state = new Int32Array(memory, 0, 3);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let looks = 0;
  for (;;) {
    const begun = Atomics.load(state, words.begun);
    const before = process.cpuUsage();
    Atomics.wait(pause, 0, 0, limitMs);
    if (Atomics.load(state, words.runs) === 0 || Atomics.load(state, words.begun) !== begun) {
      looks = 0;
      continue;
    }
    const { user, system } = process.cpuUsage(before);
    if (user + system < 500 * limitMs && ++looks < looksMax) continue;
    const name = Buffer.from(memory, headBytes, Atomics.load(state, words.length)).toString();
    writeSync(2, `${name}: took longer than ${limitMs} ms\n`);
    process.kill(process.pid, 'SIGKILL');
  }
}

if (!isMainThread && workerData?.memory instanceof SharedArrayBuffer) {
  parentPort?.postMessage('watching');
  keepWatch(workerData as Watched);
}
