/** `tributary train`: an adapter on the rows of this machine alone, without a federation; the result is an adapter folder and its metrics. */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { labelsOf, type Row } from '../../shared/data/row.ts';
import { type ColumnMapping, readRows } from '../../shared/data/rows.node.ts';
import { splitHeldOut } from '../../shared/data/split.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { defaultTraining, type ScheduleName, type TrainingConfiguration } from '../../shared/training/configuration.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import { metricsText } from './metrics-text.ts';
import {
  adapterSettings,
  addColumnOptions,
  addComputeOptions,
  type ColumnOptions,
  type ComputeOptions,
  numberIn,
  wholeNumber,
} from './options.ts';

interface TrainOptions extends ComputeOptions, ColumnOptions {
  readonly base?: string;
  readonly train: string;
  readonly heldOut?: string;
  readonly heldOutFraction: number;
  readonly adapter: string;
  readonly adapterConfig?: string;
  readonly pooling?: 'first' | 'last' | 'mean';
  readonly lengthMax?: number;
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  readonly seed: number;
  readonly out: string;
}

/** What `train` reports. */
export interface TrainReport {
  /** Folder of the adapter. */
  readonly adapter: string;
  readonly modelHash: string;
  readonly base: { readonly digest: string; readonly family: string };
  readonly method: string;
  readonly pooling: string;
  readonly labels: number;
  readonly parameters: { readonly trainable: number; readonly frozen: number };
  /** Rows trained on, rows held out, and texts that were cut. */
  readonly rows: { readonly train: number; readonly heldOut: number; readonly truncated: number };
  readonly steps: number;
  /** Mean loss over all steps. */
  readonly trainLoss: number;
  /** Metrics on the held-out rows; null when none were held out. */
  readonly heldOut: Metrics | null;
  readonly seconds: number;
  readonly backend: string;
}

/** Longest texts when nobody says otherwise: what a small base covers. */
const lengthMaxPreset = 128;

/** Adds `train`. */
export function register(program: Command, context: CommandContext): void {
  const command = program
    .command('train')
    .requiredOption('--train <file>', 'labelled rows to train on (.jsonl or .csv, plain or .gz)')
    .requiredOption('--out <folder>', 'where the adapter goes')
    .option('--base <folder>', 'the frozen base model (default: the one that ships)')
    .option('--held-out <file>', 'labelled rows to measure on')
    .option(
      '--held-out-fraction <share>',
      'share of the training rows to measure on instead',
      numberIn({ atLeast: 0, below: 1 }),
      0.1,
    )
    .option('--adapter <method>', 'lora, bottleneck, or none for a head alone', 'lora')
    .option('--adapter-config <json>', "the method's settings: a JSON object, or a file that holds one")
    .addOption(
      new Option(
        '--pooling <way>',
        'token that stands for the text (default: first on encoders, mean on decoders)',
      ).choices(['first', 'last', 'mean']),
    )
    .option(
      '--length-max <tokens>',
      `longest text (default: ${lengthMaxPreset}, or what the base covers)`,
      wholeNumber(1),
    )
    .option('--epochs <count>', 'passes over the rows', wholeNumber(1), 3)
    .option('--batch-size <rows>', 'rows per step', wholeNumber(1), defaultTraining.batchSize)
    .option('--learning-rate <rate>', 'highest learning rate', numberIn({ above: 0 }), defaultTraining.learningRate)
    .addOption(
      new Option('--schedule <name>', 'how the rate moves after warm-up')
        .choices(['constant', 'linear', 'cosine'])
        .default(defaultTraining.schedule),
    )
    .option('--seed <number>', 'decides start values, batches, dropout and what is held out', wholeNumber(0), 1);
  addComputeOptions(addColumnOptions(command)).action(async (options: TrainOptions) => {
    const report = await trainAdapter(options, context);
    context.report(report, reportText(report));
  });
}

/** Rows on both sides and the labels of the task. */
interface TaskRows {
  readonly train: readonly Row[];
  readonly heldOut: readonly Row[];
  readonly labels: readonly string[];
}

