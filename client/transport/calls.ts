/**
 * What a client says, as typed calls over the link: envelopes with a durable sequence number, plain calls, and their decoded answers. An
 * answer that refuses is a value; only silence and an aborted signal throw.
 */
import { TransportError } from '../../shared/core/errors.ts';
import type { Digest, SessionId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import type { Manifest } from '../../shared/protocol/blob-reference.ts';
import type { Format } from '../../shared/protocol/canonical.ts';
import type { WireValue } from '../../shared/protocol/codec.ts';
import { decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { type EnvelopeType, sealEnvelope } from '../../shared/protocol/envelope.ts';
import type {
  CallName,
  DeclineCode,
  Evaluation,
  PlainCall,
  Ready,
  Reply,
  Update,
} from '../../shared/protocol/messages.ts';
import { envelopeCalls, type plainCalls, replies } from '../../shared/protocol/messages.ts';
import type { Violation, ViolationCode } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import { untilAborted } from '../platform/wait.ts';
import type { Ledger } from '../session/ledger.ts';
import type { Link } from './link.ts';
import type { Transport } from './transport.ts';

/** The round that a message belongs to. */
export interface RoundName {
  readonly roundHash: Digest;
  readonly sessionId: SessionId;
}

type Outcome<Value> = Promise<Result<Value, Violation>>;

/** Everything that a client may say. Each call ends with the reason of `signal` when it aborts. */
export interface Calls {
  accept(round: RoundName, signal: AbortSignal): Outcome<null>;
  /** `reason` leaves this site: nothing about its data belongs into it. */
  decline(round: RoundName, code: DeclineCode, reason: string, signal: AbortSignal): Outcome<null>;
  /** Announces an update: indices of the chunks that the coordinator lacks. */
  announceUpdate(round: RoundName, update: Omit<Update, 'roundHash'>, signal: AbortSignal): Outcome<readonly number[]>;
  uploadChunk(roundHash: Digest, index: number, bytes: Uint8Array, signal: AbortSignal): Outcome<null>;
  /** The receipt, once the update is durable at the coordinator. */
  commitUpdate(roundHash: Digest, signal: AbortSignal): Outcome<Digest>;
  sendEvaluation(round: RoundName, evaluation: Omit<Evaluation, 'roundHash'>, signal: AbortSignal): Outcome<null>;
  /** Bytes of a proof from the coordinator's log. */
  prove(request: PlainCall<'prove'>, signal: AbortSignal): Outcome<Uint8Array>;
  /** What the consortium signed. */
  membership(signal: AbortSignal): Outcome<Reply<'membership'>>;
  reportProgress(
    roundHash: Digest,
    progress: { readonly stepsDone: number; readonly stepCount: number },
    signal: AbortSignal,
  ): Outcome<null>;
  /** Says that this client has trained and waits for the masked round: the certificate under which its roster shows the client. */
  sendReady(round: RoundName, ready: Omit<Ready, 'roundHash'>, signal: AbortSignal): Outcome<Uint8Array>;
  /** M1 to M5; of M3 the indices of the chunks that the coordinator lacks. */
  sendMasked(
    roundHash: Digest,
    message: Pick<PlainCall<'masked'>, 'kind'> & { readonly body: Uint8Array; readonly signature: Uint8Array },
    signal: AbortSignal,
  ): Outcome<readonly number[]>;
  fetchManifest(digest: Digest, signal: AbortSignal): Outcome<Manifest>;
  /** One chunk, owned by the caller; not checked yet. */
  fetchChunk(digest: Digest, index: number, signal: AbortSignal): Outcome<Uint8Array>;
}

/** What {@link createCalls} needs. */
export interface CallsOptions {
  readonly link: Link;
  readonly transport: Pick<Transport, 'clockOffsetMs' | 'measureClock'>;
  readonly identity: Identity;
  readonly ledger: Pick<Ledger, 'nextSequence'>;
  readonly clock: Clock;
}

/**
 * Refusals after which the same message is good in a new envelope: it waited for a connection until its time was old, one of the two clocks was
 * set, or a coordinator that was restarted meanwhile knows its number but not its answer.
 */
const resealed: ReadonlySet<ViolationCode> = new Set(['stale-time', 'replayed-sequence']);
/** Envelopes per message: more mean that the clocks or the state of one side are wrong. */
const envelopesMax = 3;
/** Characters of a reason: at three bytes of UTF-8 each they fit the field. */
const reasonCharactersMax = 1300;

/** Calls over `link`. */
export function createCalls({ link, transport, identity, ledger, clock }: CallsOptions): Calls {
  const plain = async <Name extends keyof typeof plainCalls>(
    name: Name,
    message: WireValue,
    signal: AbortSignal,
    attachment?: Uint8Array,
  ): Promise<{ readonly reply: Result<Reply<Name>, Violation>; readonly attachment: Uint8Array | null }> => {
    const body = encodeMessage(message);
    const answer = await link.call(
      attachment === undefined ? { event: name, body } : { event: name, body, attachment },
      signal,
    );
    return { reply: read(name, answer.body), attachment: answer.attachment };
  };

  /** Where nobody tells the time the difference stays what it was. */
  const measureClock = async (signal: AbortSignal): Promise<void> => {
    try {
      await untilAborted(transport.measureClock(), signal);
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof TransportError)) throw thrown;
    }
  };

  /** Sends a body in an envelope of its own kind. */
  const enveloped = async <Name extends keyof typeof envelopeCalls, Body extends { readonly roundHash: Digest }>(
    name: Name,
    kind: { readonly type: EnvelopeType; readonly format: Format<Body> },
    message: { readonly sessionId: SessionId; readonly body: Body },
    signal: AbortSignal,
  ): Outcome<Reply<Name>> => {
    for (let count = 1; ; count++) {
      const sequence = await ledger.nextSequence();
      const timeMs = Math.max(0, Math.round(clock.nowMs() + transport.clockOffsetMs()));
      const frame = sealEnvelope({ ...kind, ...message, identity, sequence, timeMs });
      const reply = read(name, (await link.call({ event: name, body: frame }, signal)).body);
      if (reply.ok || count === envelopesMax || !resealed.has(reply.error.code)) return reply;
      if (reply.error.code === 'stale-time') await measureClock(signal);
    }
  };

  return {
    accept: async ({ roundHash, sessionId }, signal) =>
      done(await enveloped('accept', envelopeCalls.accept, { sessionId, body: { roundHash } }, signal)),
    decline: async ({ roundHash, sessionId }, code, reason, signal) => {
      const body = { roundHash, code, reason: reason.slice(0, reasonCharactersMax).toWellFormed() };
      return done(await enveloped('decline', envelopeCalls.decline, { sessionId, body }, signal));
    },
    announceUpdate: async ({ roundHash, sessionId }, update, signal) => {
      const body = { roundHash, ...update };
      const reply = await enveloped('update', envelopeCalls.update, { sessionId, body }, signal);
      return reply.ok ? succeed(reply.value.missing) : reply;
    },
    sendEvaluation: async ({ roundHash, sessionId }, evaluation, signal) => {
      const body = { roundHash, ...evaluation };
      return done(await enveloped('evaluation', envelopeCalls.evaluation, { sessionId, body }, signal));
    },
    sendReady: async ({ roundHash, sessionId }, ready, signal) => {
      const body = { roundHash, ...ready };
      const reply = await enveloped('ready', envelopeCalls.ready, { sessionId, body }, signal);
      return reply.ok ? succeed(reply.value.certificate) : reply;
    },
    sendMasked: async (roundHash, message, signal) => {
      const { reply } = await plain('masked', { roundHash, ...message }, signal);
      return reply.ok ? succeed(reply.value.missing) : reply;
    },
    uploadChunk: async (roundHash, index, bytes, signal) =>
      done((await plain('upload-chunk', { roundHash, index }, signal, bytes)).reply),
    commitUpdate: async (roundHash, signal) => {
      const { reply } = await plain('commit', { roundHash }, signal);
      return reply.ok ? succeed(reply.value.receipt) : reply;
    },
    prove: async (request, signal) => {
      const { reply } = await plain('prove', { ...request }, signal);
      return reply.ok ? succeed(reply.value.proof) : reply;
    },
    membership: async (signal) => (await plain('membership', {}, signal)).reply,
    reportProgress: async (roundHash, { stepsDone, stepCount }, signal) =>
      done((await plain('progress', { roundHash, stepsDone, stepCount }, signal)).reply),
    fetchManifest: async (digest, signal) => {
      const { reply } = await plain('fetch-manifest', { digest }, signal);
      return reply.ok ? succeed({ size: reply.value.size, chunkDigests: reply.value.chunkDigests }) : reply;
    },
    fetchChunk: async (digest, index, signal) => {
      const { reply, attachment } = await plain('fetch-chunk', { digest, index }, signal);
      if (!reply.ok) return reply;
      return attachment === null ? refuse(violation('bad-frame', 'a chunk comes with its bytes')) : succeed(attachment);
    },
  };
}

function read<Name extends CallName>(name: Name, frame: Uint8Array): Result<Reply<Name>, Violation> {
  // The schema of this very name was applied.
  return decodeReply(replies[name], frame) as Result<Reply<Name>, Violation>;
}

function done(reply: Result<unknown, Violation>): Result<null, Violation> {
  return reply.ok ? succeed(null) : reply;
}
