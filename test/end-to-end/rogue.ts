/** A client that is enrolled like any other and then sends what no honest client sends, built from the parts of the real one. */
import { strict as assert } from 'node:assert';
import { credentialsOf, enrol } from '../../client/enrolment.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import type { Calls, RoundName } from '../../client/transport/calls.ts';
import { createCalls } from '../../client/transport/calls.ts';
import { createHandshake } from '../../client/transport/handshake.ts';
import { createLink } from '../../client/transport/link.ts';
import { socketTransport } from '../../client/transport/socket-transport.ts';
import { uploadUpdate } from '../../client/transport/upload.ts';
import { bytesOf, fromHex } from '../../shared/core/bytes.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { Result } from '../../shared/core/result.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { createIdentity, identityFromSeed } from '../../shared/crypto/identity.ts';
import { decodeReply } from '../../shared/protocol/codec.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { sealEnvelope } from '../../shared/protocol/envelope.ts';
import type { Offer } from '../../shared/protocol/messages.ts';
import { envelopeCalls, openOffer, replies } from '../../shared/protocol/messages.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';
import type { Violation } from '../../shared/protocol/violations.ts';

const signal = new AbortController().signal;

/** A rogue that is connected and was offered a round. */
export interface Rogue {
  readonly round: RoundName;
  readonly calls: Calls;
  /** Uploads a delta as an honest client would; the code of the refusal. */
  upload(delta: Float32Array): Promise<string | null>;
  /** Announces a delta in a frame of its own making; the code of the refusal. */
  announce(
    delta: Float32Array,
    forged?: { readonly identity?: Identity; readonly sequence?: bigint; readonly timeMs?: number },
  ): Promise<string | null>;
  close(): void;
}

const codeOf = (result: Result<unknown, Violation>): string | null => (result.ok ? null : result.error.code);

/** Enrols with `invite`, connects, and waits for an offer. */
export async function startRogue(folder: string, invite: string): Promise<Rogue> {
  const platform = await nodePlatform(folder);
  const identity = identityFromSeed(await platform.identitySeed());
  const code = parseEnrolmentCode(invite);
  const nothing = (): void => undefined;
  const enrolled = await enrol({
    platform,
    identity,
    code,
    name: 'rogue',
    onRedeemed: async () => undefined,
    onPending: nothing,
    onUnanswered: nothing,
    signal,
  });
  assert.ok(enrolled.ok);
  const credentials = credentialsOf(code, identity);
  const handshake = createHandshake({ platform, identity, credentials });
  const transport = socketTransport({ url: credentials.url, handshake });
  const link = createLink(transport);
  let sequence = 0n;
  const ledger = { nextSequence: async () => ++sequence };
  const calls = createCalls({ link, transport, identity, ledger, clock: platform.clock });
  const offered = Promise.withResolvers<Offer>();
  await transport.connect({
    onConnected: () => link.up(),
    onMessage: (event, frame) => {
      const offer = event === 'offer' ? openOffer(fromHex(credentials.coordinatorKey), frame) : null;
      if (offer?.ok) offered.resolve(offer.value);
    },
    onLost: nothing,
  });
  const { roundHash, roundParams } = await offered.promise;
  const round = { roundHash, sessionId: roundParams.sessionId };
  return {
    round,
    calls,
    upload: async (delta) => {
      const update = { delta, exampleCount: 1, meanLoss: 1, seconds: 1 };
      return codeOf(await uploadUpdate({ calls, round, update, discloseMetrics: false, signal }));
    },
    announce: async (delta, forged = {}) => {
      const digests = chunkDigests(bytesOf(delta));
      const frame = sealEnvelope({
        ...envelopeCalls.update,
        identity,
        sessionId: round.sessionId,
        sequence: ++sequence,
        timeMs: platform.clock.nowMs() + transport.clockOffsetMs(),
        body: {
          roundHash,
          vecRoot: vectorRoot(chunkBytesMax, digests),
          chunkDigests: digests,
          exampleCount: 1,
          trainLoss: null,
          seconds: 1,
        },
        ...forged,
      });
      const answer = await link.call({ event: 'update', body: frame }, signal);
      return codeOf(decodeReply(replies.update, answer.body));
    },
    close: () => transport.close(),
  };
}

/** A key that claims to be another client. */
export function forgedIdentity(claimed: Identity['clientId']): Identity {
  return { ...createIdentity(systemEntropy), clientId: claimed };
}

/** Connects with the key and the credentials of a state folder, beside the client that runs on it, and hangs up. */
export async function replaceConnection(folder: string): Promise<void> {
  const platform = await nodePlatform(folder);
  const identity = identityFromSeed(await platform.identitySeed());
  const { credentials } = await platform.journal.read();
  assert.ok(credentials !== null);
  const transport = socketTransport({
    url: credentials.url,
    handshake: createHandshake({ platform, identity, credentials }),
  });
  const nothing = (): void => undefined;
  await transport.connect({ onConnected: nothing, onMessage: nothing, onLost: nothing });
  transport.close();
}
