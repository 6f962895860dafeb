/**
 * Building blocks of the schemas of plans and policies: every field carries a sentence of what it allows, which becomes the error message,
 * so that schema and message cannot disagree.
 */
import * as z from 'zod/mini';
import type { Digest } from '../core/ids.ts';
import { nearest } from './nearest.ts';

/** Bounds of a number; at most one lower and one upper bound. */
export interface Range {
  readonly above?: number;
  readonly atLeast?: number;
  readonly below?: number;
  readonly atMost?: number;
}

function describeRange({ above, atLeast, below, atMost }: Range): string {
  const lower = above !== undefined ? `above ${above}` : atLeast !== undefined ? `at least ${atLeast}` : '';
  const upper = below !== undefined ? `below ${below}` : atMost !== undefined ? `at most ${atMost}` : '';
  return [lower, upper].filter((part) => part !== '').join(' and ');
}

/** A finite number within `range`. */
export function numberField(range: Range): z.ZodMiniType<number> {
  const error = `a number ${describeRange(range)}`.trim();
  const { above, atLeast, below, atMost } = range;
  return z.number({ error }).check(
    z.refine((value) => above === undefined || value > above, { error }),
    z.refine((value) => atLeast === undefined || value >= atLeast, { error }),
    z.refine((value) => below === undefined || value < below, { error }),
    z.refine((value) => atMost === undefined || value <= atMost, { error }),
  );
}

/** A whole number from `atLeast` to `atMost`, both included. */
export function wholeField(atLeast: number, atMost: number): z.ZodMiniType<number> {
  const error = `a whole number from ${atLeast} to ${atMost}`;
  return z
    .number({ error })
    .check(z.refine((value) => Number.isInteger(value) && value >= atLeast && value <= atMost, { error }));
}

/** One of some words. */
export function choiceField<const Choice extends string>(choices: readonly Choice[]): z.ZodMiniType<Choice> {
  const list = choices.join(', ');
  return z.enum(choices as readonly [Choice, ...Choice[]], {
    error: (issue) => {
      const near = typeof issue.input === 'string' ? nearest(issue.input, choices) : null;
      const allowed = choices.length === 1 ? `${list}` : `one of ${list}`;
      return near === null ? allowed : `${allowed} (did you mean ${near}?)`;
    },
  }) as unknown as z.ZodMiniType<Choice>;
}

/** Text of 1 to `charactersMax` characters. */
export function textField(charactersMax: number, what = 'text'): z.ZodMiniType<string> {
  const error = `${what} of 1 to ${charactersMax} characters`;
  return z.string({ error }).check(z.refine((text) => text.length >= 1 && text.length <= charactersMax, { error }));
}

/** SHA-256 as 64 lower-case hex digits. `hint` says where to get it. */
export function digestField(hint = ''): z.ZodMiniType<Digest> {
  return z.custom<Digest>((value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value), {
    error: `a digest of 64 lower-case hex digits${hint}`,
  });
}

/** A switch. */
export function booleanField(): z.ZodMiniType<boolean> {
  return z.boolean({ error: 'true or false' });
}

/**
 * A section of named fields; others are refused. The message for an unknown field is the list of known names, from which
 * {@link describeProblems} makes a sentence.
 * @param alsoKnown names of fields that are read elsewhere.
 */
export function sectionField<const Shape extends Record<string, z.ZodMiniType>>(
  shape: Shape,
  alsoKnown: readonly string[] = [],
) {
  const names = [...Object.keys(shape), ...alsoKnown].join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? names : `a section with the fields ${names}`),
  });
}
