/**
 * The units of work of the comparison: one method, seed and learning rate. Learning rates are searched on validation rows with a seed of their
 * own, for every method on the same grid and in the same way: beginning in its middle, downhill in loss of accuracy, until the best rate found
 * lies between two worse ones or at an end.
 */
import type { SetName } from '../experiments/settings.ts';
import type { Contender } from './contenders.ts';

/** One training, or naive Bayes. */
export interface MethodCell {
  readonly set: SetName;
  readonly seed: number;
  /** Name of a contender. */
  readonly method: string;
  /** `validation` for choosing a learning rate, `test` for what is reported. */
  readonly split: 'validation' | 'test';
  readonly settings: MethodSettings;
}

/** The numbers that decide a result. */
export interface MethodSettings {
  readonly rows: number;
  readonly testRows: number;
  /** Rows of the split that other experiments looked at and that are left out. */
  readonly passedOver: number;
  readonly epochs: number;
  readonly lengthMax: number;
  readonly batchSize: number;
  /** Null for naive Bayes. */
  readonly learningRate: number | null;
}

/** What came out. */
export interface MethodResult {
  readonly cell: MethodCell;
  /** Share of the rows of the split; 0 of a training that diverged. */
  readonly accuracy: number;
  readonly macroF1: number;
  /** Mean cross-entropy; null for naive Bayes and where the training diverged. */
  readonly loss: number | null;
  readonly diverged: boolean;
  /** Values that training changes, without the head, and those of the head. */
  readonly parameters: number;
  readonly headParameters: number;
  /** One update of a federation as float32, head included, before any compression. */
  readonly updateBytes: number;
  /** Processor seconds of one pass over the training rows; null for naive Bayes. */
  readonly epochSeconds: number | null;
  readonly trainRows: number;
  readonly testRows: number;
}

/** Names a cell: two cells with the same key have the same result. */
export function methodKey({ set, seed, method, split, settings }: MethodCell): string {
  const { rows, testRows, passedOver, epochs, lengthMax, batchSize, learningRate } = settings;
  return JSON.stringify([
    set,
    seed,
    method,
    split,
    rows,
    testRows,
    passedOver,
    epochs,
    lengthMax,
    batchSize,
    learningRate,
  ]);
}

/** Half decades around what adapters on small bases want; heads and vectors want more, whole models less. */
export const rateGrid = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1] as const;
/** Where every search begins. */
const firstRate = 1e-2;
/** The seed of the search, which no reported cell has. */
const tuningSeed = 0;

/** What both kinds of cells share. */
export interface MethodPlan {
  readonly set: SetName;
  readonly settings: Omit<MethodSettings, 'testRows' | 'passedOver' | 'learningRate'>;
  readonly validationRows: number;
  readonly testRows: number;
  /** Test rows that other experiments looked at. */
  readonly passedOver: number;
}

/** Accuracy on validation rows by place in the grid. */
function found(method: string, { set }: MethodPlan, results: readonly MethodResult[]): Map<number, number> {
  return new Map(
    results
      .filter(({ cell }) => cell.set === set && cell.method === method && cell.split === 'validation')
      .map(({ cell, accuracy }) => [placeOf(cell.settings.learningRate), accuracy]),
  );
}

function placeOf(learningRate: number | null): number {
  return (rateGrid as readonly (number | null)[]).indexOf(learningRate);
}

/** Place of the best rate, the lower of two that are alike; undefined before anything was tried. */
function bestPlace(accuracies: ReadonlyMap<number, number>): number | undefined {
  const places = [...accuracies.keys()].sort((left, right) => left - right);
  return places.reduce<number | undefined>(
    (best, place) => (best === undefined || accuracies.get(place)! > accuracies.get(best)! ? place : best),
    undefined,
  );
}

/** The cells that the search of every method wants next, `results` being all that is known; none when all are done. */
export function searchCells(
  methods: readonly Contender[],
  plan: MethodPlan,
  results: readonly MethodResult[],
): MethodCell[] {
  return methods.flatMap(({ name, learner }) => {
    if (learner.kind === 'naive-bayes') return [];
    const known = found(name, plan, results);
    const best = bestPlace(known);
    const middle = rateGrid.indexOf(firstRate);
    const wanted = best === undefined ? [middle] : [best - 1, best + 1];
    return wanted
      .filter((place) => place in rateGrid && !known.has(place))
      .map((place): MethodCell => {
        const settings = {
          ...plan.settings,
          testRows: plan.validationRows,
          passedOver: 0,
          learningRate: rateGrid[place]!,
        };
        return { set: plan.set, seed: tuningSeed, method: name, split: 'validation', settings };
      });
  });
}

/** The best rate that the search found; null for naive Bayes and where nothing was tried. */
export function chosenRate({ name }: Contender, plan: MethodPlan, results: readonly MethodResult[]): number | null {
  const best = bestPlace(found(name, plan, results));
  return best === undefined ? null : rateGrid[best]!;
}

/** The reported cells, seed by seed, so that an interrupted run has whole seeds. */
export function testCells(
  methods: readonly Contender[],
  seeds: readonly number[],
  plan: MethodPlan,
  results: readonly MethodResult[],
): MethodCell[] {
  const { set, settings, testRows, passedOver } = plan;
  return seeds.flatMap((seed) =>
    methods.map((method): MethodCell => {
      const learningRate = chosenRate(method, plan, results);
      return {
        set,
        seed,
        method: method.name,
        split: 'test',
        settings: { ...settings, testRows, passedOver, learningRate },
      };
    }),
  );
}
