/** The unit of work of the experiments: one method on one set, dealing and seed, whose result is one line of a file. */
import { type Method, methods, type SetName, sets } from './settings.ts';

/** One training, or one baseline. `dealing` is null where the rows are pooled, so that one result serves every dealing. */
export interface Cell {
  readonly set: SetName;
  readonly dealing: string | null;
  readonly seed: number;
  readonly method: Method;
  /** Which file it is measured on: `validation` for choosing settings, `test` for what is reported. */
  readonly split: 'validation' | 'test';
  /** Numbers that replace the settings' own. */
  readonly override: CellOverride;
}

/** Settings that a cell, or a command, may replace. */
export interface CellOverride {
  readonly rows?: number;
  readonly rounds?: number;
  readonly learningRate?: number;
}

/** What came out. */
export interface CellResult {
  readonly cell: Cell;
  /** Shares of the test rows; the mean over the clients for `local-adapter`. */
  readonly accuracy: number;
  readonly macroF1: number;
  /** Mean cross-entropy; null for naive Bayes. */
  readonly loss: number | null;
  /** Accuracy of every client's own adapter on all test rows; empty for other methods. */
  readonly clients: readonly number[];
  readonly trainRows: number;
  readonly testRows: number;
  readonly seconds: number;
}

/** Names a cell: two cells with the same key have the same result. */
export function cellKey({ set, dealing, seed, method, split, override }: Cell): string {
  const { rows, rounds, learningRate } = override;
  return JSON.stringify([set, dealing, seed, method, split, rows ?? null, rounds ?? null, learningRate ?? null]);
}

/** What {@link cellsOf} needs. */
export interface CellsOptions {
  readonly names: readonly SetName[];
  readonly seeds: readonly number[];
  readonly override: CellOverride;
}

/** The cells of the reported runs: seed by seed, so that an interrupted run has whole seeds. */
export function cellsOf({ names, seeds, override }: CellsOptions): Cell[] {
  return seeds.flatMap((seed) => names.flatMap((set) => cellsOfSet(set, seed, override)));
}

function cellsOfSet(set: SetName, seed: number, override: CellOverride): Cell[] {
  const pooled = methods.filter((method) => isPooled(method));
  const dealt = methods.filter((method) => !isPooled(method));
  const fixed = { set, seed, split: 'test', override } as const;
  return [
    ...pooled.map((method) => ({ ...fixed, dealing: null, method })),
    ...sets[set].dealings.flatMap(({ label }) => dealt.map((method) => ({ ...fixed, dealing: label, method }))),
  ];
}

/** Whether a method sees all rows at once, so that dealing them to clients changes nothing. */
export function isPooled(method: Method): boolean {
  return method === 'naive-bayes' || method === 'pooled-adapter';
}

/** Learning rates that `--tune` tries for adapters and for heads. */
const tunedRates = { adapter: [3e-3, 1e-2, 2e-2], head: [1e-2, 3e-2, 1e-1, 3e-1] } as const;

/** The cells of `--tune`: the trained methods on the validation split with seed 0, on the first dealing of every set. */
export function tuningCells(names: readonly SetName[], override: CellOverride): Cell[] {
  return names.flatMap((set) =>
    methods
      .filter((method) => method !== 'naive-bayes')
      .flatMap((method) => {
        const dealing = isPooled(method) ? null : sets[set].dealings[0]!.label;
        const rates = method === 'federated-head' ? tunedRates.head : tunedRates.adapter;
        return rates.map((learningRate): Cell => {
          return { set, dealing, seed: 0, method, split: 'validation', override: { ...override, learningRate } };
        });
      }),
  );
}
