/** Clients that speak the protocol without training: they keep what they hear and send what tests tell them to. */
import { strict as assert } from 'node:assert';
import type { MemoryConnection } from '../../coordinator/transport/memory-transport.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { Result } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { identityFromSeed } from '../../shared/crypto/identity.ts';
import { referenceTo } from '../../shared/protocol/blob-reference.ts';
import type { WireValue } from '../../shared/protocol/codec.ts';
import { decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import type { SealOptions } from '../../shared/protocol/envelope.ts';
import { sealEnvelope } from '../../shared/protocol/envelope.ts';
import { nonceBytes, openChallenge, openWelcome, sealAuth, sealEnrolment } from '../../shared/protocol/handshake.ts';
import type {
  CallName,
  CoordinatorEvent,
  Evaluate,
  Evaluation,
  Offer,
  Reply,
  RoundResult,
  Update,
} from '../../shared/protocol/messages.ts';
import { envelopeCalls, openEvaluate, openOffer, openResult, replies } from '../../shared/protocol/messages.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import type { World } from './harness.ts';
import { seededEntropy, settled } from './harness.ts';

type EnvelopeName = keyof typeof envelopeCalls;
/** Parts of an envelope that a test may set to something wrong. */
export type SealChanges = Partial<Pick<SealOptions<never>, 'identity' | 'sessionId' | 'sequence' | 'timeMs'>>;

/** A client under the control of a test. */
export interface FakeClient {
  readonly identity: Identity;
  readonly heard: CoordinatorEvent[];
  offer(): Offer;
  readonly evaluations: Evaluate[];
  readonly results: RoundResult[];
  call<Name extends CallName>(
    name: Name,
    body: Uint8Array,
    attachment?: Uint8Array,
  ): Promise<Result<Reply<Name>, Violation>>;
  plain<Name extends CallName>(
    name: Name,
    message: WireValue,
    attachment?: Uint8Array,
  ): Promise<Result<Reply<Name>, Violation>>;
  /** Seals an envelope with the next sequence number. */
  seal(name: EnvelopeName, body: { readonly roundHash: Digest } & object, changes?: SealChanges): Uint8Array;
  accept(): Promise<Result<Reply<'accept'>, Violation>>;
  announcement(delta: Float32Array, exampleCount?: number): Update;
  /** Announces, sends all chunks and commits. */
  upload(delta: Float32Array, exampleCount?: number): Promise<Result<Reply<'commit'>, Violation>>;
  evaluate(metrics: Evaluation['metrics'], exampleCount: number): Promise<Result<Reply<'evaluation'>, Violation>>;
  /** Connects, to the coordinator that takes the place of the first if one is given. */
  connect(to?: World): Promise<void>;
  leave(): void;
}

function expectOk<Value>(result: Result<Value, Violation>): Value {
  assert.ok(result.ok, JSON.stringify(result));
  return result.value;
}

/** Enrols and connects a client with the key of `seed`. */
export async function joinClient(world: World, seed: number): Promise<FakeClient> {
  const client = await enrolClient(world, seed);
  await client.connect();
  return client;
}

/** Enrols a client with the key of `seed`; `approval` and `organisation` as its invite says. */
export async function enrolClient(
  first: World,
  seed: number,
  approval: 'automatic' | 'manual' = 'automatic',
  organisation = `site ${seed}`,
): Promise<FakeClient> {
  let world = first;
  const entropy = seededEntropy(seed);
  const identity = identityFromSeed(entropy.bytes(32), engineCrypto);
  const { clientId } = identity;
  const { token, federationId, coordinatorKey } = parseEnrolmentCode(
    await world.coordinator.invite({ organisation, url: 'http://localhost:1', approval }),
  );
  const enrolled = await world.transport.enrol(sealEnrolment(identity, { token, name: `site ${seed}`, federationId }));
  assert.equal(enrolled.status, 200, JSON.stringify(enrolled.body));
  let connection: MemoryConnection | null = null;
  let sequence = 0n;
  let offer: Offer | null = null;
  const heard: CoordinatorEvent[] = [];
  const evaluations: Evaluate[] = [];
  const results: RoundResult[] = [];
  const currentOffer = (): Offer => {
    assert.ok(offer !== null, 'no offer was heard');
    return offer;
  };

  const client: FakeClient = {
    identity,
    heard,
    evaluations,
    results,
    offer: currentOffer,
    connect: async (to = world) => {
      world = to;
      const { transport, clock } = world;
      const challenge = expectOk(openChallenge((await transport.challenge()).body, { coordinatorKey, federationId }));
      const clientNonce = entropy.bytes(nonceBytes);
      const { serverNonce } = challenge;
      const auth = sealAuth(identity, { serverNonce, clientNonce, coordinatorKey, timestampMs: clock.nowMs() });
      const connected = await transport.connect(auth, (event, frame) => {
        heard.push(event);
        if (event === 'welcome')
          expectOk(openWelcome(coordinatorKey, frame, { serverNonce, clientNonce, federationId, clientId }));
        if (event === 'offer') offer = expectOk(openOffer(coordinatorKey, frame));
        if (event === 'evaluate') evaluations.push(expectOk(openEvaluate(coordinatorKey, frame)));
        if (event === 'result') results.push(expectOk(openResult(coordinatorKey, frame)));
      });
      assert.ok(connected.ok, JSON.stringify(connected));
      connection = connected.value;
      await settled();
    },
    leave: () => connection?.close(),
    call: async (name, body, attachment) => {
      assert.ok(connection !== null);
      const answer = await connection.call(name, body, attachment);
      return decodeReply(replies[name], answer.body) as Result<Reply<typeof name>, Violation>;
    },
    plain: (name, message, attachment) => client.call(name, encodeMessage(message), attachment),
    seal: (name, body, changes = {}) => {
      const { type, format } = envelopeCalls[name];
      const { sessionId } = currentOffer().roundParams;
      // The caller pairs the body with its name.
      const sealed = { type, format: format as never, body: body as never };
      const timeMs = world.clock.nowMs();
      return sealEnvelope({ identity, sessionId, sequence: ++sequence, timeMs, ...sealed, ...changes });
    },
    accept: () => client.call('accept', client.seal('accept', { roundHash: currentOffer().roundHash })),
    announcement: (delta, exampleCount = 10) => {
      const { reference, manifest } = referenceTo(bytesOf(delta));
      const { chunkDigests } = manifest;
      const { roundHash } = currentOffer();
      return { roundHash, vecRoot: reference.root, chunkDigests, exampleCount, trainLoss: 0.5, seconds: 1 };
    },
    upload: async (delta, exampleCount) => {
      const { roundHash } = currentOffer();
      const announced = await client.call('update', client.seal('update', client.announcement(delta, exampleCount)));
      if (!announced.ok) return announced;
      const bytes = bytesOf(delta);
      for (const index of announced.value.missing) {
        const chunk = bytes.subarray(index * chunkBytesMax, (index + 1) * chunkBytesMax);
        const stored = await client.plain('upload-chunk', { roundHash, index }, chunk);
        if (!stored.ok) return stored;
      }
      return client.plain('commit', { roundHash });
    },
    evaluate: (metrics, exampleCount) => {
      const request = evaluations.at(-1);
      assert.ok(request !== undefined, 'nothing to evaluate was heard');
      const { roundHash, modelHash } = request;
      const body = { roundHash, modelHash, exampleCount, metrics };
      return client.call('evaluation', client.seal('evaluation', body));
    },
  };
  return client;
}
