/** The comparison as Markdown: the table, who wins against what, what papers say, and the search of learning rates. */
import { spreadOf } from '../experiments/report.ts';
import { chosenRate, type MethodPlan, type MethodResult, rateGrid, searchCells } from './cells.ts';
import type { Contender } from './contenders.ts';
import { type BySeed, differenceOf, differenceText, levelMargin, orderingLines } from './orderings.ts';

/** What {@link methodsMarkdown} needs. */
export interface ReportInput {
  readonly plan: MethodPlan;
  readonly methods: readonly Contender[];
  /** On test rows. */
  readonly results: readonly MethodResult[];
  /** On validation rows. */
  readonly search: readonly MethodResult[];
}

/** Everything as Markdown; methods without a result are named as missing. */
export function methodsMarkdown({ plan, methods, results, search }: ReportInput): string {
  const accuracies = accuraciesOf(results);
  const missing = methods.filter(({ name }) => !accuracies.has(name)).map(({ name }) => name);
  const lines = [
    '| method | settings | learning rate | accuracy | seeds | parameters | s per epoch | bytes per update |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...methods.flatMap((method) => rowOf(method, results)),
    '',
    ...settingsText(plan, results),
    ...(missing.length === 0 ? [] : ['', `Without a result yet: ${missing.join(', ')}.`]),
    '',
    ...(unsearched(plan, methods, search).length === 0
      ? []
      : [
          '**Learning rates were not searched to the end** (below): what follows compares methods at the rates of the table, and is no verdict on any of them at its best.',
          '',
        ]),
    '## Against the controls',
    '',
    ...controlLines(methods, accuracies),
    '',
    '## Against the papers',
    '',
    `Level means within ${100 * levelMargin} points in the mean; ahead means in every seed. The papers adapt bases of a hundred million parameters and more, this one has 1.6 million, so what does not hold here is no refutation.`,
    '',
    ...orderingLines(accuracies),
    '',
    '## Learning rates',
    '',
    ...searchTable(plan, methods, search),
  ];
  return `${lines.join('\n')}\n`;
}

function accuraciesOf(results: readonly MethodResult[]): Map<string, BySeed> {
  const byMethod = Map.groupBy(results, ({ cell }) => cell.method);
  return new Map(
    [...byMethod].map(([method, own]) => [method, new Map(own.map(({ cell, accuracy }) => [cell.seed, accuracy]))]),
  );
}

function rowOf({ name, settings }: Contender, results: readonly MethodResult[]): string[] {
  const own = results.filter(({ cell }) => cell.method === name);
  const [first] = own;
  if (first === undefined) return [];
  const paces = own.flatMap(({ epochSeconds }) => epochSeconds ?? []);
  const pace = paces.length === 0 ? '–' : spreadOf(paces).mean.toFixed(1);
  const cells = [
    first.cell.settings.learningRate ?? '–',
    spreadText(own.map(({ accuracy }) => accuracy)),
    own.length,
    first.updateBytes === 0 ? '–' : grouped(first.parameters),
    pace,
    first.updateBytes === 0 ? '–' : grouped(first.updateBytes),
  ];
  return [`| ${name} | ${settings} | ${cells.join(' | ')} |`];
}

function spreadText(shares: readonly number[]): string {
  const { mean, deviation } = spreadOf(shares.map((share) => 100 * share));
  return deviation === null ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
}

const grouped = (count: number): string => count.toLocaleString('en-US');

function settingsText({ set, settings, validationRows, testRows }: MethodPlan, results: readonly MethodResult[]) {
  const seeds = [...new Set(results.map(({ cell }) => cell.seed))].sort((left, right) => left - right);
  const head = results.find(({ headParameters }) => headParameters > 0)?.headParameters ?? 0;
  const { rows, epochs, lengthMax, batchSize } = settings;
  return [
    `${set} with the base that ships, seeds ${seeds.join(', ')}: each draws ${rows} training rows, start and batches anew; accuracy in percent, mean ± standard deviation, on ${testRows} test rows that no other experiment looked at. ${epochs} passes in batches of ${batchSize}, texts cut to ${lengthMax} tokens, AdamW, linear schedule, mean pooling.`,
    `Parameters are those that train without the head, which has ${grouped(head)} and is the same for all; bytes are of one update as float32 with the head. Seconds are those of one processor; for fusion its second stage alone.`,
    `Learning rates: the best that one search for all had found, on ${validationRows} validation rows with a seed of its own, and whether it came to its end (below).`,
    `Reproduce: \`npm run methods -- --set ${set} --seeds ${Math.max(1, ...seeds)} --rows ${rows} --epochs ${epochs}\` (the data are not part of the repository: \`--data DIR\` or \`TRIBUTARY_DATA\`).`,
  ];
}

function controlLines(methods: readonly Contender[], accuracies: ReadonlyMap<string, BySeed>): string[] {
  const controls = ['probe', 'full', 'naive-bayes'];
  return controls.flatMap((control) => {
    const texts = methods.flatMap(({ name }) => {
      const difference = controls.includes(name) ? null : differenceOf(accuracies.get(name), accuracies.get(control));
      return difference === null ? [] : [{ name, difference }];
    });
    const side = (wins: boolean): string => {
      const own = texts.filter(({ difference }) => difference.mean > 0 === wins);
      const said = own.map(({ name, difference }) => `${name} (${differenceText(difference)})`);
      return said.length === 0 ? 'none' : said.join('; ');
    };
    if (texts.length === 0) return [];
    return [`- Ahead of ${control}: ${side(true)}.`, `- Not ahead of ${control}: ${side(false)}.`];
  });
}

/** Methods whose search of learning rates has not come to its end. */
function unsearched(plan: MethodPlan, methods: readonly Contender[], search: readonly MethodResult[]): string[] {
  return [...new Set(searchCells(methods, plan, search).map(({ method }) => method))];
}

function searchTable(plan: MethodPlan, methods: readonly Contender[], search: readonly MethodResult[]): string[] {
  const rates = rateGrid.filter((rate) => search.some(({ cell }) => cell.settings.learningRate === rate));
  const rows = methods.flatMap((method) => {
    const best = chosenRate(method, plan, search);
    if (best === null) return [];
    const cells = rates.map((rate) => {
      const found = search.find(({ cell }) => cell.method === method.name && cell.settings.learningRate === rate);
      if (found === undefined) return '–';
      const text = found.diverged ? 'diverged' : (100 * found.accuracy).toFixed(1);
      return rate === best ? `**${text}**` : text;
    });
    return [`| ${method.name} | ${cells.join(' | ')} |`];
  });
  const unfinished = unsearched(plan, methods, search);
  return [
    ...(unfinished.length === 0
      ? []
      : [
          `**The search is not finished** for ${unfinished.join(', ')}: these may have better rates beside the one used.`,
          '',
        ]),
    'Accuracy in percent on validation rows; every search begins at 0.01 and goes on beside the best rate until both its neighbours are worse.',
    '',
    `| method | ${rates.join(' | ')} |`,
    `| --- | ${rates.map(() => '---:').join(' | ')} |`,
    ...rows,
  ];
}
