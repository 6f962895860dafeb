/**
 * `npm run methods:transfer -- [--seeds 3] [--methods probe,task-adapter,language-adapters] [--rows N] [--workers N] [--data DIR] [--out DIR]
 * [--report]`: intents of xsid learned in some languages and asked for in others, with and without language adapters. Resumable, with its results in
 * `OUT/transfer.jsonl`, `OUT/transfer.json` and `OUT/transfer.md`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { exitCodes } from '../../shared/command-line/exit-codes.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { readResults } from '../experiments/results-file.ts';
import { computeMissing, log } from './compute-missing.ts';
import { dataFolder, namesFlag, readFlags, wholeFlag } from './options.ts';
import {
  type TransferCell,
  type TransferResult,
  type TransferSettings,
  transferKey,
  transferMethods,
} from './transfer.ts';
import { transferMarkdown } from './transfer-report.ts';

/** Sizes, and the rates that the search on another set, clinc150, found for these adapters; nothing was chosen on xsid. */
export const transferSettings: TransferSettings = {
  sources: ['en', 'de', 'it'],
  targets: ['de-ba', 'gsw', 'nap', 'nl', 'da', 'no-B', 'id', 'lt', 'tr', 'sr'],
  rows: 400,
  testRows: 150,
  passes: 3,
  languagePasses: 2,
  lengthMax: 32,
  batchSize: 16,
  learningRate: 1e-2,
  languageLearningRate: 3e-3,
};

async function run(args: readonly string[]): Promise<void> {
  const { flags, isOn } = readFlags(args, ['seeds', 'methods', 'rows', 'workers', 'data', 'out'], ['report']);
  const methods = namesFlag('methods', flags.methods, transferMethods);
  const settings = { ...transferSettings, rows: wholeFlag('rows', flags.rows, transferSettings.rows) };
  const out = flags.out ?? fileURLToPath(new URL('.', import.meta.url));
  mkdirSync(out, { recursive: true });
  const path = join(out, 'transfer.jsonl');
  const known = readResults<TransferResult>(path, transferKey);
  const seeds = Array.from({ length: wholeFlag('seeds', flags.seeds, 3) }, (_, index) => index + 1);
  const cells = seeds.flatMap((seed) => methods.map((method): TransferCell => ({ method, seed, settings })));
  if (!isOn('report'))
    await computeMissing<TransferCell, TransferResult>({
      cells,
      known,
      path,
      folder: dataFolder(flags.data, process.env),
      worker: new URL('./transfer-worker.ts', import.meta.url),
      workerCount: wholeFlag('workers', flags.workers, 1),
      keyOf: transferKey,
      describe: ({ method, seed }) => `xsid, seed ${seed}, ${method}`,
      describeResult: ({ accuracy }) => `${(100 * accuracy).toFixed(1)} % in the mean of the target languages`,
    });
  const results = cells.flatMap((cell) => known.get(transferKey(cell)) ?? []);
  const markdown = transferMarkdown(settings, results);
  writeFileSync(join(out, 'transfer.json'), `${JSON.stringify({ settings, results }, null, 2)}\n`);
  writeFileSync(join(out, 'transfer.md'), markdown);
  process.stdout.write(markdown);
}

if (import.meta.main) {
  try {
    await run(process.argv.slice(2));
  } catch (thrown) {
    log(`methods:transfer: ${errorMessage(thrown)}`);
    process.exitCode = thrown instanceof UsageError ? exitCodes.wrongUse : exitCodes.failed;
  }
}
