/** What requests say: the bodies of `POST /classify` and `POST /generate`, checked field by field. */
import * as z from 'zod/mini';
import { UsageError } from '../../shared/core/errors.ts';
import { booleanField, numberField, sectionField, textField, wholeField } from '../../shared/plan/fields.ts';
import { describeProblems } from '../../shared/plan/problems.ts';
import type { TextInput } from './answers.ts';
import type { Writing } from './engine.ts';

/** Texts of one request: one call of the engine. */
export const textsMax = 64;
/** Words of one text: beyond any base's positions. */
const wordsMax = 32_768;
/** Labels that are named for a text. */
const topMax = 1000;
/** Tokens that are written for one request. */
const writtenMax = 4096;

const referenceField = textField(220, 'the name of an adapter, or name@version');
const textsError = `a list of 1 to ${textsMax} texts; where words are tagged, each may be a list of words`;
const inputField = z.union([z.string(), z.array(z.string()).check(z.minLength(1), z.maxLength(wordsMax))], {
  error: 'a text, or a list of words',
});

const classifySchema = sectionField({
  adapter: referenceField,
  texts: z
    .array(inputField, { error: textsError })
    .check(z.minLength(1, textsError), z.maxLength(textsMax, textsError)),
  top: z._default(wholeField(1, topMax), 1),
  task: z.optional(textField(100)),
});

const generateSchema = sectionField({
  adapter: z.optional(referenceField),
  prompt: textField(200_000),
  chat: z._default(booleanField(), false),
  lengthMax: z._default(wholeField(1, writtenMax), 100),
  temperature: z.optional(numberField({ atLeast: 0, atMost: 100 })),
  topP: z.optional(numberField({ above: 0, atMost: 1 })),
  topK: z.optional(wholeField(1, 1_000_000)),
  seed: z._default(wholeField(0, 2 ** 32 - 1), 1),
});

/** Texts to be classified. */
export interface ClassifyRequest {
  readonly adapter: string;
  readonly texts: readonly TextInput[];
  readonly top: number;
  readonly task?: string | undefined;
}

/** A text to be gone on with. */
export interface GenerateRequest extends Omit<Writing, 'key'> {
  /** Absent for the base alone. */
  readonly adapter?: string | undefined;
}

/** @throws UsageError `bad-request` with one line per fault. */
export function parseClassify(body: unknown): ClassifyRequest {
  return parse(classifySchema, body);
}

/** @throws UsageError `bad-request` with one line per fault. */
export function parseGenerate(body: unknown): GenerateRequest {
  const { temperature, topP, topK, ...rest } = parse(generateSchema, body);
  const narrows = topP !== undefined || topK !== undefined;
  if (temperature === 0 && narrows)
    throw new UsageError(
      'bad-request',
      'temperature 0 takes the best token always: leave topP and topK out, or raise it',
    );
  return { ...rest, sampling: { temperature: temperature ?? (narrows ? 1 : 0), topP, topK } };
}

function parse<Output>(schema: z.ZodMiniType<Output>, body: unknown): Output {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const lines = describeProblems(parsed.error.issues, body).map(
    ({ path, sentence }) => `${path === '' ? 'the body' : path} ${sentence}`,
  );
  throw new UsageError('bad-request', lines.slice(0, 10).join('\n'));
}
