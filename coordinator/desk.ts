/**
 * Where calls of admitted clients arrive: decodes them, opens their envelopes, makes sequence numbers durable, and hands what they say to
 * the hearing. A repeated frame gets its first answer again, because a client repeats what it heard no answer to. Who was shut out since it
 * connected, by the operator, by the consortium or by its own withdrawal, loses its connection with the next message that counts, or that fetches.
 */
import { assert } from '../shared/core/assert.ts';
import { fromHex } from '../shared/core/bytes.ts';
import type { ClientId, Digest } from '../shared/core/ids.ts';
import type { Clock } from '../shared/core/ports.ts';
import type { Result } from '../shared/core/result.ts';
import { refuse, succeed } from '../shared/core/result.ts';
import { digestOf } from '../shared/crypto/hash.ts';
import type { Format } from '../shared/protocol/canonical.ts';
import type { WireValue } from '../shared/protocol/codec.ts';
import { decodeMessage, encodeReply } from '../shared/protocol/codec.ts';
import type { EnvelopeType, OpenedEnvelope } from '../shared/protocol/envelope.ts';
import { openEnvelope } from '../shared/protocol/envelope.ts';
import type { CallName, PlainCall } from '../shared/protocol/messages.ts';
import { envelopeCalls, plainCalls } from '../shared/protocol/messages.ts';
import type { Violation } from '../shared/protocol/violations.ts';
import { violation } from '../shared/protocol/violations.ts';
import type { Audit, ProofRequest } from './audit/open-audit.ts';
import { clientRevoked } from './enrolment/invites.ts';
import type { ShownDocuments } from './enrolment/registry.ts';
import type { Hearing } from './hearing.ts';
import type { ClientRecord, CoordinatorStore } from './store/store.ts';
import type { ServedBlobs } from './transport/served-blobs.ts';
import type { CallAnswer, Peer } from './transport/transport.ts';

/** Answers calls. */
export interface Desk {
  call(peer: Peer, name: CallName, body: Uint8Array, attachment: Uint8Array | null): Promise<CallAnswer>;
}

type Reply = Result<{ readonly [key: string]: WireValue }, Violation>;
type EnvelopeName = keyof typeof envelopeCalls;

/** Milliseconds for which a client that fetches is taken for a member without looking again: chunks are many. */
const fetchingMs = 1_000;
/** Answers that are kept per client for repeated frames: a client has one envelope of each kind under way at most. */
const answersKept = Object.keys(envelopeCalls).length;
const done: Reply = succeed({});
const answerOf = (refused: Violation | null): Reply => (refused === null ? done : refuse(refused));

