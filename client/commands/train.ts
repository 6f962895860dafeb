/** `tributary train`: an adapter on the rows of this machine alone, without a federation; the result is an adapter folder and its metrics. */
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { soloMethodNames } from '../../shared/adapters/method-names.ts';
import { routingLines, type SiteRouting } from '../../shared/adapters/routing-statistics.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatBytes } from '../../shared/command-line/progress.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { labelsOfTask, type Pooling, type Task, type TaskKind, taskKinds } from '../../shared/plan/task.ts';
import { parseTraining } from '../../shared/plan/training.ts';
import { defaultTraining, type ScheduleName, type TrainingConfiguration } from '../../shared/training/configuration.ts';
import type { MetricName, Metrics } from '../../shared/training/metrics.ts';
import { bindTask, rowForms } from '../../shared/training/tasks/registry.ts';
import { trainedCount } from '../../shared/update/layout.ts';
import { metricsText } from './metrics-text.ts';
import {
  type ActivationOptions,
  activationSettings,
  adapterSettings,
  addActivationOptions,
  addBaseComputeOptions,
  addColumnOptions,
  addMetricOption,
  type BaseComputeOptions,
  type ColumnOptions,
  columnsOf,
  jsonSettings,
  memoryRowsPreset,
  metricOf,
  numberIn,
  wholeNumber,
} from './options.ts';
import type { RowFiles } from './rows.ts';
import { lengthMaxPreset, taskOf } from './task-options.ts';

interface TrainOptions extends BaseComputeOptions, ColumnOptions, ActivationOptions {
  readonly base?: string;
  readonly train: string;
  readonly heldOut?: string;
  readonly heldOutFraction: number;
  readonly adapter: string;
  readonly adapterConfig?: string;
  readonly start?: string;
  readonly beside?: readonly string[];
  readonly task: TaskKind;
  readonly metric?: MetricName;
  readonly pooling?: Pooling;
  readonly head?: 'linear' | 'published';
  readonly classWeights?: string;
  readonly maskFraction?: number;
  readonly lengthMax?: number;
  readonly epochs: number;
  readonly keep: 'last' | 'best';
  readonly batchSize: number;
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  readonly trainingConfig?: string;
  readonly memoryRows: number;
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
  readonly task: TaskKind;
  /** The way of pooling; null where the task has none. */
  readonly pooling: string | null;
  /** Labels of the task; 0 for language models. */
  readonly labels: number;
  readonly parameters: { readonly trainable: number; readonly frozen: number };
  /** Rows trained on, rows held out, rows that were cut for their length, and those of them of which nothing was left to score. */
  readonly rows: {
    readonly train: number;
    readonly heldOut: number;
    readonly truncated: number;
    readonly dropped: number;
  };
  /** Examples trained on: a long text of a language model is several. */
  readonly examples: number;
  readonly steps: number;
  /** Mean loss over all steps. */
  readonly trainLoss: number;
  /** The metric that counts. */
  readonly metric: MetricName;
  /** Which pass over the rows is kept, from 1. */
  readonly pass: number;
  /** Whether the held-out rows chose the pass: then their metrics look better than those of other rows will. */
  readonly isChosen: boolean;
  /** Metrics on the held-out rows; null when none were held out. */
  readonly heldOut: Metrics | null;
  /** How mixtures routed the tokens of all steps; empty without one. */
  readonly routing: readonly SiteRouting[];
  readonly seconds: number;
  readonly backend: string;
}

