/** Reads fields of a checkpoint's `config.json`. What the code cannot compute is refused by name, never ignored. */
import { FormatError } from '../core/errors.ts';
import { findDuplicateKey } from './json-keys.ts';

/** A parsed `config.json`. */
export type Configuration = Readonly<Record<string, unknown>>;

/** Parses JSON that must be one object without duplicate keys. @throws FormatError `bad-json` naming `source`. */
export function parseJsonObject(bytes: Uint8Array, source: string): Configuration {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError('bad-json', `${source} is not JSON in UTF-8`, { cause, context: { source } });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FormatError('bad-json', `${source} must hold one JSON object`, { context: { source } });
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null)
    throw new FormatError('bad-json', `${source} has the key ${JSON.stringify(duplicate)} twice`, {
      context: { source },
    });
  return value as Configuration;
}

function misfit(name: string, expected: string, found: unknown): FormatError {
  return new FormatError(
    'bad-configuration',
    `config.json: ${name} must be ${expected}, found ${JSON.stringify(found) ?? 'nothing'}`,
    { context: { field: name } },
  );
}

/** A whole number of at least 1; `fallback` stands where the field is absent or null. @throws FormatError `bad-configuration`. */
export function sizeField(configuration: Configuration, name: string, fallback?: number): number {
  const value = configuration[name] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    throw misfit(name, 'a whole number of at least 1', configuration[name]);
  return value;
}

/** A whole number of at least 0; `fallback` stands where the field is absent or null. @throws FormatError `bad-configuration`. */
export function indexField(configuration: Configuration, name: string, fallback: number): number {
  const value = configuration[name] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw misfit(name, 'a whole number of at least 0', value);
  return value;
}

/** A switch; `fallback` stands where the field is absent or null. @throws FormatError `bad-configuration`. */
export function booleanField(configuration: Configuration, name: string, fallback: boolean): boolean {
  const value = configuration[name] ?? fallback;
  if (typeof value !== 'boolean') throw misfit(name, 'true or false', value);
  return value;
}

/** An object within the configuration, null where it is absent or null. @throws FormatError `bad-configuration`. */
export function sectionField(configuration: Configuration, name: string): Configuration | null {
  const value = configuration[name] ?? null;
  if (typeof value !== 'object' || Array.isArray(value)) throw misfit(name, 'an object', value);
  return value as Configuration | null;
}

/** A number above 0. @throws FormatError `bad-configuration`. */
export function positiveField(configuration: Configuration, name: string, fallback: number): number {
  const value = configuration[name] ?? fallback;
  if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
    throw misfit(name, 'a number above 0', value);
  return value;
}

/**
 * One of the values that the code supports; `fallback` is what an absent field means in the published code.
 * @throws FormatError `unsupported-configuration` that lists them.
 */
export function supportedField<Value extends string | number | boolean | null>(
  configuration: Configuration,
  name: string,
  supported: readonly Value[],
  fallback: Value,
): Value {
  const value = configuration[name] ?? fallback;
  const match = supported.find((candidate) => candidate === value);
  if (match !== undefined) return match;
  const allowed = supported.map((candidate) => JSON.stringify(candidate)).join(' or ');
  throw new FormatError(
    'unsupported-configuration',
    `config.json: ${name} is ${JSON.stringify(value)}, which is not supported; expected ${allowed}`,
    { context: { field: name } },
  );
}

/** A number of heads. @throws FormatError `bad-configuration` unless it divides `hiddenSize`. */
export function headCountField(configuration: Configuration, name: string, hiddenSize: number): number {
  const headCount = sizeField(configuration, name);
  if (hiddenSize % headCount === 0) return headCount;
  throw new FormatError(
    'bad-configuration',
    `config.json: ${name} is ${headCount}; ${headCount} heads do not divide a width of ${hiddenSize}`,
    { context: { field: name } },
  );
}
