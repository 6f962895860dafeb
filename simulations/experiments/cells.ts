/** The unit of work of the experiments: one method on one set, dealing and seed, whose result is one line of a file. */
import { batchSize, type Method, methods, type SetName, sets } from './settings.ts';

/** One training, or one baseline. `dealing` is null where the rows are pooled, so that one result serves every dealing. */
export interface Cell {
  readonly set: SetName;
  readonly dealing: string | null;
  readonly seed: number;
  readonly method: Method;
  /** Which file it is measured on: `validation` for choosing settings, `test` for what is reported. */
  readonly split: 'validation' | 'test';
  readonly settings: CellSettings;
}

/** The numbers that decide a cell's result, so that a result of other settings is never taken for it. */
export interface CellSettings {
  readonly rows: number;
  readonly testRows: number;
  /** Rows of the split that were looked at before and are left out. */
  readonly passedOver: number;
  readonly clientCount: number;
  readonly rounds: number;
  readonly lengthMax: number;
  readonly batchSize: number;
  /** Null for naive Bayes. */
  readonly learningRate: number | null;
}

/** Settings that a command may replace. */
export type CellOverride = Partial<Pick<CellSettings, 'rows' | 'rounds' | 'learningRate' | 'passedOver'>>;

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
export function cellKey({ set, dealing, seed, method, split, settings }: Cell): string {
  const { rows, testRows, passedOver, clientCount, rounds, lengthMax, learningRate } = settings;
  const numbers = [rows, testRows, passedOver, clientCount, rounds, lengthMax, settings.batchSize, learningRate];
  return JSON.stringify([set, dealing, seed, method, split, ...numbers]);
}

/** The settings of a set for one method, with what replaces them. */
function settingsOf(set: SetName, method: Method, override: CellOverride, learningRate?: number): CellSettings {
  const { rows, testRows, clientCount, rounds, lengthMax, rates } = sets[set];
  const ownRate = method === 'naive-bayes' ? null : rates[method];
  const rate = method === 'naive-bayes' ? null : (override.learningRate ?? learningRate ?? ownRate);
  const numbers = { rows, testRows, passedOver: 0, clientCount, rounds, lengthMax, batchSize };
  return { ...numbers, ...override, learningRate: rate };
}

/** What {@link cellsOf} needs. */
export interface CellsOptions {
  readonly names: readonly SetName[];
  readonly seeds: readonly number[];
  readonly override: CellOverride;
}

/** Test rows, the first that are drawn, on which earlier settings were measured: what is reported is measured on others. */
const seenTestRows = 1000;

/** The cells of the reported runs: seed by seed, so that an interrupted run has whole seeds; the upper bounds, which no claim needs, come last. */
export function cellsOf({ names, seeds, override }: CellsOptions): Cell[] {
  const cells = seeds.flatMap((seed) => names.flatMap((set) => cellsOfSet(set, seed, override)));
  const isBound = ({ method }: Cell): boolean => method === 'pooled-adapter';
  return [...cells.filter((cell) => !isBound(cell)), ...cells.filter(isBound)];
}

function cellsOfSet(set: SetName, seed: number, override: CellOverride): Cell[] {
  const cell = (method: Method, dealing: string | null): Cell => {
    return {
      set,
      dealing,
      seed,
      method,
      split: 'test',
      settings: { ...settingsOf(set, method, override), passedOver: override.passedOver ?? seenTestRows },
    };
  };
  const dealt = methods.filter((method) => !isPooled(method));
  return [
    ...methods.filter(isPooled).map((method) => cell(method, null)),
    ...sets[set].dealings.flatMap(({ label }) => dealt.map((method) => cell(method, label))),
  ];
}

/** Whether a method sees all rows at once, so that dealing them to clients changes nothing. */
export function isPooled(method: Method): boolean {
  return method === 'naive-bayes' || method === 'pooled-adapter';
}

/** Learning rates that `--tune` tries: five for every adapter, seven for heads, which bear larger ones. */
const tunedRates = {
  adapter: [1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
  head: [3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1, 3],
} as const;

/** The cells of `--tune`: the trained methods on the validation split with seed 0, on the first dealing of every set. */
export function tuningCells(names: readonly SetName[], override: CellOverride): Cell[] {
  return names.flatMap((set) =>
    methods
      .filter((method) => method !== 'naive-bayes')
      .flatMap((method) => {
        const dealing = isPooled(method) ? null : sets[set].dealings[0]!.label;
        const rates = method === 'federated-head' ? tunedRates.head : tunedRates.adapter;
        return rates.map((learningRate): Cell => {
          const settings = settingsOf(set, method, override, learningRate);
          return { set, dealing, seed: 0, method, split: 'validation', settings };
        });
      }),
  );
}
