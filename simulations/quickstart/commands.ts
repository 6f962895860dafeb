/** `tributary quickstart`: a whole federation on this machine, compared with its baselines. */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { type Command, Option } from 'commander';
import {
  addBaseComputeOptions,
  addColumnOptions,
  addMetricOption,
  type BaseComputeOptions,
  type ColumnOptions,
  wholeNumber,
} from '../../client/commands/options.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { parsePartition } from '../../shared/data/partition.ts';
import { plainTaskKinds, type TaskKind } from '../../shared/plan/task.ts';
import type { MetricName } from '../../shared/training/metrics.ts';
import { type AdapterName, adapterNames, type DataFiles, type QuickstartOptions } from './options.ts';
import type { QuickstartResult } from './run.ts';

interface Flags extends ColumnOptions, BaseComputeOptions {
  readonly base?: string;
  readonly train?: string;
  readonly test?: string;
  readonly clients: number;
  readonly partition?: string;
  readonly rounds: number;
  readonly localEpochs: number;
  readonly task: TaskKind;
  readonly classWeights?: string;
  readonly metric?: MetricName;
  readonly adapter: AdapterName;
  readonly seed: number;
  readonly out: string;
}

/** Adds `quickstart`. */
export function register(program: Command, context: CommandContext): void {
  const command = program
    .command('quickstart')
    .option(
      '--base <folder>',
      'checkpoint of the frozen base, a folder or hf:owner/name@revision (default: the small one that ships)',
    )
    .option(
      '--train <file>',
      'training rows: .jsonl, .json, .csv, .tsv (each also .gz) or .parquet (default: the sample)',
    )
    .option('--test <file>', 'test rows; goes with --train')
    .option('--clients <count>', 'sites', wholeNumber(1), 4)
    .option(
      '--partition <kind>',
      'how training rows are dealt to sites: iid, natural, natural:COLUMN, dirichlet:ALPHA (default: natural on the sample, dirichlet:0.5 on your labelled texts, else iid)',
    )
    .option('--rounds <count>', 'rounds of the federation', wholeNumber(1), 8)
    .option('--local-epochs <count>', 'passes over its rows that a site makes per round', wholeNumber(1), 1)
    .addOption(new Option('--task <kind>', 'what is learned').choices(plainTaskKinds).default('classification'))
    .option(
      '--class-weights <weights>',
      'balanced, or a number per label in the order of the labels, separated by commas',
    )
    .addOption(new Option('--adapter <method>', 'what is trained').choices(adapterNames).default('bottleneck'))
    .option('--seed <number>', 'decides partition, start values, batches and dropout', wholeNumber(0), 1)
    .option('--out <folder>', 'where results go', 'quickstart-output');
  addBaseComputeOptions(addMetricOption(addColumnOptions(command))).action(async (flags: Flags) => {
    const asked = optionsOf(flags);
    const [{ resolveBaseFolder }, { runQuickstart }, { reportPage }, { comparisonOf, comparisonTables, verdictOf }] =
      await Promise.all([
        import('../../shared/model/hub.node.ts'),
        import('./run.ts'),
        import('./report.ts'),
        import('./summary.ts'),
      ]);
    const { baseFolder } = asked;
    const options = { ...asked, baseFolder: baseFolder === null ? null : await resolveBaseFolder(baseFolder, context) };
    const result = await runQuickstart(options, context);
    writeFileSync(result.folder.report, reportPage(result));
    const { summary } = result;
    const tables = comparisonTables(summary, comparisonOf(summary, result.head?.traffic ?? null));
    context.report(
      summary,
      [
        '',
        tables,
        '',
        verdictOf(summary),
        ...summary.missing.map((why) => `Not compared: ${why}.`),
        '',
        ...nextSteps(result, flags),
      ].join('\n'),
    );
  });
}

/** What the flags ask for. @throws UsageError when they contradict each other. */
export function optionsOf(flags: Flags): QuickstartOptions {
  const data = dataOf(flags);
  return {
    baseFolder: flags.base ?? null,
    data,
    clientCount: flags.clients,
    partition: parsePartition(flags.partition ?? defaultPartition(flags, data)),
    rounds: flags.rounds,
    localEpochs: flags.localEpochs,
    task: flags.task,
    classWeights: flags.classWeights ?? null,
    metric: flags.metric ?? null,
    adapter: flags.adapter,
    backend: flags.backend,
    threads: flags.threads,
    frozenWeights: flags.frozenWeights,
    seed: flags.seed,
    outFolder: flags.out,
  };
}

function defaultPartition({ task }: Flags, data: DataFiles | null): string {
  if (data === null) return 'natural';
  return task === 'classification' || task === 'multi-label' ? 'dirichlet:0.5' : 'iid';
}

function dataOf({ train, test, textColumn, labelColumn, labelNames }: Flags): DataFiles | null {
  if (train === undefined && test === undefined) return null;
  if (train === undefined || test === undefined) {
    const [given, missing] = train === undefined ? ['--test', '--train'] : ['--train', '--test'];
    throw new UsageError('missing-data', `${given} needs ${missing}: give both files, or neither for the sample`);
  }
  return {
    train,
    test,
    textColumn: textColumn ?? null,
    labelColumn: labelColumn ?? null,
    labelNames: labelNames ?? null,
  };
}

/** Where things are, and a command that works as it stands. */
function nextSteps({ folder, summary, baseFolder, options }: QuickstartResult, { base }: Flags): string[] {
  const shown = (path: string): string => {
    const near = relative(process.cwd(), path);
    const short = near === '' || near.startsWith('..') ? path : near;
    return /[^\w./\\:@+-]/.test(short) ? JSON.stringify(short) : short;
  };
  // Unbuilt files are those of the repository, whose command is a script; the installed package has the command itself.
  const command = import.meta.url.endsWith('.ts') ? 'npm run --silent tributary --' : 'npx tributary';
  const onBase = base === undefined ? '' : ` --base ${shown(baseFolder)}`;
  const seconds = summary.seconds.toFixed(0);
  return [
    `Done in ${seconds} s on ${summary.backend}.`,
    `  adapter  ${shown(folder.adapter)}`,
    `  report   ${shown(folder.report)}`,
    `  figures  ${shown(folder.summary)}`,
    'Next, measure the adapter on any rows, or see what the coordinator published:',
    `  ${command} evaluate --adapter ${shown(folder.adapter)}${onBase} --data ${shown(folder.testFile)}`,
    `  ${command} adapters list --state ${shown(folder.coordinator('adapter'))}`,
    ...(options.data === null
      ? ['With your own rows:', `  ${command} quickstart --train FILE --test FILE --partition dirichlet:0.5`]
      : []),
  ];
}
