/**
 * Strict reading of other libraries' configurations. A field that changes the maths in a way that this version does not compute is refused
 * by name, and so is every unknown one unless its value is neutral, which is reported.
 */
import { FormatError } from '../../core/errors.ts';
import type { Configuration } from '../../model/configuration.ts';
import { nearest } from '../../plan/nearest.ts';
import { shown } from '../../plan/problems.ts';

/** What one field may be: `expected` in words, and whether a value (never absent) is. */
export interface FieldRule {
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
}

/** Rules by field name. */
export type FieldRules = Readonly<Record<string, FieldRule>>;

/** A field that changes nothing here, whatever it says. */
export const anything: FieldRule = { expected: 'anything', holds: () => true };

/** One of these values. */
export function oneOf(...values: readonly (string | number | boolean | null)[]): FieldRule {
  return {
    expected: values.map((value) => JSON.stringify(value)).join(' or '),
    holds: (value) => values.some((allowed) => allowed === value),
  };
}

/** A switch that must be off. */
export const off: FieldRule = { expected: 'false or null', holds: (value) => value === false || value === null };

/** Nothing: null, or an empty list, text or map. */
export const nothing: FieldRule = { expected: 'null', holds: isNeutral };

/** True or false. */
export const flag: FieldRule = { expected: 'true or false', holds: (value) => typeof value === 'boolean' };

/** A whole number of at least 1. */
export const count: FieldRule = {
  expected: 'a whole number of at least 1',
  holds: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};

/** A finite number. */
export const number: FieldRule = { expected: 'a number', holds: (value) => Number.isFinite(value) };

/** A probability below 1. */
export const probability: FieldRule = {
  expected: 'a number from 0 to below 1',
  holds: (value) => typeof value === 'number' && value >= 0 && value < 1,
};

/** A list of texts, or null. */
export const textsOrNull: FieldRule = {
  expected: 'a list of texts, or null',
  holds: (value) => value === null || isTexts(value),
};

/** A list of layer indices, or null. */
export const layersOrNull: FieldRule = {
  expected: 'a list of layer indices, or null',
  holds: (value) =>
    value === null || (Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)),
};

/** A map from names to numbers above 0, or null. */
export const pattern: FieldRule = {
  expected: 'a map from names to numbers above 0',
  holds: (value) =>
    value === null || (isObject(value) && Object.values(value).every((item) => typeof item === 'number' && item > 0)),
};

/** Whether `value` is a list of texts. */
export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** Whether `value` is an object that is no list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNeutral(value: unknown): boolean {
  if (value === null || value === false || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

const problemsShown = 8;

/**
 * Holds `configuration` against `rules`.
 * @param source where it stands, for messages: `adapter_config.json`.
 * @returns one line for every unknown field, all of which are neutral.
 * @throws FormatError `unsupported-adapter` with one line per fault.
 */
export function checkFields(configuration: Configuration, rules: FieldRules, source: string): string[] {
  const notes: string[] = [];
  const problems: string[] = [];
  for (const [name, value] of Object.entries(configuration)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule !== undefined) {
      if (!rule.holds(value)) problems.push(`${source}: ${name} must be ${rule.expected}, found ${shown(value)}`);
    } else if (isNeutral(value))
      notes.push(`${source}: the unknown field ${name} is ${JSON.stringify(value)} and was left out`);
    else {
      const near = nearest(name, Object.keys(rules));
      const hint = near === null ? '' : `; did you mean ${near}?`;
      problems.push(
        `${source}: the field ${name} is not known here${hint} Its value ${shown(value)} may change what the adapter computes`,
      );
    }
  }
  if (problems.length === 0) return notes;
  if (problems.length > problemsShown)
    problems.splice(problemsShown, problems.length, `and ${problems.length - problemsShown} more`);
  throw new FormatError('unsupported-adapter', problems.join('\n'), { context: { source, problems: problems.length } });
}