/** A desk in front of a hearing. */
export function createDesk(options: {
  readonly hearing: Hearing;
  readonly store: CoordinatorStore;
  readonly served: ServedBlobs;
  readonly clock: Clock;
  /** Keeps what a client signed when it announced an update, and what it signed against it. */
  readonly audit: Pick<Audit, 'keepEvidence' | 'keepContradiction'>;
  /** Bytes of a proof from the log. */
  readonly prove: (request: ProofRequest) => Promise<Uint8Array>;
  /** What the consortium signed. */
  readonly membership: (clientId: ClientId) => Promise<ShownDocuments>;
  /** Why the consortium lets a client in no more, or null. */
  readonly judgeMember: (clientId: ClientId) => Promise<Violation | null>;
}): Desk {
  const { hearing, store, served, clock, audit, prove, membership, judgeMember } = options;
  /** Clients that a message found shut out; their connections are ended. */
  const shutOut = new Set<ClientId>();
  /** When clients that fetch were looked at last. */
  const seenMs = new Map<ClientId, number>();
  const turns = new Map<ClientId, Promise<unknown>>();
  const answers = new Map<ClientId, Map<Digest, Reply>>();

  /** One envelope of a client after the other: sequence numbers are compared with the last one that is durable. */
  const inTurn = (clientId: ClientId, task: () => Promise<Reply>): Promise<Reply> => {
    const turn = (turns.get(clientId) ?? Promise.resolve()).then(task);
    turns.set(
      clientId,
      turn.catch(() => undefined),
    );
    return turn;
  };

  /** The record of a client that may still speak. */
  const memberOf = async (clientId: ClientId): Promise<Result<ClientRecord, Violation>> => {
    const client = await store.client(clientId);
    assert(client !== null, 'an admitted client is enrolled');
    const refused = client.status === 'revoked' ? clientRevoked() : await judgeMember(clientId);
    if (refused === null) return succeed(client);
    shutOut.add(clientId);
    return refuse(refused);
  };

  /** Why a client may not fetch, or null: what is published after it was shut out is not for it. */
  const judgeFetching = async (clientId: ClientId): Promise<Violation | null> => {
    const nowMs = clock.nowMs();
    if (Math.abs(nowMs - (seenMs.get(clientId) ?? Number.NEGATIVE_INFINITY)) < fetchingMs) return null;
    const member = await memberOf(clientId);
    if (!member.ok) return hearing.rejected(clientId, member.error);
    seenMs.set(clientId, nowMs);
    return null;
  };

  /** Opens an envelope and uses its sequence number up. */
  const open = async <Body extends { readonly roundHash: Digest }>(
    clientId: ClientId,
    frame: Uint8Array,
    kind: { readonly type: EnvelopeType; readonly format: Format<Body> },
  ): Promise<Result<OpenedEnvelope<Body> & { readonly publicKey: Uint8Array }, Violation>> => {
    const member = await memberOf(clientId);
    if (!member.ok) return member;
    const publicKey = fromHex(member.value.publicKey);
    const lastSequence = BigInt(await store.sequenceOf(clientId));
    const opened = openEnvelope(frame, { clientId, publicKey, nowMs: clock.nowMs(), lastSequence, ...kind });
    if (!opened.ok) return opened;
    const { sequence, sessionId, roundHash } = opened.value.envelope;
    const isTaken =
      sequence <= BigInt(Number.MAX_SAFE_INTEGER) && (await store.advanceSequence(clientId, Number(sequence)));
    if (!isTaken)
      return refuse(violation('replayed-sequence', `sequence number ${sequence} was used before or is too large`));
    const misplaced = hearing.judgeRound(roundHash, sessionId);
    return misplaced === null ? succeed({ ...opened.value, publicKey }) : refuse(misplaced);
  };

  const openAndAct = async (clientId: ClientId, name: EnvelopeName, frame: Uint8Array): Promise<Reply> => {
    const refused = (found: Violation): Reply => refuse(hearing.rejected(clientId, found));
    switch (name) {
      case 'accept': {
        const opened = await open(clientId, frame, envelopeCalls.accept);
        if (!opened.ok) return refused(opened.error);
        return answerOf(hearing.accepted(clientId, opened.value.body.roundHash));
      }
      case 'decline': {
        const opened = await open(clientId, frame, envelopeCalls.decline);
        // A round that ended meanwhile, perhaps because others declined too, needs no answer any more.
        if (!opened.ok) return opened.error.code === 'stale-round' ? done : refused(opened.error);
        return answerOf(hearing.declined(clientId, opened.value.body));
      }
      case 'update': {
        const opened = await open(clientId, frame, envelopeCalls.update);
        if (!opened.ok) return refused(opened.error);
        const { envelope: sealed, body } = opened.value;
        const missing = await hearing.announced(clientId, sealed.bodyHash, body);
        if (missing.ok) {
          audit.keepEvidence(clientId, opened.value.evidence);
          return succeed({ missing: missing.value });
        }
        if (missing.error.code === 'conflicting-update')
          await audit.keepContradiction(opened.value.publicKey, body.roundHash, opened.value.evidence);
        return missing;
      }
      case 'evaluation': {
        const opened = await open(clientId, frame, envelopeCalls.evaluation);
        if (!opened.ok) return refused(opened.error);
        return answerOf(hearing.evaluated(clientId, opened.value.body));
      }
      case 'ready': {
        const opened = await open(clientId, frame, envelopeCalls.ready);
        if (!opened.ok) return refused(opened.error);
        const certificate = await hearing.ready(clientId, opened.value.body);
        return certificate.ok ? succeed({ certificate: certificate.value }) : certificate;
      }
      default:
        return name satisfies never;
    }
  };

  const envelope = (clientId: ClientId, name: EnvelopeName, frame: Uint8Array): Promise<Reply> =>
    inTurn(clientId, async () => {
      const kept = answers.get(clientId) ?? new Map<Digest, Reply>();
      answers.set(clientId, kept);
      const digest = digestOf(frame);
      const earlier = kept.get(digest);
      if (earlier !== undefined) return earlier;
      const reply = await openAndAct(clientId, name, frame);
      kept.set(digest, reply);
      const oldest = kept.keys().next();
      if (kept.size > answersKept && !oldest.done) kept.delete(oldest.value);
      return reply;
    });

  const plain = async (
    clientId: ClientId,
    call: PlainCallOf,
    attachment: Uint8Array | null,
  ): Promise<[Reply, Uint8Array?]> => {
    switch (call.name) {
      case 'fetch-manifest': {
        const refused = await judgeFetching(clientId);
        if (refused !== null) return [refuse(refused)];
        const manifest = served.manifest(call.body.digest);
        return [manifest === null ? refuse(unknownBlob(call.body.digest)) : succeed({ ...manifest })];
      }
      case 'fetch-chunk': {
        const refused = await judgeFetching(clientId);
        if (refused !== null) return [refuse(refused)];
        const chunk = await served.chunk(call.body.digest, call.body.index);
        if (chunk === null) return [refuse(unknownBlob(call.body.digest))];
        hearing.fetched(clientId);
        return [done, chunk];
      }
      case 'progress':
        return [answerOf(hearing.progressed(clientId, call.body))];
      case 'upload-chunk': {
        if (attachment === null)
          return [refuse(hearing.rejected(clientId, violation('bad-frame', 'a chunk comes with its bytes')))];
        const { roundHash, index } = call.body;
        const stored = await hearing.uploaded(clientId, roundHash, index, attachment);
        return [stored.ok ? done : stored];
      }
      case 'membership':
        return [succeed({ ...(await membership(clientId)) })];
      case 'prove':
        return [succeed({ proof: await prove(call.body) })];
      case 'commit': {
        const member = await memberOf(clientId);
        if (!member.ok) return [refuse(hearing.rejected(clientId, member.error))];
        const receipt = await hearing.committed(clientId, call.body.roundHash);
        return [receipt.ok ? succeed({ receipt: receipt.value }) : receipt];
      }
      case 'masked': {
        const member = await memberOf(clientId);
        if (!member.ok) return [refuse(hearing.rejected(clientId, member.error))];
        const missing = await hearing.masked(clientId, call.body);
        return [missing.ok ? succeed({ missing: missing.value }) : missing];
      }
      default:
        return call satisfies never;
    }
  };

  const answer = async (clientId: ClientId, ...call: CallParts): Promise<CallAnswer> => {
    const [name, body, attachment] = call;
    if (Object.hasOwn(envelopeCalls, name))
      return { body: encodeReply(await envelope(clientId, name as EnvelopeName, body)) };
    const decoded = decodeMessage(plainCalls[name as PlainName], body);
    if (!decoded.ok) return { body: encodeReply(refuse(hearing.rejected(clientId, decoded.error))) };
    // The schema that was applied is the one of this name.
    const [reply, bytes] = await plain(clientId, { name, body: decoded.value } as PlainCallOf, attachment);
    return bytes === undefined ? { body: encodeReply(reply) } : { body: encodeReply(reply), attachment: bytes };
  };

  return {
    call: async (peer, name, body, attachment) => {
      const answered = await answer(peer.clientId, name, body, attachment);
      // The answer may get lost with the connection: who connects again is told the reason at the door.
      if (shutOut.delete(peer.clientId)) peer.close();
      return answered;
    },
  };
}

type CallParts = readonly [name: CallName, body: Uint8Array, attachment: Uint8Array | null];
type PlainName = keyof typeof plainCalls;
type PlainCallOf = { readonly [Name in PlainName]: { readonly name: Name; readonly body: PlainCall<Name> } }[PlainName];
const unknownBlob = (digest: Digest): Violation =>
  violation('blob-unknown', `nothing with digest ${digest} is offered here`);
