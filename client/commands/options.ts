/** Options that several commands share: their flags, and parsers that name what is allowed and what was found. */
import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type BackendName, backendNames } from '../../shared/compute/backend.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { defaultMapping } from '../../shared/data/rows.node.ts';
import type { Plan } from '../../shared/plan/plan.ts';

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

/** Which columns hold what. */
export interface ColumnOptions {
  readonly textColumn: string;
  readonly labelColumn: string;
}

/** Adds `--text-column` and `--label-column`; the parsed options are {@link ColumnOptions}. */
export function addColumnOptions(command: Command): Command {
  return command
    .option('--text-column <name>', 'column or key of the text', defaultMapping.text)
    .option('--label-column <name>', 'column or key of the label', defaultMapping.label);
}

/**
 * The settings of an adapter method: `--adapter` and `--adapter-config`, which is a JSON object or the path of a file that holds one.
 * @throws UsageError `bad-adapter-config` when it is neither, or names another method.
 */
export async function adapterSettings(method: string, config: string | undefined): Promise<Plan['adapter']> {
  if (config === undefined) return { method };
  const isInline = config.trimStart().startsWith('{');
  const source = isInline ? '--adapter-config' : config;
  const fail = (reason: string, cause?: unknown): never => {
    throw new UsageError('bad-adapter-config', `${source}: ${reason}`, { cause });
  };
  const text = isInline
    ? config
    : await readFile(config, 'utf8').catch((cause: unknown) => fail(`cannot be read: ${errorMessage(cause)}`, cause));
  let settings: unknown;
  try {
    settings = JSON.parse(text);
  } catch (cause) {
    fail(`expected a JSON object with the settings of ${method}: ${errorMessage(cause)}`, cause);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    return fail(`expected a JSON object with the settings of ${method}`);
  const named = 'method' in settings ? settings.method : method;
  if (named !== method) fail(`is for the method ${JSON.stringify(named)}, --adapter asks for ${method}`);
  return { ...settings, method };
}
