/** Cells of the table of attacks: one defence under one attack with one seed, whose result is one line of a file. */
import {
  type DefenceName,
  defenceNames,
  sizes,
  type TableAttack,
  type Tuned,
  tableAttacks,
  tuned,
  tunedGrid,
} from './table-settings.ts';

/** One federation. */
export interface AttackCell {
  /** The defence. */
  readonly method: DefenceName;
  readonly attack: TableAttack;
  readonly seed: number;
  readonly split: 'validation' | 'test';
  readonly settings: Tuned & typeof sizes;
}

/** What came out. */
export interface AttackResult {
  readonly cell: AttackCell;
  /** On rows of the split, after the last round. */
  readonly accuracy: number;
  /** Share of rows with the trigger, of other intents, that are taken for the intent of the backdoor. */
  readonly backdoor: number;
  /** Rounds without a version: the gate refused the candidate, or the rule had no answer. */
  readonly voidRounds: number;
  readonly seconds: number;
}

/** Names a cell: two cells with the same key have the same result. */
export function attackKey({ method, attack, seed, split, settings }: AttackCell): string {
  const numbers = Object.entries(settings).sort(([left], [right]) => (left < right ? -1 : 1));
  return JSON.stringify([method, attack, seed, split, numbers]);
}

/** The cells of the table, seed by seed, so that an interrupted run has whole seeds. */
export function tableCells(seeds: readonly number[], rounds: number): AttackCell[] {
  const settings = { ...sizes, ...tuned, rounds: rounds as typeof sizes.rounds };
  return seeds.flatMap((seed) =>
    tableAttacks.flatMap((attack) =>
      defenceNames.map((method): AttackCell => ({ method, attack, seed, split: 'test', settings })),
    ),
  );
}

/** The cells of `--tune`: learning rates without an attack, norms without and under one. */
export function tuneCells(learningRate: number): AttackCell[] {
  const cell = (method: DefenceName, attack: TableAttack, own: Tuned): AttackCell => {
    return { method, attack, seed: 0, split: 'validation', settings: { ...sizes, ...own } };
  };
  const rates = tunedGrid.learningRates.map((rate) => cell('none', 'none', { learningRate: rate, normFactor: 1 }));
  const norms = tunedGrid.normFactors.flatMap((normFactor) =>
    (['norm-clip', 'centred-clip'] as const).flatMap((method) =>
      (['none', 'sign-flip-10'] as const).map((attack) => cell(method, attack, { learningRate, normFactor })),
    ),
  );
  return [...rates, ...norms];
}
