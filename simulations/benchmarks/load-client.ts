/**
 * Clients that put a load on a coordinator: the real protocol over the memory transport with real signatures, and a delta that is made up
 * instead of trained. Hundreds of them fit into one process, because they share one delta and each only puts its own mark into every chunk.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { Coordinator } from '../../coordinator/coordinator.ts';
import type { MemoryConnection, MemoryTransport } from '../../coordinator/transport/memory-transport.ts';
import { assert } from '../../shared/core/assert.ts';
import { bytesOf, concatBytes, fromBase64Url, fromHex, releaseBytes } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax, chunksInFlightMax } from '../../shared/core/limits.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import type { Result } from '../../shared/core/result.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { clientIdOf } from '../../shared/crypto/identity.ts';
import { signatureInput } from '../../shared/crypto/signature-input.ts';
import { decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { sealEnvelope } from '../../shared/protocol/envelope.ts';
import { nonceBytes, openChallenge, sealAuth, sealEnrolment } from '../../shared/protocol/handshake.ts';
import type { CallName, Offer, Reply } from '../../shared/protocol/messages.ts';
import { envelopeCalls, openOffer, replies } from '../../shared/protocol/messages.ts';
import { chunkCountOf, vectorRoot } from '../../shared/protocol/vector.ts';
import type { Violation } from '../../shared/protocol/violations.ts';

/** A connected client. */
export interface LoadClient {
  /** Resolves when the offer of the round is heard. */
  readonly offered: Promise<void>;
  /** The client's frames of this round, signed ahead, so that signing is no part of what is measured. */
  prepare(): void;
  accept(): Promise<void>;
  /** Announces the update. */
  announce(): Promise<void>;
  /** Sends all chunks with the protocol's window, and commits. */
  upload(): Promise<void>;
}

/** Prefix of an Ed25519 private key in PKCS #8 (RFC 8410 section 7). */
const pkcs8Prefix = fromHex('302e020100300506032b657004220420');

/** A key that the engine signs with: the same signatures as the client's own, in a fraction of the time. */
function engineIdentity(seed: Uint8Array): Identity {
  const key = createPrivateKey({ key: Buffer.from(concatBytes(pkcs8Prefix, seed)), format: 'der', type: 'pkcs8' });
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  const publicKey = fromBase64Url(x);
  return {
    publicKey,
    clientId: clientIdOf(publicKey),
    sign: (type, body) => new Uint8Array(sign(null, signatureInput(type, body), key)),
  };
}

function expectOk<Value>(what: string, result: Result<Value, unknown>): Value {
  if (!result.ok) throw new Error(`${what} was refused: ${JSON.stringify(result.error)}`);
  return result.value;
}

/** Chunk `index` of the shared delta, its first value replaced by the client's mark. */
function markedChunk(delta: Uint8Array, index: number, mark: number): Uint8Array {
  const chunk = delta.slice(index * chunkBytesMax, (index + 1) * chunkBytesMax);
  new DataView(chunk.buffer).setFloat32(0, mark, true);
  return chunk;
}

/** Digests of the chunks of `delta` with the mark of one client in each. */
function markedDigests(delta: Uint8Array, mark: number): Digest[] {
  return Array.from({ length: chunkCountOf(delta.length) }, (_, index) => {
    const chunk = markedChunk(delta, index, mark);
    const digest = digestOf(chunk);
    releaseBytes(chunk);
    return digest;
  });
}

/** Enrols and connects one client; `random` gives its key and nonces, `mark` makes its update different from all others. */
export async function joinLoadClient(options: {
  readonly coordinator: Coordinator;
  readonly transport: MemoryTransport;
  readonly delta: Float32Array;
  readonly mark: number;
  readonly random: SeededRandom;
}): Promise<LoadClient> {
  const { coordinator, transport, mark, random } = options;
  const delta = bytesOf(options.delta);
  const drawn = (count: number): Uint8Array => Uint8Array.from({ length: count }, () => random.integer(256));
  const identity = engineIdentity(drawn(32));
  const code = await coordinator.invite({ organisation: `site ${mark}`, url: 'http://localhost:1' });
  const { token, federationId, coordinatorKey } = parseEnrolmentCode(code);
  const enrolled = await transport.enrol(sealEnrolment(identity, { token, name: `site ${mark}`, federationId }));
  assert(enrolled.status === 200, 'a fresh invite enrols');
  const pinned = { coordinatorKey, federationId };
  const { serverNonce } = expectOk('the challenge', openChallenge((await transport.challenge()).body, pinned));
  const nonces = { serverNonce, clientNonce: drawn(nonceBytes) };
  const auth = sealAuth(identity, { ...nonces, coordinatorKey, timestampMs: Date.now() });
  let offer: Offer | null = null;
  const offered = Promise.withResolvers<void>();
  const connection: MemoryConnection = expectOk(
    'the connection',
    await transport.connect(auth, (event, frame) => {
      if (event !== 'offer') return;
      offer = expectOk('the offer', openOffer(coordinatorKey, frame));
      offered.resolve();
    }),
  );
  const call = async <Name extends CallName>(
    name: Name,
    body: Uint8Array,
    attachment?: Uint8Array,
  ): Promise<Reply<Name>> => {
    const answer = await connection.call(name, body, attachment);
    return expectOk(name, decodeReply(replies[name], answer.body) as Result<Reply<Name>, Violation>);
  };

  let sequence = 0n;
  let prepared: { readonly roundHash: Digest; readonly accept: Uint8Array; readonly update: Uint8Array } | null = null;
  const ready = (): NonNullable<typeof prepared> => {
    assert(prepared !== null, 'frames are prepared before they are sent');
    return prepared;
  };
  return {
    offered: offered.promise,
    prepare: () => {
      assert(offer !== null, 'an offer is heard before it is answered');
      const { roundHash, roundParams } = offer as Offer;
      const { sessionId } = roundParams;
      const facts = () => ({ identity, sessionId, sequence: ++sequence, timeMs: Date.now() });
      const chunkDigests = markedDigests(delta, mark);
      const vecRoot = vectorRoot(chunkBytesMax, chunkDigests);
      const body = { roundHash, vecRoot, chunkDigests, exampleCount: 10, trainLoss: null, seconds: 1 };
      const accept = sealEnvelope({ ...facts(), ...envelopeCalls.accept, body: { roundHash } });
      offer = null;
      prepared = { roundHash, accept, update: sealEnvelope({ ...facts(), ...envelopeCalls.update, body }) };
    },
    accept: async () => void (await call('accept', ready().accept)),
    announce: async () => void (await call('update', ready().update)),
    upload: async () => {
      const { roundHash } = ready();
      const count = chunkCountOf(delta.length);
      let next = 0;
      const window = async (): Promise<void> => {
        while (next < count) {
          const index = next++;
          const chunk = markedChunk(delta, index, mark);
          await call('upload-chunk', encodeMessage({ roundHash, index }), chunk);
          releaseBytes(chunk);
        }
      };
      await Promise.all(Array.from({ length: chunksInFlightMax }, window));
      await call('commit', encodeMessage({ roundHash }));
      prepared = null;
    },
  };
}
