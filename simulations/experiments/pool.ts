/** Runs cells in threads, one cell at a time in each, so that every core is used; the base is loaded once where its memory can be shared. */
import type { SharedWeights } from '../../shared/compute/shared-weights.ts';
import { errorMessage, FederationError } from '../../shared/core/errors.ts';
import { startThread, type Thread } from '../../shared/core/thread.node.ts';
import type { CellProgress } from './run-cell.ts';
import type { WorkerAnswer, WorkerOrder, WorkerStart } from './serve-cells.ts';

/** What {@link runCells} needs. */
export interface PoolOptions<Cell, Result> {
  /** Cells in the order in which they start. */
  readonly cells: readonly Cell[];
  readonly folder: string;
  /** The program of a thread, which serves cells with `serveCells`. */
  readonly worker: URL;
  /** Names a cell in messages. */
  readonly nameOf: (cell: Cell) => string;
  /** Threads, at least 1. */
  readonly workerCount: number;
  readonly onProgress: (cell: Cell, progress: CellProgress) => void;
  /** Told as soon as a cell is done; what it writes survives an interruption. */
  readonly onResult: (result: Result) => void;
}

/** Runs all cells. @throws FederationError `experiment-failed` with the first cell that failed; the others are stopped. */
export async function runCells<Cell, Result>(options: PoolOptions<Cell, Result>): Promise<void> {
  const { cells, folder, worker, nameOf, workerCount, onProgress, onResult } = options;
  const queue = [...cells];
  const count = Math.min(workerCount, queue.length);
  const threads: Thread<WorkerOrder<Cell>>[] = [];
  /** Starts a thread that computes cells; resolves when there are no more. `onReady` gets what the others need not load. */
  const work = (weights: SharedWeights | null, onReady: (loaded: SharedWeights | null) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      let cell: Cell | undefined;
      const next = (): void => {
        cell = queue.shift();
        if (cell === undefined) resolve();
        else thread.post({ cell, folder });
      };
      const fail = (reason: string): void => {
        const what = cell === undefined ? 'a worker' : nameOf(cell);
        reject(new FederationError('experiment-failed', `${what} failed: ${reason}`));
      };
      const thread = startThread<WorkerOrder<Cell>, WorkerAnswer<Result>>({
        program: worker,
        name: `worker ${threads.length + 1}`,
        data: { weights } satisfies WorkerStart,
        onMessage: (answer) => {
          switch (answer.kind) {
            case 'ready':
              onReady(answer.weights);
              return next();
            case 'progress':
              return cell && onProgress(cell, answer.progress);
            case 'result':
              onResult(answer.result);
              return next();
            case 'failed':
              return fail(answer.message);
            default:
              return answer satisfies never;
          }
        },
      });
      threads.push(thread);
      thread.ended.catch((thrown: unknown) => fail(`${errorMessage(thrown)}; run the command again to go on`));
    });
  try {
    if (count === 0) return;
    const loaded = Promise.withResolvers<SharedWeights | null>();
    const first = work(null, loaded.resolve);
    const others = async (): Promise<unknown> => {
      // One thread reads the base from disk.
      const weights = await Promise.race([loaded.promise, first.then(() => null)]);
      return Promise.all(Array.from({ length: count - 1 }, () => work(weights, () => undefined)));
    };
    await Promise.all([first, others()]);
  } finally {
    // Whoever is still computing ends with its next step.
    await Promise.all(threads.map((thread) => thread.end()));
  }
}