async function readTask(options: TrainOptions): Promise<TaskRows> {
  const mapping: ColumnMapping = { text: options.textColumn, label: options.labelColumn };
  const all = await readRows(options.train, mapping);
  const { train, heldOut } =
    options.heldOut === undefined
      ? splitHeldOut(all, options.heldOutFraction, options.seed)
      : { train: all, heldOut: await readRows(options.heldOut, mapping) };
  // The labels of a split file are all of its labels: a rare one that is held out whole is still part of the task.
  const labels = labelsOf(all);
  if (labels.length < 2) {
    throw new UsageError(
      'one-label',
      `${options.train}: expected rows of at least two labels in "${mapping.label}", found only ${JSON.stringify(labels[0])}`,
    );
  }
  return { train, heldOut, labels };
}

/** The asked length, or the preset as far as the base goes. @throws UsageError when the base covers less than was asked for. */
function lengthMaxOf(asked: number | undefined, { positionsMax, family }: BaseDescription): number {
  if (asked === undefined) return Math.min(lengthMaxPreset, positionsMax);
  if (asked <= positionsMax) return asked;
  throw new UsageError(
    'text-too-long',
    `--length-max: expected at most ${positionsMax}, the positions of this ${family} base, found ${asked}`,
  );
}

async function trainAdapter(options: TrainOptions, context: CommandContext): Promise<TrainReport> {
  // Loaded here: TensorFlow.js costs a second that a wrong option does not need.
  const [{ readyBase }, { parseAdapter }, { createAdapterDocument }, { writeAdapterFolder }, training] =
    await Promise.all([
      import('./base.ts'),
      import('../../shared/adapters/registry.ts'),
      import('../../shared/adapters/adapter-document.ts'),
      import('../../shared/adapters/adapter-folder.node.ts'),
      import('./training.ts'),
    ]);
  const settings = await adapterSettings(options.adapter, options.adapterConfig);
  const rows = await readTask(options);
  const { model, tokenizer, backend } = await readyBase(options, context);
  const { description } = model;
  const task = {
    kind: 'classification',
    labels: rows.labels,
    pooling: options.pooling ?? (description.causal ? 'mean' : 'first'),
    lengthMax: lengthMaxOf(options.lengthMax, description),
  } as const;
  const adapter = parseAdapter(settings, description);
  const configuration: TrainingConfiguration = {
    ...defaultTraining,
    localEpochs: options.epochs,
    batchSize: options.batchSize,
    learningRate: options.learningRate,
    schedule: options.schedule,
  };
  const { seed } = options;
  const trained = await training.trainClassifier(
    { model, tokenizer, adapter, task, rows, configuration, seed },
    context,
  );
  const { layout, parameters, result, heldOut, truncatedCount } = trained;
  const document = createAdapterDocument({
    base: description,
    adapter: adapter.configuration,
    task,
    layout,
    parameters,
  });
  await writeAdapterFolder(options.out, document);
  model.dispose();
  return {
    adapter: options.out,
    modelHash: document.modelHash,
    base: document.base,
    method: adapter.method,
    pooling: task.pooling,
    labels: rows.labels.length,
    parameters: { trainable: layout.dim, frozen: description.parameterCount },
    rows: { train: rows.train.length, heldOut: rows.heldOut.length, truncated: truncatedCount },
    steps: result.steps,
    trainLoss: result.meanLoss,
    heldOut,
    seconds: result.seconds,
    backend: backend.name,
  };
}

function reportText(report: TrainReport): string {
  const { rows, parameters } = report;
  const cut = rows.truncated === 0 ? '' : `, ${rows.truncated} texts cut`;
  return [
    `trained ${report.method} on ${rows.train} rows of ${report.labels} labels in ${report.steps} steps and ${report.seconds.toFixed(1)} s (${report.backend})${cut}`,
    `  parameters  ${parameters.trainable} trained, ${parameters.frozen} frozen`,
    `  held out    ${report.heldOut === null ? 'nothing' : metricsText(report.heldOut)}`,
    `  adapter     ${report.adapter}`,
    `Measure it on other rows: tributary evaluate --adapter ${report.adapter} --data FILE`,
  ].join('\n');
}
