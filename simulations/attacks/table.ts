/**
 * `npm run attacks -- [--data DIR] [--seeds 3] [--rounds 3] [--workers 1] [--out DIR] [--tune] [--report]`: every robust rule, the mean and the canary
 * gate under the attacks of the security specification on clinc150 with the base that ships. Finished cells are kept in `OUT/clinc150.jsonl`;
 * calling it again computes what is missing and writes `OUT/clinc150.md` anew. `--tune` chooses settings on validation rows, `--report` only
 * writes the report.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { exitCodes } from '../../shared/command-line/exit-codes.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { readResults } from '../experiments/results-file.ts';
import { computeMissing, log } from '../methods/compute-missing.ts';
import { dataFolder, readFlags, wholeFlag } from '../methods/options.ts';
import { type AttackCell, type AttackResult, attackKey, tableCells, tuneCells } from './table-cells.ts';
import { attackMarkdown, tuneText } from './table-report.ts';
import { sizes, tuned } from './table-settings.ts';

/** What the command was asked for. */
export interface AttackTableOptions {
  readonly data: string;
  readonly seeds: readonly number[];
  readonly rounds: number;
  readonly workers: number;
  readonly out: string;
  readonly tune: boolean;
  readonly report: boolean;
}

/** Reads the flags. @throws UsageError on an unknown flag or a number out of range. */
export function parseAttackOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): AttackTableOptions {
  const { flags, isOn } = readFlags(args, ['data', 'seeds', 'rounds', 'workers', 'out'] as const, ['tune', 'report']);
  return {
    data: dataFolder(flags.data, environment),
    seeds: Array.from({ length: wholeFlag('seeds', flags.seeds, 3) }, (_, index) => index + 1),
    rounds: wholeFlag('rounds', flags.rounds, sizes.rounds),
    workers: wholeFlag('workers', flags.workers, 1),
    out: flags.out ?? fileURLToPath(new URL('.', import.meta.url)),
    tune: isOn('tune'),
    report: isOn('report'),
  };
}

async function run({ data, seeds, rounds, workers, out, tune, report }: AttackTableOptions): Promise<void> {
  mkdirSync(out, { recursive: true });
  const path = join(out, tune ? 'tuning.jsonl' : 'clinc150.jsonl');
  const known = readResults<AttackResult>(path, attackKey);
  const wanted = tune ? tuneCells(tuned.learningRate) : tableCells(seeds, rounds);
  const missing = wanted.filter((cell) => !known.has(attackKey(cell)));
  log(`${wanted.length} federations, ${missing.length} to compute, results in ${path}`);
  if (!report)
    await computeMissing<AttackCell, AttackResult>({
      cells: missing,
      known,
      path,
      folder: data,
      worker: new URL('./table-worker.ts', import.meta.url),
      workerCount: workers,
      keyOf: attackKey,
      describe: ({ method, attack, seed }) => `seed ${seed}, ${method} under ${attack}`,
      describeResult: ({ accuracy, voidRounds }) =>
        `accuracy ${(100 * accuracy).toFixed(1)} %${voidRounds > 0 ? `, ${voidRounds} void` : ''}`,
    });
  const results = wanted.flatMap((cell) => known.get(attackKey(cell)) ?? []);
  if (tune) {
    process.stdout.write(`${tuneText(results)}\n`);
    return;
  }
  const markdown = attackMarkdown(results, `npm run attacks -- --seeds ${seeds.length}`);
  writeFileSync(join(out, 'clinc150.md'), markdown);
  process.stdout.write(markdown);
}

if (import.meta.main) {
  try {
    await run(parseAttackOptions(process.argv.slice(2), process.env));
  } catch (thrown) {
    log(`attacks: ${errorMessage(thrown)}`);
    process.exitCode = thrown instanceof UsageError ? exitCodes.wrongUse : exitCodes.failed;
  }
}
