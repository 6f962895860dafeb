/** `tributary data split`: training, validation and test rows of a file, the same ones for the same seed, and nobody's rows on two sides. */
import { type Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../core/errors.ts';
import { collectFaults, faultText } from '../data/row-faults.ts';
import { splitSides } from '../data/split.ts';
import { splitFile } from '../data/split-file.node.ts';
import type { CommandContext } from './context.ts';

interface SplitFlags {
  readonly out: string;
  readonly validation: number;
  readonly test: number;
  readonly textColumn?: string;
  readonly groupColumn?: string;
  readonly seed: number;
  readonly skipBadRows?: boolean;
}

/** Adds `split` to `data`. */
export function registerSplit(data: Command, context: CommandContext): void {
  data
    .command('split')
    .description('split a file into training, validation and test rows (.jsonl.gz), the same for the same seed')
    .argument('<file>', 'rows: .jsonl, .json, .csv, .tsv or .parquet, a folder or a pattern of them')
    .requiredOption('--out <folder>', 'where the parts go')
    .option('--validation <share>', 'share of the rows for validation', share, 0.1)
    .option('--test <share>', 'share of the rows for the test', share, 0.1)
    .option('--text-column <name>', 'equal texts stay on one side (default: text, messages, prompt, tokens or words)')
    .option('--group-column <name>', 'rows of one group (a patient, a customer) stay on one side')
    .option('--seed <number>', 'decides which rows go where', wholeNumber, 1)
    .option('--skip-bad-rows', 'leave out rows that cannot be read, and say which')
    .action(async (file: string, flags: SplitFlags) => split(file, flags, context));
}

async function split(file: string, flags: SplitFlags, context: CommandContext): Promise<void> {
  const { out, validation, test, textColumn, groupColumn, seed, skipBadRows } = flags;
  if (validation + test >= 1) {
    throw new UsageError('bad-split', `--validation and --test leave nothing to train on: ${validation} and ${test}`);
  }
  const faults = collectFaults();
  const progress = context.progress({ label: 'split', unit: 'rows' });
  const counts = await splitFile({
    path: file,
    folder: out,
    settings: { validation, test, seed },
    ...(textColumn === undefined ? {} : { textColumn }),
    ...(groupColumn === undefined ? {} : { groupColumn }),
    ...(skipBadRows === true ? { faults } : {}),
    signal: context.signal,
    onProgress: (rows) => progress.update(rows),
  });
  progress.finish();
  for (const fault of faults.first) context.log(`left out: ${faultText(fault)}`);
  const { leftOut } = counts;
  const lines = [
    `${file}: ${splitSides.map((side) => `${counts[side]} ${side}`).join(', ')} rows in ${out}`,
    ...(leftOut === 0 ? [] : [`  ${leftOut} rows left out: their text stands on another side, in another group`]),
    ...(faults.count === 0 ? [] : [`  ${faults.count} rows left out that cannot be read`]),
  ];
  context.report({ folder: out, rows: counts, badRows: faults.count, firstBadRows: faults.first }, lines.join('\n'));
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value < 1))
    throw new InvalidArgumentError('Expected a number of at least 0 and below 1.');
  return value;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('Expected a whole number of at least 0.');
  return value;
}
