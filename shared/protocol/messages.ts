/**
 * Every message of the protocol in one place. Three kinds:
 * - events of the coordinator, signed frames (`signed.ts`), except `finished`;
 * - calls of a client, each answered: either an envelope (`envelope.ts`) or a plain frame with the schema below;
 * - JSON over HTTP and in socket.io's handshake, with bytes as lower-case hex (`handshake.ts`).
 * Every payload is one binary argument; chunk bytes travel raw as a second one. SPEC.md says it byte for byte.
 */
import * as z from 'zod/mini';
import type { ClientId, Digest, FederationId } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { succeed } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import {
  acceptFormat,
  type BlobReference,
  declineFormat,
  type Evaluate,
  evaluateFormat,
  evaluationFormat,
  federationStatuses,
  offerFormat,
  type RoundResult,
  readyFormat,
  resultFormat,
  updateFormat,
} from './bodies.ts';
import { decodeRoundParams, encodeRoundParams, type RoundParams, roundHashOf } from './round-params.ts';
import { openSigned, sealSigned } from './signed.ts';
import type { Violation } from './violations.ts';

export type {
  Accept,
  BlobReference,
  Decline,
  DeclineCode,
  Evaluate,
  Evaluation,
  FederationStatus,
  Ready,
  RoundResult,
  Update,
  Welcome,
} from './bodies.ts';

/** Events of the coordinator, in the order in which a client first meets them. */
export const coordinatorEvents = ['welcome', 'offer', 'stage', 'evaluate', 'result', 'void', 'finished'] as const;
/** Name of an event of the coordinator. */
export type CoordinatorEvent = (typeof coordinatorEvents)[number];

/** Calls of a client that travel in an envelope: kind of the envelope and format of the body. */
export const envelopeCalls = {
  accept: { type: 'ACCEPT', format: acceptFormat },
  decline: { type: 'DECLINE', format: declineFormat },
  update: { type: 'UPDATE', format: updateFormat },
  evaluation: { type: 'EVALUATION', format: evaluationFormat },
  ready: { type: 'READY', format: readyFormat },
} as const;

const hex = <Id extends string>(byteCount: number) =>
  z.pipe(
    z
      .string()
      .check(z.regex(new RegExp(`^[0-9a-f]{${2 * byteCount}}$`), `expected ${2 * byteCount} lower-case hex digits`)),
    z.transform((text) => text as Id),
  );
/** Digest in a plain frame. */
const digestSchema = hex<Digest>(32);
/** Client id in a plain frame. */
export const clientIdSchema = hex<ClientId>(32);
/** Federation id in a plain frame. */
export const federationIdSchema = hex<FederationId>(32);
const count = z.int().check(z.nonnegative());
const binary = z.instanceof(Uint8Array);

/** Plain calls of a client. `upload-chunk` and the answer to `fetch-chunk` carry the chunk as second argument. */
export const plainCalls = {
  'fetch-manifest': z.strictObject({ digest: digestSchema }),
  'fetch-chunk': z.strictObject({ digest: digestSchema, index: count }),
  progress: z.strictObject({ roundHash: digestSchema, stepsDone: count, stepCount: count }),
  'upload-chunk': z.strictObject({ roundHash: digestSchema, index: count }),
  commit: z.strictObject({ roundHash: digestSchema }),
  /** Asks for what the consortium signed. */
  membership: z.strictObject({}),
  /** Asks for the log: `size` entries are known; `receipt` of the own update of the round, if there is one. */
  prove: z.strictObject({ size: count, roundIndex: count, receipt: z.nullable(digestSchema) }),
  /** M1 to M5: the canonical body and its signature, of the attempt that `roundHash` names. */
  masked: z.strictObject({
    roundHash: digestSchema,
    kind: z.enum(['ADVERT', 'DRAW', 'SHARES', 'MASKED', 'AGREE', 'UNMASK']),
    body: binary,
    signature: binary,
  }),
} as const;
/** The content of a plain call. */
export type PlainCall<Name extends keyof typeof plainCalls> = z.output<(typeof plainCalls)[Name]>;

/** Name of a call of a client. */
export type CallName = keyof typeof plainCalls | keyof typeof envelopeCalls;
/** Every call of a client. */
export const callNames = [...Object.keys(plainCalls), ...Object.keys(envelopeCalls)] as readonly CallName[];

