/**
 * `tributary evaluate`: the metrics of an adapter on rows, on the base it was trained on, or of a base alone as a language model; with `--calibrate` also
 * of its probabilities.
 */
import { type Command, Option } from 'commander';
import { collectRouting, routingLines, type SiteRouting } from '../../shared/adapters/routing-statistics.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { FormatError, UsageError } from '../../shared/core/errors.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { labelsOfTask, type Task, type TaskKind } from '../../shared/plan/task.ts';
import { entityTypesOf } from '../../shared/training/entities.ts';
import { f1Of, type MetricName, type Metrics, metricText } from '../../shared/training/metrics.ts';
import type { TaskAdapter } from '../../shared/training/task-model.ts';
import { metricsByTask } from '../../shared/training/tasks/several.ts';
import { metricsText } from './metrics-text.ts';
import {
  addBaseComputeOptions,
  addColumnOptions,
  addMetricOption,
  type BaseComputeOptions,
  type ColumnOptions,
  columnsOf,
  metricOf,
  wholeNumber,
} from './options.ts';

interface EvaluateOptions extends BaseComputeOptions, ColumnOptions {
  readonly adapter?: string;
  readonly task?: 'causal' | 'masked';
  readonly lengthMax?: number;
  readonly base?: string;
  readonly data: string;
  readonly metric?: MetricName;
  readonly calibrate?: string;
  readonly dropLowest?: number;
  readonly adapterTask?: string;
}

/** How one label or entity type fared. */
export interface NameReport {
  readonly name: string;
  /** How many there are. */
  readonly count: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
}

/** What `evaluate` reports. With `--calibrate` its metrics are those of the calibrated probabilities. */
export type EvaluateReport = Metrics & {
  /** Both null where the base alone was measured. */
  readonly adapter: string | null;
  readonly modelHash: string | null;
  readonly base: { readonly digest: string; readonly family: string };
  readonly data: string;
  readonly task: TaskKind;
  /** The metric that counts. */
  readonly metric: MetricName;
  /** Rows that were cut to the adapter's longest length, and those of them of which nothing was left to score. */
  readonly truncated: number;
  readonly dropped: number;
  /** By label, or where there are entities by their type; empty for language models. */
  readonly names: readonly NameReport[];
  readonly tasks: ReturnType<typeof metricsByTask>;
  /** How mixtures routed the tokens; empty without one. */
  readonly routing: readonly SiteRouting[];
  /** Null without `--calibrate`. */
  readonly calibration: { readonly temperature: number; readonly uncalibrated: Metrics } | null;
  readonly backend: string;
  readonly seconds: number;
};

/** Adds `evaluate`. */
export function register(program: Command, context: CommandContext): void {
  const command = program
    .command('evaluate')
    .option(
      '--adapter <folder>',
      'the adapter, as train and adapters export write it (default: the base alone, with --task)',
    )
    .requiredOption('--data <file>', 'rows (.jsonl, .json, .csv, .tsv, each also .gz, or .parquet)')
    .option(
      '--base <folder>',
      'the base model that the adapter was trained on, a folder or hf:owner/name@revision (default: the one that ships)',
    )
    .option(
      '--calibrate <file>',
      'other rows, not trained on, that the temperature of the probabilities is fitted to (Guo 2017)',
    )
    .addOption(
      new Option('--task <kind>', 'without an adapter: how the base models language').choices(['causal', 'masked']),
    )
    .option(
      '--length-max <tokens>',
      'without an adapter: longest text (default: 128, or what the base covers)',
      wholeNumber(2),
    )
    .option(
      '--adapter-task <name>',
      'which task, where the adapter serves several, or weights over them: qa=0.3,nli=0.7 (default: the configured one)',
    )
    .option(
      '--drop-lowest <layers>',
      'lowest layers that go without their adapters, which is faster (AdapterDrop)',
      wholeNumber(0),
    );
  addBaseComputeOptions(addMetricOption(addColumnOptions(command))).action(async (options: EvaluateOptions) => {
    const report = await evaluateAdapter(options, context);
    context.report(report, reportText(report));
  });
}

