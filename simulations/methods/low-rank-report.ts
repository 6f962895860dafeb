/** Federations under rules for low-rank pairs as Markdown. */
import { spreadOf } from '../experiments/report.ts';
import type { SkewDealing, SkewResult, SkewRule } from './low-rank-skew.ts';
import { differenceOf, differenceText, verdictOf } from './orderings.ts';

type Measured = 'published' | 'personalised' | 'local';

/** One claim of the replication: who is ahead of whom in what. */
interface Claim {
  readonly text: string;
  readonly better: readonly [SkewRule, SkewDealing, Measured];
  readonly worse: readonly [SkewRule, SkewDealing, Measured];
}

const claims: readonly Claim[] = [
  {
    text: 'factor-avg publishes a better model from evenly dealt rows than from skewed ones',
    better: ['factor-avg', 'even', 'published'],
    worse: ['factor-avg', 'skewed', 'published'],
  },
  {
    text: 'with skewed labels factor-avg publishes a better model than its clients hold after their own training',
    better: ['factor-avg', 'skewed', 'published'],
    worse: ['factor-avg', 'skewed', 'local'],
  },
  {
    text: 'with skewed labels what factor-avg publishes is better than what share-a publishes',
    better: ['factor-avg', 'skewed', 'published'],
    worse: ['share-a', 'skewed', 'published'],
  },
  {
    text: 'with skewed labels what factor-avg publishes is better than share-a with a client’s own parts',
    better: ['factor-avg', 'skewed', 'published'],
    worse: ['share-a', 'skewed', 'personalised'],
  },
];

/** A table by dealing and rule, and the replication's claims. */
export function lowRankMarkdown(results: readonly SkewResult[]): string {
  const groups = Map.groupBy(results, ({ cell }) => `${cell.dealing} | ${cell.method}`);
  const rows = [...groups].map(([name, own]) => {
    const text = (measured: Measured) => spreadText(own.map((result) => result[measured]));
    const bias = own.flatMap(({ measures }) => measures['factor-bias'] ?? []);
    const share = bias.length === 0 ? '–' : spreadOf(bias).mean.toFixed(3);
    const bytes = own[0]!.updateBytes.toLocaleString('en-US');
    return `| ${name} | ${own.length} | ${text('published')} | ${text('personalised')} | ${text('local')} | ${share} | ${bytes} |`;
  });
  const [first] = results;
  const lines = [
    '| labels | rule | seeds | published | with own parts | after own training | factor bias | bytes per update |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
    '',
    ...claims.flatMap((claim) => claimLine(claim, results)),
    '',
    ...(first === undefined
      ? []
      : [`Settings: \`${JSON.stringify(first.cell.settings)}\`. Accuracy in percent on the same test rows.`]),
    'Reproduce: `npm run methods:low-rank`.',
  ];
  return `${lines.join('\n')}\n`;
}

function spreadText(shares: readonly number[]): string {
  const { mean, deviation } = spreadOf(shares.map((share) => 100 * share));
  return deviation === null ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
}

function claimLine({ text, better, worse }: Claim, results: readonly SkewResult[]): string[] {
  const bySeed = ([rule, dealing, measured]: Claim['better']) =>
    new Map(
      results
        .filter(({ cell }) => cell.method === rule && cell.dealing === dealing)
        .map((result) => [result.cell.seed, result[measured]]),
    );
  const difference = differenceOf(bySeed(better), bySeed(worse));
  if (difference === null) return [];
  return [`- ${text}: ${verdictOf({ is: 'ahead' }, difference)} (${differenceText(difference)}).`];
}
