/** Options that several commands share: their flags, and parsers that name what is allowed and what was found. */
import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type BackendName, backendNames } from '../../shared/compute/backend-names.ts';
import { type FrozenPrecision, frozenPrecisions } from '../../shared/compute/compact-matrix.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import type { ColumnMapping } from '../../shared/data/row-fields.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import {
  type ActivationCacheOptions,
  type ActivationPrecision,
  activationBytesPreset,
} from '../../shared/training/activation-cache.ts';
import { type MetricName, metricNames } from '../../shared/training/metrics.ts';
import type { BoundTask } from '../../shared/training/tasks/task.ts';

/** A parser of whole numbers of at least `atLeast`, for commander. */
export function wholeNumber(atLeast: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < atLeast)
      throw new InvalidArgumentError(`Expected a whole number of at least ${atLeast}.`);
    return value;
  };
}

/** Bounds of a number: above `above` or at least `atLeast`, and below `below`. */
export interface NumberRange {
  readonly above?: number;
  readonly atLeast?: number;
  readonly below?: number;
}

/** A parser of finite numbers in a range, for commander. */
export function numberIn({ above, atLeast, below }: NumberRange): (text: string) => number {
  const bounds = [
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(atLeast === undefined ? [] : [`of at least ${atLeast}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ].join(' and ');
  return (text) => {
    const value = Number(text);
    const isInside =
      (above === undefined || value > above) &&
      (atLeast === undefined || value >= atLeast) &&
      (below === undefined || value < below);
    if (text.trim() === '' || !Number.isFinite(value) || !isInside)
      throw new InvalidArgumentError(`Expected a number ${bounds}.`);
    return value;
  };
}

/** Where to compute. */
export interface ComputeOptions {
  readonly backend: BackendName | 'auto';
  readonly threads: number;
}

/** Adds `--backend` and `--threads`; the parsed options are {@link ComputeOptions}. */
export function addComputeOptions(command: Command): Command {
  return command
    .addOption(new Option('--backend <name>', 'what computes').choices(['auto', ...backendNames]).default('auto'))
    .option('--threads <count>', 'threads, where the back end has any', wholeNumber(1), 1);
}

/** Where to compute with a base, and how it is kept. */
export interface BaseComputeOptions extends ComputeOptions {
  readonly frozenWeights: FrozenPrecision;
}

/** Adds `--frozen-weights` to what {@link addComputeOptions} adds; the parsed options are {@link BaseComputeOptions}. */
export function addBaseComputeOptions(command: Command): Command {
  return addComputeOptions(command).addOption(
    new Option(
      '--frozen-weights <type>',
      'how the base is kept: auto and file leave 16-bit files as they are, exactly (auto: from 64 MiB on); float32 widens them once; float16 halves and int8 quarters float32, at an error',
    )
      .choices(frozenPrecisions)
      .default('auto'),
  );
}

/** How much memory saves computing. */
export interface ActivationOptions {
  /** In MiB. */
  readonly activationCache: number;
  readonly activationPrecision: ActivationPrecision;
  /** In MiB. */
  readonly activationCacheSpill: number;
}

/** Adds `--activation-cache`, `--activation-cache-spill` and `--activation-precision`; the parsed options are {@link ActivationOptions}. */
export function addActivationOptions(command: Command): Command {
  return command
    .option(
      '--activation-cache <MiB>',
      'memory for states of texts below the lowest adapter, from which later passes start; 0 keeps none',
      wholeNumber(0),
      activationBytesPreset / 2 ** 20,
    )
    .option(
      '--activation-cache-spill <MiB>',
      'disk for those that this memory has no room for, in a file that only this user reads and that goes with the process',
      wholeNumber(0),
      0,
    )
    .addOption(
      new Option('--activation-precision <type>', 'how they are kept: float32 changes no result, float16 takes half')
        .choices(['float32', 'float16'])
        .default('float32'),
    );
}

/** The settings of a cache as its options say them. */
export function activationSettings(options: ActivationOptions): Required<ActivationCacheOptions> {
  const { activationCache, activationCacheSpill, activationPrecision: precision } = options;
  return { bytesMax: activationCache * 2 ** 20, spillBytesMax: activationCacheSpill * 2 ** 20, precision };
}

/** Rows that stay in memory when nobody says otherwise: some hundred megabytes of ordinary texts. */
export const memoryRowsPreset = 200_000;

/** Which columns hold what; absent means the usual names of the task. */
export interface ColumnOptions {
  readonly textColumn?: string;
  readonly labelColumn?: string;
  readonly labelNames?: readonly string[];
  readonly partColumn?: string;
}

/** Adds `--text-column`, `--label-column`, `--label-names` and `--part-column`; the parsed options are {@link ColumnOptions}. */
export function addColumnOptions(command: Command): Command {
  return command
    .option(
      '--text-column <name>',
      'column or key of what is read (default: text, tokens, prompt or messages, by task)',
    )
    .option(
      '--label-column <name>',
      'column or key of what is learned (default: label, labels, tags or answer, by task)',
    )
    .option(
      '--label-names <names>',
      'names of labels or tags that stand as whole numbers, from 0 up, separated by commas: O,B-PER,I-PER',
      (text: string) => text.split(',').map((name) => name.trim()),
    )
    .option('--part-column <name>', 'column or key that tells data sets in the rows apart, such as languages or tasks');
}

/** The columns of the options, as readers take them. */
export function columnsOf({ textColumn, labelColumn, labelNames, partColumn }: ColumnOptions): ColumnMapping {
  return { text: textColumn, label: labelColumn, names: labelNames, part: partColumn };
}

/** Adds `--metric`; without it the first metric of the task counts. */
export function addMetricOption(command: Command): Command {
  return command.addOption(
    new Option('--metric <name>', `the metric that counts: ${metricNames.join(', ')} (default: by task)`).argParser(
      parseMetric,
    ),
  );
}

/** A metric by its name, however it is hyphenated: `macro-f1` and `macroF1` are the same. */
export function parseMetric(text: string): MetricName {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const found = metricNames.find((name) => plain(name) === plain(text));
  if (found === undefined) throw new InvalidArgumentError(`Expected one of ${metricNames.join(', ')}.`);
  return found;
}

/** The metric that counts for a task. @throws UsageError when the task does not have the one that was asked for. */
export function metricOf(asked: MetricName | undefined, { metrics, task }: BoundTask): MetricName {
  if (asked === undefined) return metrics[0]!;
  if (metrics.includes(asked)) return asked;
  throw new UsageError('bad-option', `--metric: the task ${task.kind} here has ${metrics.join(', ')}, found ${asked}`);
}

/**
 * The settings of an adapter method: `--adapter` and `--adapter-config`, which is a JSON object or the path of a file that holds one.
 * @throws UsageError `bad-adapter-config` when it is neither, or names another method.
 */
export async function adapterSettings(method: string, config: string | undefined): Promise<Plan['adapter']> {
  if (config === undefined) return { method };
  const { settings, fail } = await jsonSettings(config, {
    option: '--adapter-config',
    code: 'bad-adapter-config',
    what: `the settings of ${method}`,
  });
  const named = 'method' in settings ? settings.method : method;
  if (named !== method) fail(`is for the method ${JSON.stringify(named)}, --adapter asks for ${method}`);
  return { ...settings, method };
}

/** A JSON object in an option, or in the file that it names. @throws UsageError `code` when it is neither. */
export async function jsonSettings(
  text: string,
  { option, code, what }: { readonly option: string; readonly code: string; readonly what: string },
): Promise<{
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where they stand, for messages. */
  readonly source: string;
  readonly fail: (reason: string, cause?: unknown) => never;
}> {
  const isInline = text.trimStart().startsWith('{');
  const source = isInline ? option : text;
  const fail = (reason: string, cause?: unknown): never => {
    throw new UsageError(code, `${source}: ${reason}`, { cause });
  };
  const json = isInline
    ? text
    : await readFile(text, 'utf8').catch((cause: unknown) => fail(`cannot be read: ${errorMessage(cause)}`, cause));
  let settings: unknown;
  try {
    settings = JSON.parse(json);
  } catch (cause) {
    return fail(`expected a JSON object with ${what}: ${errorMessage(cause)}`, cause);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    return fail(`expected a JSON object with ${what}`);
  return { settings: settings as Readonly<Record<string, unknown>>, source, fail };
}