const done = z.strictObject({ ok: z.literal(true) });
/** Answers to calls that were not refused. */
export const replies = {
  'fetch-manifest': z.strictObject({ ok: z.literal(true), size: count, chunkDigests: z.array(digestSchema) }),
  'fetch-chunk': done,
  progress: done,
  'upload-chunk': done,
  /** `receipt`: what the client may show later as proof that its update was stored. */
  commit: z.strictObject({ ok: z.literal(true), receipt: digestSchema }),
  /** Bytes of what is there (`shared/identity`). */
  membership: z.strictObject({
    ok: z.literal(true),
    consortium: z.nullable(binary),
    revocations: z.nullable(binary),
    approval: z.nullable(binary),
    certificate: z.nullable(binary),
  }),
  /** `proof`: canonical bytes (`shared/audit/proof.ts`). */
  prove: z.strictObject({ ok: z.literal(true), proof: z.instanceof(Uint8Array) }),
  accept: done,
  decline: done,
  /** `missing`: indices of chunks that are not stored yet, ascending. */
  update: z.strictObject({ ok: z.literal(true), missing: z.array(count) }),
  evaluation: done,
  /** `certificate`: under which the roster shows this client. */
  ready: z.strictObject({ ok: z.literal(true), certificate: binary }),
  /** `missing`: of M3 the indices of chunks that are not stored yet, ascending; empty of others. */
  masked: z.strictObject({ ok: z.literal(true), missing: z.array(count) }),
} as const satisfies Record<CallName, z.ZodMiniType>;
/** The answer to a call. */
export type Reply<Name extends CallName> = z.output<(typeof replies)[Name]>;

/** `finished`: there are no more rounds. Not signed: it travels on a connection whose coordinator is proven. */
export const finishedSchema = z.strictObject({
  status: z.enum(federationStatuses),
  detail: z.string().check(z.maxLength(4000)),
});
/** How the federation ended. */
export type Finished = z.output<typeof finishedSchema>;

/** An offer as both sides use it: parsed parameters with their hash, and where the bytes are found. */
export interface Offer {
  readonly roundHash: Digest;
  readonly roundParams: RoundParams;
  readonly plan: BlobReference;
  /** Files of the base: `config.json`, `model.safetensors`, `tokenizer.json`, … */
  readonly base: readonly { readonly name: string; readonly blob: BlobReference }[];
  readonly adapter: BlobReference;
}

/** The frame of an offer. */
export function sealOffer(identity: Identity, offer: Omit<Offer, 'roundHash'>): Uint8Array {
  const { roundParams, plan, base, adapter } = offer;
  return sealSigned(identity, 'OFFER', offerFormat, {
    roundParams: encodeRoundParams(roundParams),
    plan,
    base,
    adapter,
  });
}

/** The offer of a frame under the coordinator's key: else `bad-frame`, `wrong-signature` or `protocol-version`. */
export function openOffer(coordinatorKey: Uint8Array, frame: Uint8Array): Result<Offer, Violation> {
  const opened = openSigned(coordinatorKey, 'OFFER', offerFormat, frame);
  if (!opened.ok) return opened;
  const { roundParams: encoded, ...references } = opened.value;
  const parameters = decodeRoundParams(encoded);
  if (!parameters.ok) return parameters;
  return succeed({ roundHash: roundHashOf(encoded), roundParams: parameters.value, ...references });
}

/** The frame of a request to evaluate. */
export function sealEvaluate(identity: Identity, request: Evaluate): Uint8Array {
  return sealSigned(identity, 'EVALUATE', evaluateFormat, request);
}

/** The request of a frame under the coordinator's key: else `bad-frame` or `wrong-signature`. */
export function openEvaluate(coordinatorKey: Uint8Array, frame: Uint8Array): Result<Evaluate, Violation> {
  return openSigned(coordinatorKey, 'EVALUATE', evaluateFormat, frame);
}

/** The frame of a result. */
export function sealResult(identity: Identity, result: RoundResult): Uint8Array {
  return sealSigned(identity, 'RESULT', resultFormat, result);
}

/** The result of a frame under the coordinator's key: else `bad-frame` or `wrong-signature`. */
export function openResult(coordinatorKey: Uint8Array, frame: Uint8Array): Result<RoundResult, Violation> {
  return openSigned(coordinatorKey, 'RESULT', resultFormat, frame);
}