/** Adds `train`. */
export function register(program: Command, context: CommandContext): void {
  const command = program
    .command('train')
    .requiredOption('--train <file>', 'rows to train on (.jsonl, .json, .csv, .tsv, each also .gz, or .parquet)')
    .requiredOption('--out <folder>', 'where the adapter goes')
    .option(
      '--base <folder>',
      'the frozen base model, a folder or hf:owner/name@revision (default: the one that ships)',
    )
    .option('--held-out <file>', 'rows to measure on')
    .option(
      '--held-out-fraction <share>',
      'share of the training rows to measure on instead',
      numberIn({ atLeast: 0, below: 1 }),
      0.1,
    )
    .option(
      '--adapter <method>',
      `${soloMethodNames.join(', ')} (none: a head alone), or one that joins others, as its --adapter-config says`,
      'lora',
    )
    .option('--adapter-config <json>', "the method's settings: a JSON object, or a file that holds one")
    .option('--start <folder>', 'an adapter to go on from, with its method and settings in place of --adapter')
    .option(
      '--beside <folders>',
      'earlier adapters, separated by commas, that act below the new one and stay as they are, bit for bit',
      (text: string) => text.split(','),
    )
    .addOption(new Option('--task <kind>', 'what is learned').choices(taskKinds).default('classification'))
    .option(
      '--class-weights <weights>',
      'balanced, or a number per label in the order of the labels, separated by commas',
    )
    .option(
      '--mask-fraction <share>',
      'masked: share of the tokens that are guessed (default: 0.15)',
      numberIn({ above: 0, below: 1 }),
    )
    .addOption(
      new Option(
        '--pooling <way>',
        'token that stands for the text (default: first on encoders, mean on decoders)',
      ).choices(['first', 'last', 'mean']),
    )
    .addOption(
      new Option(
        '--head <form>',
        'linear (default), or published: as Transformers builds it on the family, for exports that change nothing',
      ).choices(['linear', 'published']),
    )
    .option(
      '--length-max <tokens>',
      `longest text (default: ${lengthMaxPreset}, or what the base covers)`,
      wholeNumber(1),
    )
    .option('--epochs <count>', 'passes over the rows', wholeNumber(1), 3)
    .addOption(
      new Option(
        '--keep <pass>',
        'which pass over the rows is kept: the last, or the best by --metric on the held-out rows',
      )
        .choices(['last', 'best'])
        .default('last'),
    )
    .option('--batch-size <rows>', 'rows per step', wholeNumber(1), defaultTraining.batchSize)
    .option('--learning-rate <rate>', 'highest learning rate', numberIn({ above: 0 }), defaultTraining.learningRate)
    .addOption(
      new Option('--schedule <name>', 'how the rate moves after warm-up')
        .choices(['constant', 'linear', 'cosine'])
        .default(defaultTraining.schedule),
    )
    .option(
      '--training-config <json>',
      "what else local training does: fields of a plan's section training, as a JSON object or a file that holds one",
    )
    .option(
      '--memory-rows <count>',
      'longer files are streamed, through a temporary file where they do not fit into memory',
      wholeNumber(0),
      memoryRowsPreset,
    )
    .option('--seed <number>', 'decides start values, batches, dropout, masks and what is held out', wholeNumber(0), 1);
  addActivationOptions(addBaseComputeOptions(addMetricOption(addColumnOptions(command)))).action(
    async (options: TrainOptions, used: Command) => {
      const isGiven = (option: string): boolean => used.getOptionValueSource(option) === 'cli';
      const report = await trainAdapter(options, isGiven, context);
      context.report(report, reportText(report));
    },
  );
}

/** Local training as `--training-config` says it; options that are given have the last word, presets the first. */
async function trainingOf(
  { epochs, batchSize, learningRate, schedule, seed, trainingConfig }: TrainOptions,
  isGiven: (option: string) => boolean,
): Promise<TrainingConfiguration & { readonly seed: number }> {
  const presets = { batchSize, learningRate, schedule, seed };
  if (trainingConfig === undefined) return { ...defaultTraining, ...presets, localEpochs: epochs };
  const { settings, source } = await jsonSettings(trainingConfig, {
    option: '--training-config',
    code: 'bad-training',
    what: 'fields of the section training of a plan',
  });
  const given = Object.fromEntries(Object.entries(presets).filter(([name]) => isGiven(name)));
  const isOpen = settings.localEpochs === undefined && settings.localSteps === undefined;
  const length = isGiven('epochs') || isOpen ? { localEpochs: epochs, localSteps: undefined } : {};
  return parseTraining({ ...presets, ...settings, ...length, ...given }, source);
}

/** The adapter of `--start`; null without it. */
async function startOf({ start, beside, adapterConfig }: TrainOptions): Promise<AdapterDocument | null> {
  if (start === undefined) return null;
  if (beside !== undefined) {
    throw new UsageError(
      'bad-option',
      '--start goes on with one adapter, --beside begins a new one: give one of the two',
    );
  }
  if (adapterConfig !== undefined) {
    throw new UsageError(
      'bad-option',
      `--start has the settings of its adapter, so --adapter-config must be left out, found ${adapterConfig}`,
    );
  }
  const { readAdapterFolder } = await import('../../shared/adapters/adapter-folder.node.ts');
  return readAdapterFolder(start);
}

/** The start of a new adapter on top of those of `--beside`; null without any. */
async function besideOf(
  { adapter, adapterConfig, beside }: TrainOptions,
  where: { readonly base: BaseDescription; readonly task: Task; readonly seed: number },
): Promise<AdapterDocument | null> {
  if (beside === undefined) return null;
  const [{ readAdapterFolder }, { adapterBeside }] = await Promise.all([
    import('../../shared/adapters/adapter-folder.node.ts'),
    import('../../shared/adapters/composition/beside.ts'),
  ]);
  const earlier = await Promise.all(
    beside.map(async (folder) => ({ id: basename(resolve(folder)), document: await readAdapterFolder(folder) })),
  );
  return adapterBeside({ earlier, adapter: await adapterSettings(adapter, adapterConfig), ...where });
}

