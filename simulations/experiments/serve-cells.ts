/** The child's side of `runCells`: its parent sends one cell after the other, it answers with progress and results. */
import process from 'node:process';
import { type BackendName, useBackend } from '../../shared/compute/backend.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { loadBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { CellProgress } from './run-cell.ts';

/** What the parent sends: a cell and where the data are. */
export interface WorkerOrder<Cell> {
  readonly cell: Cell;
  readonly folder: string;
}

/** What the worker answers. */
export type WorkerAnswer<Result> =
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: CellProgress }
  | { readonly kind: 'result'; readonly result: Result }
  | { readonly kind: 'failed'; readonly message: string };

/** What computes a cell on the base that ships. */
export type CellRunner<Cell, Result> = (
  options: WorkerOrder<Cell> & {
    readonly base: LoadedBase;
    readonly onProgress: (progress: CellProgress) => void;
  },
) => Promise<Result>;

/** Makes this process a worker until its parent has no more cells. */
export async function serveCells<Cell, Result>(
  runCell: CellRunner<Cell, Result>,
  backend: BackendName = 'wasm',
): Promise<void> {
  /** Sends an answer. A parent that has gone ends this process through `disconnect`; that it cannot be told is no further fault. */
  const answer = (message: WorkerAnswer<Result>): void => void process.send?.(message, () => {});
  await useBackend(backend);
  const base = await loadBase(pretrainedFolder());
  process.on('message', (order: WorkerOrder<Cell>) => {
    runCell({ ...order, base, onProgress: (progress) => answer({ kind: 'progress', progress }) }).then(
      (result) => answer({ kind: 'result', result }),
      (thrown: unknown) => answer({ kind: 'failed', message: errorMessage(thrown) }),
    );
  });
  process.on('disconnect', () => process.exit());
  answer({ kind: 'ready' });
}
