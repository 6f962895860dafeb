/**
 * `npm run methods:low-rank -- [--seeds 3] [--rules factor-avg,freeze-a] [--rows N] [--rounds N] [--workers N] [--data DIR] [--out DIR] [--report]`:
 * rules for low-rank pairs, evenly dealt and with skewed labels. Resumable, with its results in `OUT/low-rank.jsonl`, `OUT/low-rank.json` and
 * `OUT/low-rank.md`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { exitCodes } from '../../shared/command-line/exit-codes.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { readResults } from '../experiments/results-file.ts';
import { computeMissing, log } from './compute-missing.ts';
import { lowRankMarkdown } from './low-rank-report.ts';
import { type SkewCell, type SkewResult, type SkewRule, skewKey, skewRules } from './low-rank-skew.ts';
import { dataFolder, namesFlag, readFlags, wholeFlag } from './options.ts';

/** As the replication has it, on texts and rows that one core trains in minutes. */
const defaults = {
  clientCount: 5,
  rounds: 10,
  rows: 1500,
  testRows: 600,
  alpha: 0.1,
  rank: 8,
  lengthMax: 32,
  batchSize: 16,
  learningRate: 1e-2,
} as const;

async function run(args: readonly string[]): Promise<void> {
  const { flags, isOn } = readFlags(args, ['seeds', 'rules', 'rows', 'rounds', 'workers', 'data', 'out'], ['report']);
  const rules = namesFlag('rules', flags.rules, Object.keys(skewRules) as SkewRule[]);
  const settings = {
    ...defaults,
    rows: wholeFlag('rows', flags.rows, defaults.rows),
    rounds: wholeFlag('rounds', flags.rounds, defaults.rounds),
  };
  const out = flags.out ?? fileURLToPath(new URL('.', import.meta.url));
  mkdirSync(out, { recursive: true });
  const path = join(out, 'low-rank.jsonl');
  const known = readResults<SkewResult>(path, skewKey);
  const seeds = Array.from({ length: wholeFlag('seeds', flags.seeds, 3) }, (_, index) => index + 1);
  const cells = seeds.flatMap((seed) =>
    (['skewed', 'even'] as const).flatMap((dealing) =>
      rules.map((method): SkewCell => ({ method, dealing, seed, settings })),
    ),
  );
  if (!isOn('report'))
    await computeMissing<SkewCell, SkewResult>({
      cells,
      known,
      path,
      folder: dataFolder(flags.data, process.env),
      worker: new URL('./low-rank-worker.ts', import.meta.url),
      workerCount: wholeFlag('workers', flags.workers, 1),
      keyOf: skewKey,
      describe: ({ method, dealing, seed }) => `${dealing}, seed ${seed}, ${method}`,
      describeResult: ({ published, personalised, local }) =>
        [published, personalised, local].map((share) => `${(100 * share).toFixed(1)} %`).join(', '),
    });
  const results = cells.flatMap((cell) => known.get(skewKey(cell)) ?? []);
  const markdown = lowRankMarkdown(results);
  writeFileSync(join(out, 'low-rank.json'), `${JSON.stringify({ settings, results }, null, 2)}\n`);
  writeFileSync(join(out, 'low-rank.md'), markdown);
  process.stdout.write(markdown);
}

if (import.meta.main) {
  try {
    await run(process.argv.slice(2));
  } catch (thrown) {
    log(`methods:low-rank: ${errorMessage(thrown)}`);
    process.exitCode = thrown instanceof UsageError ? exitCodes.wrongUse : exitCodes.failed;
  }
}