async function evaluateAdapter(options: EvaluateOptions, context: CommandContext): Promise<EvaluateReport> {
  refuseForeignFlags(options);
  const [{ readyBase }, { createTaskModel }, rows, measuring] = await Promise.all([
    import('./base.ts'),
    import('../../shared/training/task-model.ts'),
    import('./rows.ts'),
    import('./measuring.ts'),
  ]);
  const subjectOn =
    options.adapter === undefined ? await baseAlone(options) : await adapterOf(options.adapter, options);
  const { model: base, tokenizer, backend } = await readyBase(options, context);
  const subject = subjectOn(base.description);
  const model = createTaskModel({
    base,
    adapter: subject.adapter,
    task: subject.task,
    tokenizer,
    ...(options.dropLowest === undefined ? {} : { dropLowest: options.dropLowest }),
  });
  const { task } = model;
  const metric = metricOf(options.metric, task);
  const collect = async (path: string) => {
    const { signal } = context;
    const collected = await rows.collectRows(rows.streamRows(path, task.rows, columnsOf(options)), {
      task,
      tokenizer,
      vocabularySize: base.description.vocabularySize,
      signal,
    });
    if (collected.rowCount === 0) throw new FormatError('no-rows', `${path}: expected at least one row, found none`);
    return collected;
  };
  if (options.calibrate !== undefined && subject.task.kind === 'several')
    throw new UsageError('bad-option', '--calibrate fits one temperature to one head; several tasks have a head each');
  const parameters = subject.parameters ?? model.initialise(1);
  const startedMs = performance.now();
  const fitted = options.calibrate === undefined ? null : await collect(options.calibrate);
  const { source, truncatedCount, droppedCount } = await collect(options.data);
  const routing = collectRouting();
  const measured = await measuring.measureCalibrated(
    { model, parameters, source, fitted: fitted?.source ?? null, observe: routing.observe },
    context,
  );
  base.dispose();
  await source.close();
  await fitted?.source.close();
  const labels = labelsOfTask(subject.task);
  const { counts, temperature, uncalibrated } = measured;
  const types = task.shape.entityCount > 0 ? entityTypesOf(labels) : labels;
  return {
    adapter: options.adapter ?? null,
    modelHash: subject.modelHash,
    base: { digest: base.description.digest, family: base.description.family },
    data: options.data,
    task: subject.task.kind,
    metric,
    ...measured.metrics,
    truncated: truncatedCount,
    dropped: droppedCount,
    /** Each of several tasks by itself; empty for one. */
    tasks: subject.task.kind === 'several' ? metricsByTask(subject.task, counts) : [],
    names: namesOf(types, task.shape.entityCount > 0 ? counts.entities : counts.labels),
    routing: routing.routing(),
    calibration: temperature === null || uncalibrated === null ? null : { temperature, uncalibrated },
    backend: backend.name,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

/** What is measured on a base. */
interface Subject {
  readonly adapter: TaskAdapter;
  readonly task: Task;
  /** Null for the start values of the adapter. */
  readonly parameters: Float32Array | null;
  readonly modelHash: string | null;
}

/** The adapter of a folder; on a base: with the task that was asked for. */
async function adapterOf(
  folder: string,
  { adapterTask }: EvaluateOptions,
): Promise<(base: BaseDescription) => Subject> {
  const [{ readAdapterFolder }, { adapterOnBase }, { withTask }] = await Promise.all([
    import('../../shared/adapters/adapter-folder.node.ts'),
    import('../../shared/adapters/document-on-base.ts'),
    import('../../shared/adapters/with-task.ts'),
  ]);
  const document = await readAdapterFolder(folder);
  return (base) => ({ ...document, adapter: withTask(adapterOnBase(document, base), adapterTask) });
}

/** A base as a language model: under the smallest adapter with its start values, which is the identity to the last bit. */
async function baseAlone(options: EvaluateOptions): Promise<(base: BaseDescription) => Subject> {
  const { task: kind, lengthMax } = options;
  if (kind === undefined) {
    throw new UsageError(
      'bad-option',
      'expected --adapter DIR, or --task causal or masked for the base alone as a language model; found neither',
    );
  }
  const [{ parseAdapter }, { taskOf }] = await Promise.all([
    import('../../shared/adapters/registry.ts'),
    import('./task-options.ts'),
  ]);
  return (base) => ({
    adapter: parseAdapter({ method: 'lora', rank: 1, targets: ['o'], layers: [base.layerCount - 1] }, base),
    task: taskOf(
      { task: kind, ...(lengthMax === undefined ? {} : { lengthMax }) },
      { base, labels: new Map(), rowCount: 0, source: options.data },
    ),
    parameters: null,
    modelHash: null,
  });
}

/** What an adapter says itself is not said again, and a base alone has no layers to drop adapters from. */
function refuseForeignFlags({ adapter, task, lengthMax, adapterTask, dropLowest }: EvaluateOptions): void {
  const foreign =
    adapter === undefined
      ? { '--adapter-task': adapterTask, '--drop-lowest': dropLowest }
      : { '--task': task, '--length-max': lengthMax };
  const found = Object.entries(foreign).find(([, value]) => value !== undefined);
  if (found === undefined) return;
  const place = adapter === undefined ? 'an adapter: give --adapter DIR' : 'a base alone: leave out --adapter';
  throw new UsageError('bad-option', `${found[0]} belongs to ${place}`);
}

function namesOf(names: readonly string[], counts: Parameters<typeof f1Of>[0]): NameReport[] {
  const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);
  return names.map((name, index) => {
    const [count, predicted, correct] = [counts.truth[index]!, counts.predicted[index]!, counts.correct[index]!];
    const [precision, recall] = [share(correct, predicted), share(correct, count)];
    return { name, count, precision, recall, f1: f1Of(counts, index) };
  });
}

/** Names that are listed one by one; the JSON report has all. */
const namesShown = 20;

function reportText(report: EvaluateReport): string {
  const left = report.dropped === 0 ? '' : `, ${report.dropped} of them left out`;
  const cut = report.truncated === 0 ? '' : ` (${report.truncated} texts cut${left})`;
  const lines = [
    `${report.adapter ?? 'the base alone'} on ${report.data}${cut}: ${metricsText(report, report.metric)}`,
  ];
  if (report.calibration !== null) {
    const { temperature, uncalibrated } = report.calibration;
    lines.push(
      `  temperature ${temperature.toFixed(3)}; without it: calibration error ${uncalibrated.calibrationError.toFixed(3)}, Brier score ${uncalibrated.brier.toFixed(3)}, loss ${uncalibrated.loss.toFixed(3)}`,
    );
  }
  for (const { name, targetCount, accuracy, macroF1 } of report.tasks)
    lines.push(
      `  ${name}: accuracy ${metricText('accuracy', accuracy)}, macro-F1 ${metricText('macroF1', macroF1)} of ${targetCount}`,
    );
  if (report.task === 'tokens' && report.names.length <= namesShown) {
    const percent = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(1)} %`);
    for (const { name, count, precision, recall, f1 } of report.names)
      lines.push(
        `  ${name}: F1 ${percent(f1)}, precision ${percent(precision)}, recall ${percent(recall)} of ${count}`,
      );
  }
  return [...lines, ...routingLines(report.routing, 'all tokens')].join('\n');
}
