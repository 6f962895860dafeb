/**
 * A process with so many threads that have a base ready, each with weights of its own or all over the same memory: reports its resident memory after
 * each, and what they compute. Arguments: folder of the base, back end, threads, `shared` or `own`.
 */
import process from 'node:process';
import type { BackendName } from '../../shared/compute/backend-names.ts';
import type { SharedWeights } from '../../shared/compute/shared-weights.ts';
import { startThread, type Thread } from '../../shared/core/thread.node.ts';
import type { WorkerReady, WorkerTask } from './workers-thread.ts';

/** What the process sends once all are ready. */
export interface WorkersReport {
  readonly type: 'report';
  /** Resident bytes before the first thread, and after each. */
  readonly residentBytes: readonly number[];
  /** The same number for each that computes the same. */
  readonly sums: readonly number[];
  readonly weightBytes: number;
}

const [folder, backend, count, mode] = process.argv.slice(2) as [string, BackendName, string, 'shared' | 'own'];
const threads: Thread<never>[] = [];
const residentBytes = [process.memoryUsage.rss()];
const sums: number[] = [];
let weights: SharedWeights | null = null;
let weightBytes = 0;
for (let index = 0; index < Number(count); index++) {
  const ready = Promise.withResolvers<WorkerReady>();
  const data: WorkerTask = { folder, backend, isShared: mode === 'shared', weights };
  threads.push(
    startThread<never, WorkerReady>({
      program: new URL('./workers-thread.ts', import.meta.url),
      name: `worker ${index + 1}`,
      data,
      onMessage: ready.resolve,
    }),
  );
  const said = await ready.promise;
  weights ??= said.weights;
  weightBytes ||= said.weightBytes;
  sums.push(said.sum);
  residentBytes.push(process.memoryUsage.rss());
}
process.send?.({ type: 'report', residentBytes, sums, weightBytes } satisfies WorkersReport);
await Promise.all(threads.map((thread) => thread.end()));
process.disconnect();
