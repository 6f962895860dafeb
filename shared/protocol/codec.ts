/**
 * MessagePack frames: how messages travel, never what is signed. The only importer of msgpackr.
 *
 * A frame is walked before it is decoded, and only what our messages are made of passes: nil, booleans, numbers, text, bytes, arrays, maps
 * with distinct text keys; no extension (msgpackr's records among them), bounded depth, nothing after the end. What is decoded copies the
 * frame. Then a schema that refuses unknown keys decides.
 */
import { Packr, Unpackr } from 'msgpackr';
import * as z from 'zod/mini';
import { errorMessage } from '../core/errors.ts';
import { messageBytesMax } from '../core/limits.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { findFrameFault } from './frame-scan.ts';
import { type Violation, violation, violationSchema } from './violations.ts';

/** What a frame may hold. */
export type WireValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly WireValue[]
  | { readonly [key: string]: WireValue };

const options = {
  useRecords: false,
  moreTypes: false,
  structuredClone: false,
  copyBuffers: true,
  int64AsType: 'bigint',
  mapsAsObjects: true,
} as const;
const packer = new Packr(options);
const unpacker = new Unpackr(options);

/** The frame of a message; owned by the caller. */
export function encodeMessage(message: WireValue): Uint8Array {
  return Uint8Array.from(packer.pack(message));
}

/** The message of a frame that fits `schema`, or `bad-frame`. Nothing in it aliases `frame`. Never throws on what a peer sends. */
export function decodeMessage<Schema extends z.ZodMiniType>(
  schema: Schema,
  frame: Uint8Array,
): Result<z.output<Schema>, Violation> {
  const badFrame = (detail: string) => refuse(violation('bad-frame', detail));
  if (frame.length > messageBytesMax)
    return badFrame(`${frame.length} bytes exceed the ${messageBytesMax} of one message`);
  const fault = findFrameFault(frame);
  if (fault !== null) return badFrame(fault);
  let value: unknown;
  try {
    value = unpacker.unpack(frame);
  } catch (thrown) {
    return badFrame(`not decodable: ${errorMessage(thrown)}`);
  }
  const parsed = z.safeParse(schema, value);
  if (parsed.success) return succeed(parsed.data);
  const [issue] = parsed.error.issues;
  return badFrame(`${issue?.path.join('.') || 'message'}: ${issue?.message ?? issue?.code}`);
}

const refusalSchema = z.strictObject({ ok: z.literal(false), violation: violationSchema });
type AnswerSchema<Schema extends z.ZodMiniType> = z.ZodMiniUnion<[Schema, typeof refusalSchema]>;
/** Schemas of answers by the schema of what was asked for: making one costs more than using it. */
const answerSchemas = new WeakMap<z.ZodMiniType, z.ZodMiniType>();

function answerSchemaOf<Schema extends z.ZodMiniType>(schema: Schema): AnswerSchema<Schema> {
  const known = answerSchemas.get(schema) ?? z.union([schema, refusalSchema]);
  answerSchemas.set(schema, known);
  // What is kept under a schema was made of it.
  return known as AnswerSchema<Schema>;
}

/** The frame of an answer: `{ ok: true, ...value }` or `{ ok: false, violation }`. */
export function encodeReply(reply: Result<{ readonly [key: string]: WireValue }, Violation>): Uint8Array {
  return encodeMessage(reply.ok ? { ...reply.value, ok: true } : { ok: false, violation: { ...reply.error } });
}

/** The value of an answer, the violation that it tells, or `bad-frame` when it is neither. `schema` has `ok: true`. */
export function decodeReply<Schema extends z.ZodMiniType<{ ok: true }>>(
  schema: Schema,
  frame: Uint8Array,
): Result<z.output<Schema>, Violation> {
  const decoded = decodeMessage(answerSchemaOf(schema), frame);
  if (!decoded.ok) return decoded;
  const reply: z.output<Schema> | z.output<typeof refusalSchema> = decoded.value;
  if (reply.ok) return succeed(reply as z.output<Schema>);
  return refuse((reply as z.output<typeof refusalSchema>).violation);
}
