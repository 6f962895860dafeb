/** Tables of the results: mean and spread over the seeds, and for every dealing whether the claim holds. */
import type { CellResult } from './cells.ts';
import { isPooled } from './cells.ts';
import { type Method, type SetName, setNames, sets } from './settings.ts';

/** Mean and sample standard deviation of some numbers; a single number has no spread. */
export interface Spread {
  readonly mean: number;
  readonly deviation: number | null;
  readonly count: number;
}

/** Mean and spread; at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: count < 2 ? null : Math.sqrt(squares / (count - 1)), count };
}

/** One row of the table: a set under one dealing. */
export interface Row {
  readonly set: SetName;
  readonly dealing: string;
  /** Accuracy by method over the seeds; a method without a result is missing. */
  readonly accuracy: ReadonlyMap<Method, readonly { readonly seed: number; readonly value: number }[]>;
}

/** The rows in the order of the settings; results on other splits or of overridden cells are left out by the caller. */
export function rowsOf(results: readonly CellResult[]): Row[] {
  return setNames.flatMap((set) =>
    sets[set].dealings.flatMap(({ label }): Row[] => {
      const own = results.filter(({ cell }) => cell.set === set && (cell.dealing === label || isPooled(cell.method)));
      if (own.length === 0) return [];
      const accuracy = new Map<Method, { seed: number; value: number }[]>();
      for (const { cell, accuracy: value } of own) {
        const values = accuracy.get(cell.method) ?? [];
        values.push({ seed: cell.seed, value });
        accuracy.set(cell.method, values);
      }
      return [{ set, dealing: label, accuracy }];
    }),
  );
}

/** Whether one method is better than another: the mean difference over the seeds that have both, and in how many of them it is above zero. */
export interface Comparison {
  readonly difference: Spread;
  readonly wins: number;
}

/** Compares seed by seed; null when no seed has both. */
export function compare(row: Row, method: Method, other: Method): Comparison | null {
  const others = new Map(row.accuracy.get(other)?.map(({ seed, value }) => [seed, value]));
  const differences = (row.accuracy.get(method) ?? [])
    .filter(({ seed }) => others.has(seed))
    .map(({ seed, value }) => value - others.get(seed)!);
  if (differences.length === 0) return null;
  return { difference: spreadOf(differences), wins: differences.filter((difference) => difference > 0).length };
}

const columns: readonly (readonly [Method, string])[] = [
  ['naive-bayes', 'naive Bayes, pooled'],
  ['federated-head', 'head alone, federated'],
  ['local-adapter', 'adapter, each client alone (mean)'],
  ['federated-adapter', 'adapter, federated'],
  ['pooled-adapter', 'adapter, pooled (upper bound)'],
];

const percent = (share: number): string => (100 * share).toFixed(1);

function cellText(values: readonly { readonly value: number }[] | undefined): string {
  if (values === undefined) return '–';
  const { mean, deviation } = spreadOf(values.map(({ value }) => value));
  return deviation === null ? percent(mean) : `${percent(mean)} ± ${percent(deviation)}`;
}

/** The table and the verdicts as Markdown; `settings` are lines about what was run. */
export function markdownOf(results: readonly CellResult[], settings: readonly string[]): string {
  const rows = rowsOf(results);
  const lines = [
    `| data | clients | ${columns.map(([, heading]) => heading).join(' | ')} |`,
    `| --- | --- | ${columns.map(() => '---:').join(' | ')} |`,
    ...rows.map(({ set, dealing, accuracy }) => {
      const cells = columns.map(([method]) => cellText(accuracy.get(method)));
      return `| ${set} | ${sets[set].clientCount}, ${dealing} | ${cells.join(' | ')} |`;
    }),
    '',
    ...rows.flatMap((row) => verdicts(row)),
    '',
    ...settings,
  ];
  return `${lines.join('\n')}\n`;
}

/** What `--tune` found as Markdown: accuracy on validation rows by learning rate, the best of every method in bold. */
export function tuningMarkdownOf(results: readonly CellResult[]): string {
  const rates = [...new Set(results.map(({ cell }) => cell.settings.learningRate))].sort(
    (left, right) => (left ?? 0) - (right ?? 0),
  );
  const groups = Map.groupBy(results, ({ cell }) => `${cell.set} | ${cell.method}`);
  const lines = [...groups].map(([name, own]) => {
    const best = Math.max(...own.map(({ accuracy }) => accuracy));
    const cells = rates.map((rate) => {
      const found = own.find(({ cell }) => cell.settings.learningRate === rate);
      if (found === undefined) return '–';
      return found.accuracy === best ? `**${percent(found.accuracy)}**` : percent(found.accuracy);
    });
    return `| ${name} | ${cells.join(' | ')} |`;
  });
  return [
    'Accuracy in percent on validation rows by learning rate (seed 0, the first dealing of every set); the best rate of every method was taken for the',
    'results. Reproduce: `npm run experiments -- --tune`.',
    '',
    `| data | method | ${rates.join(' | ')} |`,
    `| --- | --- | ${rates.map(() => '---:').join(' | ')} |`,
    ...lines,
    '',
  ].join('\n');
}

function verdicts(row: Row): string[] {
  const against: readonly (readonly [Method, string])[] = [
    ['federated-head', 'the federated head alone'],
    ['local-adapter', 'the mean local adapter'],
    ['naive-bayes', 'naive Bayes on pooled rows'],
    ['pooled-adapter', 'the pooled adapter'],
  ];
  return against.flatMap(([method, name]) => {
    const comparison = compare(row, 'federated-adapter', method);
    if (comparison === null) return [];
    const { difference, wins } = comparison;
    const spread = difference.deviation === null ? '' : ` ± ${percent(difference.deviation)}`;
    const word = difference.mean > 0 ? 'wins' : 'loses';
    const points = `${difference.mean > 0 ? '+' : ''}${percent(difference.mean)}${spread} points`;
    return [
      `- ${row.set}, ${row.dealing}: the federated adapter ${word} against ${name} (${points}; better in ${wins} of ${difference.count} seeds).`,
    ];
  });
}
