/** The transfer between languages as Markdown: accuracy by language, and who is ahead of whom. */
import { spreadOf } from '../experiments/report.ts';
import { differenceOf, differenceText, verdictOf } from './orderings.ts';
import { type TransferResult, type TransferSettings, transferMethods } from './transfer.ts';

/** A table with a row for every language, sources first, and what the differences are. */
export function transferMarkdown(settings: TransferSettings, results: readonly TransferResult[]): string {
  const { sources, targets } = settings;
  const methods = transferMethods.filter((method) => results.some(({ cell }) => cell.method === method));
  const textOf = (shareOf: (result: TransferResult) => number) =>
    methods.map((method) => {
      const own = results.filter(({ cell }) => cell.method === method).map((result) => 100 * shareOf(result));
      const { mean, deviation } = spreadOf(own);
      return deviation === null ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
    });
  const row = (language: string, role: string): string =>
    `| ${language} | ${role} | ${textOf(({ byLanguage }) => byLanguage[language]!).join(' | ')} |`;
  const seeds = [...new Set(results.map(({ cell }) => cell.seed))].sort((left, right) => left - right);
  const { rows, testRows, passes, languagePasses, lengthMax, batchSize, learningRate, languageLearningRate } = settings;
  const lines = [
    `| language | labelled rows | ${methods.join(' | ')} |`,
    `| --- | --- | ${methods.map(() => '---:').join(' | ')} |`,
    ...sources.map((language) => row(language, `up to ${rows}`)),
    ...targets.map((language) => row(language, 'none')),
    `| mean of those without | | ${textOf(({ accuracy }) => accuracy).join(' | ')} |`,
    '',
    ...claimLines(results),
    '',
    `Accuracy in percent on ${testRows} test rows of each language, mean ± standard deviation, seeds ${seeds.join(', ')}. Base: the one that ships, trained on English alone. Task adapter: a bottleneck of hidden / 16 after every block, ${passes} passes over the languages in turn in batches of ${batchSize}, texts cut to ${lengthMax} tokens, learning rate ${learningRate} for all, as found on clinc150; nothing was chosen on xsid. Language adapters: invertible, and a bottleneck of hidden / 2 after every block, ${languagePasses} passes over the unlabelled training texts of the language at ${languageLearningRate}.`,
    `Reproduce: \`npm run methods:transfer -- --seeds ${Math.max(1, ...seeds)} --rows ${rows}\`.`,
  ];
  return `${lines.join('\n')}\n`;
}

function claimLines(results: readonly TransferResult[]): string[] {
  const bySeed = (method: string) =>
    new Map(results.filter(({ cell }) => cell.method === method).map(({ cell, accuracy }) => [cell.seed, accuracy]));
  const claims = [
    [
      'language-adapters',
      'task-adapter',
      'Pfeiffer 2020b, on multilingual bases of a hundred million parameters and more',
    ],
    ['task-adapter', 'probe', 'that what an adapter learns carries over'],
  ] as const;
  return claims.flatMap(([method, other, source]) => {
    const difference = differenceOf(bySeed(method), bySeed(other));
    if (difference === null) return [];
    const verdict = verdictOf({ is: 'ahead' }, difference);
    return [
      `- Without labelled rows, ${method} ahead of ${other} (${source}): ${verdict} (${differenceText(difference)}).`,
    ];
  });
}
