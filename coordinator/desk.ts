/**
 * Where calls of admitted clients arrive: decodes them, opens their envelopes, makes sequence numbers durable, and hands what they say to
 * the federation. A repeated frame gets its first answer again, because a client repeats what it heard no answer to.
 */
import { assert } from '../shared/core/assert.ts';
import { fromHex } from '../shared/core/bytes.ts';
import type { ClientId, Digest } from '../shared/core/ids.ts';
import type { Clock } from '../shared/core/ports.ts';
import type { Result } from '../shared/core/result.ts';
import { refuse, succeed } from '../shared/core/result.ts';
import { digestOf } from '../shared/crypto/hash.ts';
import type { WireValue } from '../shared/protocol/codec.ts';
import { decodeMessage, encodeReply } from '../shared/protocol/codec.ts';
import { openEnvelope } from '../shared/protocol/envelope.ts';
import type { PlainCall } from '../shared/protocol/messages.ts';
import { envelopeCalls, plainCalls } from '../shared/protocol/messages.ts';
import type { Violation } from '../shared/protocol/violations.ts';
import { violation } from '../shared/protocol/violations.ts';
import type { Federation } from './federation.ts';
import type { CoordinatorStore } from './store/store.ts';
import type { ServedBlobs } from './transport/served-blobs.ts';
import type { CallAnswer, CallName, Peer } from './transport/transport.ts';

/** Answers calls. */
export interface Desk {
  call(peer: Peer, name: CallName, body: Uint8Array, attachment: Uint8Array | null): Promise<CallAnswer>;
}

type Reply = Result<{ readonly [key: string]: WireValue }, Violation>;
type EnvelopeName = keyof typeof envelopeCalls;

/** Answers that are kept per client for repeated frames: a client has one envelope of each kind under way at most. */
const answersKept = Object.keys(envelopeCalls).length;
const done: Reply = succeed({});
const answerOf = (refused: Violation | null): Reply => (refused === null ? done : refuse(refused));

/** A desk over a federation. */
export function createDesk(options: {
  readonly federation: Federation;
  readonly store: CoordinatorStore;
  readonly served: ServedBlobs;
  readonly clock: Clock;
}): Desk {
  const { federation, store, served, clock } = options;
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

  const openAndAct = async (clientId: ClientId, name: EnvelopeName, frame: Uint8Array): Promise<Reply> => {
    const client = await store.client(clientId);
    assert(client !== null, 'an admitted client is enrolled');
    const lastSequence = BigInt(await store.sequenceOf(clientId));
    const facts = { clientId, publicKey: fromHex(client.publicKey), nowMs: clock.nowMs(), lastSequence };
    const take = async ({ sequence }: { readonly sequence: bigint }): Promise<Violation | null> => {
      if (sequence <= BigInt(Number.MAX_SAFE_INTEGER) && (await store.advanceSequence(clientId, Number(sequence))))
        return null;
      return violation('replayed-sequence', `sequence number ${sequence} was used before or is too large`);
    };
    switch (name) {
      case 'accept': {
        const opened = openEnvelope(frame, { ...facts, ...envelopeCalls.accept });
        const refused = opened.ok ? await take(opened.value.envelope) : opened.error;
        if (refused !== null || !opened.ok) return refuse(noted(clientId, refused));
        return answerOf(federation.accepted(clientId, opened.value.body.roundHash));
      }
      case 'decline': {
        const opened = openEnvelope(frame, { ...facts, ...envelopeCalls.decline });
        const refused = opened.ok ? await take(opened.value.envelope) : opened.error;
        if (refused !== null || !opened.ok) return refuse(noted(clientId, refused));
        return answerOf(federation.declined(clientId, opened.value.body));
      }
      case 'update': {
        const opened = openEnvelope(frame, { ...facts, ...envelopeCalls.update });
        const refused = opened.ok ? await take(opened.value.envelope) : opened.error;
        if (refused !== null || !opened.ok) return refuse(noted(clientId, refused));
        const { envelope, body } = opened.value;
        const missing = await federation.announced(clientId, envelope.bodyHash, body);
        return missing.ok ? succeed({ missing: missing.value }) : missing;
      }
      case 'evaluation': {
        const opened = openEnvelope(frame, { ...facts, ...envelopeCalls.evaluation });
        const refused = opened.ok ? await take(opened.value.envelope) : opened.error;
        if (refused !== null || !opened.ok) return refuse(noted(clientId, refused));
        return answerOf(federation.evaluated(clientId, opened.value.body));
      }
      default:
        return name satisfies never;
    }
  };
  const noted = (clientId: ClientId, refused: Violation | null): Violation => {
    assert(refused !== null, 'an envelope that is not opened has a violation');
    federation.rejected(clientId, refused);
    return refused;
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
        const manifest = served.manifest(call.body.digest);
        return [manifest === null ? refuse(unknownBlob(call.body.digest)) : succeed({ ...manifest })];
      }
      case 'fetch-chunk': {
        const chunk = await served.chunk(call.body.digest, call.body.index);
        if (chunk === null) return [refuse(unknownBlob(call.body.digest))];
        federation.fetched(clientId);
        return [done, chunk];
      }
      case 'progress':
        return [answerOf(federation.progressed(clientId, call.body))];
      case 'upload-chunk': {
        if (attachment === null)
          return [refuse(noted(clientId, violation('bad-frame', 'a chunk comes with its bytes')))];
        const { roundHash, index } = call.body;
        const stored = await federation.uploaded(clientId, roundHash, index, attachment);
        return [stored.ok ? done : stored];
      }
      case 'commit': {
        const receipt = await federation.committed(clientId, call.body.roundHash);
        return [receipt.ok ? succeed({ receipt: receipt.value }) : receipt];
      }
      default:
        return call satisfies never;
    }
  };

  return {
    call: async ({ clientId }, name, body, attachment) => {
      if (Object.hasOwn(envelopeCalls, name))
        return { body: encodeReply(await envelope(clientId, name as EnvelopeName, body)) };
      const decoded = decodeMessage(plainCalls[name as PlainName], body);
      if (!decoded.ok) return { body: encodeReply(refuse(noted(clientId, decoded.error))) };
      // The schema that was applied is the one of this name.
      const [reply, bytes] = await plain(clientId, { name, body: decoded.value } as PlainCallOf, attachment);
      return bytes === undefined ? { body: encodeReply(reply) } : { body: encodeReply(reply), attachment: bytes };
    },
  };
}

type PlainName = keyof typeof plainCalls;
type PlainCallOf = { readonly [Name in PlainName]: { readonly name: Name; readonly body: PlainCall<Name> } }[PlainName];
const unknownBlob = (digest: Digest): Violation =>
  violation('blob-unknown', `nothing with digest ${digest} is offered here`);
