/** Computes cells in child processes with one line of progress, and keeps every result at once. */
import process from 'node:process';
import { createProgress } from '../../shared/command-line/progress.ts';
import { runCells } from '../experiments/pool.ts';
import { appendResult } from '../experiments/results-file.ts';

/** What {@link computeMissing} needs. */
export interface ComputeOptions<Cell, Result> {
  readonly cells: readonly Cell[];
  /** Results that exist, by key; those that are computed are added. */
  readonly known: Map<string, Result>;
  /** File of JSON lines to which results are appended. */
  readonly path: string;
  readonly folder: string;
  readonly worker: URL;
  readonly workerCount: number;
  readonly keyOf: (cell: Cell) => string;
  /** A cell, and a result, for people. */
  readonly describe: (cell: Cell) => string;
  readonly describeResult: (result: Result) => string;
}

/** Writes a line for people. */
export function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Computes the cells that have no result yet. @throws FederationError with the first cell that failed. */
export async function computeMissing<Cell, Result extends { cell: Cell & { method: string }; accuracy: number }>(
  options: ComputeOptions<Cell, Result>,
): Promise<void> {
  const { known, path, folder, worker, workerCount, keyOf, describe, describeResult } = options;
  const cells = options.cells.filter((cell) => !known.has(keyOf(cell)));
  if (cells.length === 0) return;
  const line = createProgress(
    { label: 'methods', unit: 'steps', total: 100 * cells.length },
    {
      writeError: (text) => void process.stderr.write(text),
      interactive: process.stderr.isTTY === true,
      columns: () => process.stderr.columns ?? 80,
      nowMs: () => performance.now(),
    },
  );
  const shares = new Map<string, number>();
  await runCells<Cell, Result>({
    cells,
    folder,
    worker,
    nameOf: keyOf,
    workerCount,
    onProgress: (cell, { done, total, note }) => {
      shares.set(keyOf(cell), done / total);
      line.update(100 * [...shares.values()].reduce((sum, share) => sum + share, 0), `${describe(cell)}  ${note}`);
    },
    onResult: (result) => {
      shares.set(keyOf(result.cell), 1);
      known.set(keyOf(result.cell), result);
      appendResult(path, result);
      log(`${describe(result.cell)}  ${describeResult(result)}`);
    },
  });
  line.finish();
}
