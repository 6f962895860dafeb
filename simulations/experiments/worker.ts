/** A process that computes cells: its parent sends one after the other, it answers with progress and results. */
import process from 'node:process';
import { useBackend } from '../../shared/compute/backend.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { loadBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import type { Cell, CellResult } from './cells.ts';
import { type CellProgress, runCell } from './run-cell.ts';

/** What the parent sends: a cell and where the data are. */
export interface WorkerOrder {
  readonly cell: Cell;
  readonly folder: string;
}

/** What the worker answers. */
export type WorkerAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: CellProgress }
  | { readonly kind: 'result'; readonly result: CellResult }
  | { readonly kind: 'failed'; readonly message: string };

/** Sends an answer. A parent that has gone ends this process through `disconnect`; that it cannot be told is no further fault. */
const answer = (message: WorkerAnswer): void => void process.send?.(message, () => {});

await useBackend('wasm');
const base = await loadBase(pretrainedFolder());
process.on('message', (order: WorkerOrder) => {
  runCell({ ...order, base, onProgress: (progress) => answer({ kind: 'progress', progress }) }).then(
    (result) => answer({ kind: 'result', result }),
    (thrown: unknown) => answer({ kind: 'failed', message: errorMessage(thrown) }),
  );
});
process.on('disconnect', () => process.exit());
answer({ kind: 'ready' });