async function trainAdapter(
  options: TrainOptions,
  isGiven: (option: string) => boolean,
  context: CommandContext,
): Promise<TrainReport> {
  // Loaded here: TensorFlow.js costs a second that a wrong option does not need.
  const [
    { readyBase },
    { parseAdapter },
    { adapterOnBase },
    { createAdapterDocument },
    { writeAdapterFolder },
    training,
    rows,
  ] = await Promise.all([
    import('./base.ts'),
    import('../../shared/adapters/registry.ts'),
    import('../../shared/adapters/document-on-base.ts'),
    import('../../shared/adapters/adapter-document.ts'),
    import('../../shared/adapters/adapter-folder.node.ts'),
    import('./training.ts'),
    import('./rows.ts'),
  ]);
  const given = await startOf(options);
  const configuration = await trainingOf(options, isGiven);
  const { seed } = configuration;
  const files: RowFiles = { ...options, seed, columns: columnsOf(options) };
  const form = rowForms[options.task];
  const survey = await rows.surveyRows(files, form);
  const { model, tokenizer, backend } = await readyBase(options, context);
  const { description } = model;
  const task: Task = taskOf(options, { ...survey, base: description, source: options.train });
  const bound = bindTask(task);
  const metric = metricOf(options.metric, bound);
  const start = given ?? (await besideOf(options, { base: description, task, seed }));
  if (start !== null) adapterOnBase(start, description);
  const settings = start?.adapter ?? (await adapterSettings(options.adapter, options.adapterConfig));
  const adapter = parseAdapter(settings, description);
  const collect = (side: 'train' | 'heldOut') =>
    rows.collectRows(rows.rowsOfSide(side, files, survey, form), {
      task: bound,
      tokenizer,
      vocabularySize: description.vocabularySize,
      signal: context.signal,
    });
  const train = await collect('train');
  const heldOut = await collect('heldOut');
  const truncated = train.truncatedCount + heldOut.truncatedCount;
  const dropped = train.droppedCount + heldOut.droppedCount;
  if (train.source.fileBytes > 0)
    context.log(`${train.source.count} examples in a temporary file of ${formatBytes(train.source.fileBytes)}`);
  if (train.source.count === 0) {
    throw new UsageError(
      'no-rows',
      `${options.train}: none of ${train.rowCount} training rows leaves anything to score within ${task.lengthMax} tokens`,
    );
  }
  if (options.keep === 'best' && heldOut.source.count === 0)
    throw new UsageError(
      'no-rows',
      '--keep best needs held-out rows to choose by; give --held-out or --held-out-fraction',
    );
  const keepBy = options.keep === 'best' ? metric : null;
  const trained = await training.trainModel(
    {
      model,
      tokenizer,
      adapter,
      task,
      train: train.source,
      heldOut: heldOut.source,
      configuration,
      seed,
      keepBy,
      start,
      activations: activationSettings(options),
    },
    context,
  );
  const { layout, parameters, result } = trained;
  const document = createAdapterDocument({
    base: description,
    adapter: adapter.configuration,
    task,
    layout,
    parameters,
    heldOut: trained.heldOut,
  });
  await writeAdapterFolder(options.out, document);
  model.dispose();
  for (const { source } of [train, heldOut]) await source.close();
  return {
    adapter: options.out,
    modelHash: document.modelHash,
    base: document.base,
    method: adapter.method,
    task: task.kind,
    pooling: 'pooling' in task ? task.pooling : null,
    labels: labelsOfTask(task).length,
    parameters: {
      trainable: trainedCount(layout),
      frozen: description.parameterCount + layout.dim - trainedCount(layout),
    },
    rows: { train: train.rowCount, heldOut: heldOut.rowCount, truncated, dropped },
    examples: train.source.count,
    steps: result.steps,
    trainLoss: result.meanLoss,
    metric,
    pass: trained.pass,
    isChosen: keepBy !== null,
    heldOut: trained.heldOut,
    routing: trained.routing,
    seconds: result.seconds,
    backend: backend.name,
  };
}

function reportText(report: TrainReport): string {
  const { rows, parameters } = report;
  const what = report.labels === 0 ? ` (${report.task})` : ` of ${report.labels} labels`;
  return [
    `trained ${report.method} on ${rows.train} rows${what} in ${report.steps} steps and ${report.seconds.toFixed(1)} s (${report.backend})${cutText(rows)}`,
    `  parameters  ${parameters.trainable} trained, ${parameters.frozen} frozen`,
    `  held out    ${report.heldOut === null ? 'nothing' : metricsText(report.heldOut, report.metric)}${report.isChosen ? `, after pass ${report.pass}, which these rows chose` : ''}`,
    ...routingLines(report.routing, 'the tokens of all steps'),
    `  adapter     ${report.adapter}`,
    `Measure it on other rows: tributary evaluate --adapter ${report.adapter} --data FILE`,
  ].join('\n');
}

function cutText({ truncated, dropped }: TrainReport['rows']): string {
  if (truncated === 0) return '';
  return `, ${truncated} rows cut${dropped === 0 ? '' : `, ${dropped} of them left out`}`;
}
