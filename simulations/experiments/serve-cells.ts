/** The thread's side of `runCells`: computes one cell after the other on the base that ships, whose weights it shares with the other threads. */
import { useBackend } from '../../shared/compute/backend.ts';
import { loadOver, loadShared, type SharedWeights, sharesWeights } from '../../shared/compute/shared-weights.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { serveThread } from '../../shared/core/thread.node.ts';
import { loadBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { CellProgress } from './run-cell.ts';

/** What a thread is given: the weights of the base, unless it is to load them. */
export interface WorkerStart {
  readonly weights: SharedWeights | null;
}

/** What it is sent: a cell and where the data are. */
export interface WorkerOrder<Cell> {
  readonly cell: Cell;
  readonly folder: string;
}

/** What it answers. */
export type WorkerAnswer<Result> =
  /** `weights`: what it loaded for the others, null where nothing can be shared. */
  | { readonly kind: 'ready'; readonly weights: SharedWeights | null }
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

/** Makes this thread a worker until it is asked to end; it computes on `native`, whose weights threads share, or where that does not work on `wasm`. */
export function serveCells<Cell, Result>(runCell: CellRunner<Cell, Result>): void {
  serveThread<WorkerOrder<Cell>, WorkerAnswer<Result>>(async ({ weights }: WorkerStart, { post, signal }) => {
    await useBackend('native').catch(() => useBackend('wasm'));
    const { base, weights: loaded } = await open(weights);
    post({ kind: 'ready', weights: loaded });
    return async (order) => {
      const onProgress = (progress: CellProgress): void => {
        // Nobody wants the rest of a cell any more.
        signal.throwIfAborted();
        post({ kind: 'progress', progress });
      };
      try {
        post({ kind: 'result', result: await runCell({ ...order, base, onProgress }) });
      } catch (thrown) {
        post({ kind: 'failed', message: errorMessage(thrown) });
      }
    };
  });
}

async function open(
  weights: SharedWeights | null,
): Promise<{ readonly base: LoadedBase; readonly weights: SharedWeights | null }> {
  const load = () => loadBase(pretrainedFolder());
  if (weights !== null) return { base: await loadOver(weights, load), weights: null };
  return sharesWeights() ? loadShared(load) : { base: await load(), weights: null };
}
