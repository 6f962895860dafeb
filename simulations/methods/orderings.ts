/** What papers say about which method is ahead of which, and whether results agree: seed by seed, in sentences. */
import { spreadOf } from '../experiments/report.ts';

/** A published ordering of two methods. */
export interface Ordering {
  readonly paper: string;
  readonly method: string;
  /** `ahead`: better than `other`; `level`: as good within {@link levelMargin}. */
  readonly is: 'ahead' | 'level';
  readonly other: string;
}

/** Difference in accuracy up to which two methods count as level. */
export const levelMargin = 0.02;

/** The orderings that the table can be held against. */
export const orderings: readonly Ordering[] = [
  { paper: 'Houlsby 2019', method: 'houlsby', is: 'level', other: 'full' },
  { paper: 'Pfeiffer 2021', method: 'pfeiffer', is: 'level', other: 'houlsby' },
  { paper: 'Pfeiffer 2021', method: 'fusion', is: 'ahead', other: 'pfeiffer' },
  { paper: 'He 2022', method: 'parallel', is: 'ahead', other: 'pfeiffer' },
  { paper: 'He 2022', method: 'parallel', is: 'ahead', other: 'prefix' },
  { paper: 'Steitz and Roth 2024', method: 'adapterplus', is: 'ahead', other: 'pfeiffer' },
  { paper: 'Mahabadi 2021', method: 'compacter', is: 'level', other: 'full' },
  { paper: 'Hu 2021', method: 'lora', is: 'level', other: 'full' },
  { paper: 'Hu 2021', method: 'lora', is: 'ahead', other: 'prefix' },
  { paper: 'Liu 2024', method: 'dora', is: 'ahead', other: 'lora' },
  { paper: 'Kopiczko 2024', method: 'vera', is: 'level', other: 'lora' },
  { paper: 'Liu 2022', method: 'ia3', is: 'ahead', other: 'lora' },
  { paper: 'Ben Zaken 2022', method: 'bias', is: 'level', other: 'full' },
  { paper: 'Lester 2021, for bases as small as this', method: 'full', is: 'ahead', other: 'prompt' },
  { paper: 'Wang 2022', method: 'mixture', is: 'ahead', other: 'pfeiffer' },
];

/** Accuracy by seed. */
export type BySeed = ReadonlyMap<number, number>;

/** How two methods compare over the seeds that have both; null where no seed has. */
export interface Difference {
  readonly mean: number;
  readonly deviation: number | null;
  readonly wins: number;
  readonly losses: number;
  readonly count: number;
}

/** The difference `left - right` seed by seed. */
export function differenceOf(left: BySeed | undefined, right: BySeed | undefined): Difference | null {
  const differences = [...(left ?? [])].flatMap(([seed, value]) => {
    const other = right?.get(seed);
    return other === undefined ? [] : [value - other];
  });
  if (differences.length === 0) return null;
  const { mean, deviation, count } = spreadOf(differences);
  const wins = differences.filter((difference) => difference > 0).length;
  const losses = differences.filter((difference) => difference < 0).length;
  return { mean, deviation, wins, losses, count };
}

/** Whether an ordering holds: for `ahead` in every seed or in none of them, else the seeds do not agree. */
export function verdictOf({ is }: Pick<Ordering, 'is'>, { mean, wins, losses, count }: Difference): string {
  if (is === 'level') return Math.abs(mean) <= levelMargin ? 'holds here' : 'does not hold here';
  if (count === 1) return wins === 1 ? 'is so in the one seed' : 'is not so in the one seed';
  if (wins === count) return 'holds here';
  return losses === count ? 'is reversed here' : 'is undecided here';
}

const points = (share: number): string => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)}`;

/** `+3.1 ± 0.4 points, better in 3 of 3 seeds`. */
export function differenceText({ mean, deviation, wins, count }: Difference): string {
  const spread = deviation === null ? '' : ` ± ${(100 * deviation).toFixed(1)}`;
  return `${points(mean)}${spread} points, better in ${wins} of ${count} seed${count === 1 ? '' : 's'}`;
}

/** A line for every ordering that results can decide. */
export function orderingLines(accuracies: ReadonlyMap<string, BySeed>): string[] {
  return orderings.flatMap((ordering) => {
    const { paper, method, is, other } = ordering;
    const difference = differenceOf(accuracies.get(method), accuracies.get(other));
    if (difference === null) return [];
    const claim = is === 'ahead' ? `${method} ahead of ${other}` : `${method} level with ${other}`;
    return [`- ${claim} (${paper}): ${verdictOf(ordering, difference)} (${differenceText(difference)}).`];
  });
}
