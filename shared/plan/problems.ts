/** From what a schema found to sentences for people: where, which field, what is allowed, what was found. */
import type * as z from 'zod/mini';
import { UsageError } from '../core/errors.ts';
import { nearest } from './nearest.ts';

/** One fault of a document: `path` of the field (empty for the whole) and a sentence that follows it. */
export interface Problem {
  readonly path: string;
  readonly sentence: string;
}

/** Longest piece of a found value that is repeated in a message. */
const shownCharactersMax = 60;
/** Faults that are listed; a document with more is wrong as a whole. */
const problemsMax = 20;

/** A found value as a message shows it: JSON, cut short; `nothing` for a missing one. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value) ?? typeof value;
  return text.length <= shownCharactersMax ? text : `${text.slice(0, shownCharactersMax)}...`;
}

/** Path of a field as it is written: `task.labels[2]`. */
function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

/** The faults that a schema of `fields.ts` found in `value`: one per field, the first of each. */
export function describeProblems(issues: readonly z.core.$ZodIssue[], value: unknown): Problem[] {
  const problems = new Map<string, Problem>();
  const add = (path: string, sentence: string): void => {
    if (!problems.has(path)) problems.set(path, { path, sentence });
  };
  for (const issue of issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const near = nearest(key, issue.message.split(', '));
        const hint = near === null ? '' : `; did you mean ${near}?`;
        add(pathText([...issue.path, key]), `is not a known field${hint} (known here: ${issue.message})`);
      }
    } else {
      add(pathText(issue.path), `must be ${issue.message}, found ${shown(valueAt(value, issue.path))}`);
    }
  }
  return [...problems.values()];
}

/** Throws all faults as one error. `what` names the kind of document, `source` where it came from. @throws UsageError */
export function throwProblems(code: string, what: string, source: string, problems: readonly Problem[]): never {
  const lines = problems.slice(0, problemsMax).map(({ path, sentence }) => `${source}: ${path || what} ${sentence}`);
  if (problems.length > problemsMax) lines.push(`${source}: and ${problems.length - problemsMax} more`);
  throw new UsageError(code, lines.join('\n'), { context: { source, problemCount: problems.length } });
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[key];
  }
  return current;
}
