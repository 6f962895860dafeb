/** Runs cells in child processes, one cell at a time in each, so that every core is used: the WebAssembly back end has one thread. */
import { fork } from 'node:child_process';
import { FederationError } from '../../shared/core/errors.ts';
import type { CellProgress } from './run-cell.ts';
import type { WorkerAnswer, WorkerOrder } from './serve-cells.ts';

/** What {@link runCells} needs. */
export interface PoolOptions<Cell, Result> {
  /** Cells in the order in which they start. */
  readonly cells: readonly Cell[];
  readonly folder: string;
  /** The program of a child process, which serves cells with `serveCells`. */
  readonly worker: URL;
  /** Names a cell in messages. */
  readonly nameOf: (cell: Cell) => string;
  /** Child processes, at least 1. */
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
  const children = Array.from({ length: count }, () => fork(worker));
  try {
    await Promise.all(
      children.map((child) => {
        return new Promise<void>((resolve, reject) => {
          let cell: Cell | undefined;
          const next = (): void => {
            cell = queue.shift();
            if (cell === undefined) resolve();
            else child.send({ cell, folder } satisfies WorkerOrder<Cell>);
          };
          const fail = (reason: string): void => {
            const what = cell === undefined ? 'a worker' : nameOf(cell);
            reject(new FederationError('experiment-failed', `${what} failed: ${reason}`));
          };
          child.on('exit', (code, signal) =>
            fail(`its process ended with ${signal ?? code}; run the command again to go on`),
          );
          child.on('message', (answer: WorkerAnswer<Result>) => {
            switch (answer.kind) {
              case 'ready':
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
          });
        });
      }),
    );
  } finally {
    // A child that is still computing ends when its channel closes.
    for (const child of children) if (child.connected) child.disconnect();
  }
}
