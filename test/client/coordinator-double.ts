/**
 * A coordinator that tests hold in their hand: it seals what a test tells it to say, answers every call well unless told otherwise, and cuts
 * connections. It keeps no rounds: what is decided there is tested with the real one.
 */
import { strict as assert } from 'node:assert';
import type { Answer, Call, Transport, TransportListener } from '../../client/transport/transport.ts';
import { createAuditLog } from '../../coordinator/audit/audit-log.ts';
import { createMemoryLog } from '../../coordinator/audit/log-memory.ts';
import type { Happening } from '../../shared/audit/entry.ts';
import { bytesOf, toHex, utf8 } from '../../shared/core/bytes.ts';
import { TransportError } from '../../shared/core/errors.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import { parseDigest, parseFederationId, parseSessionId } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { refuse } from '../../shared/core/result.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { createIdentity } from '../../shared/crypto/identity.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { planBytes, planHashOf } from '../../shared/plan/plan.ts';
import type { Manifest } from '../../shared/protocol/blob-reference.ts';
import { referenceTo } from '../../shared/protocol/blob-reference.ts';
import type { Format } from '../../shared/protocol/canonical.ts';
import type { WireValue } from '../../shared/protocol/codec.ts';
import { decodeMessage, encodeMessage, encodeReply } from '../../shared/protocol/codec.ts';
import { formatEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { type EnvelopeType, openEnvelope } from '../../shared/protocol/envelope.ts';
import type { BlobReference, CallName, Decline, Evaluation, Offer, Update } from '../../shared/protocol/messages.ts';
import { envelopeCalls, plainCalls, sealEvaluate, sealOffer, sealResult } from '../../shared/protocol/messages.ts';
import { encodeRoundParams, type RoundParams, roundHashOf, unmaskedRound } from '../../shared/protocol/round-params.ts';
import type { ViolationCode } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import { sealVoid } from '../../shared/protocol/void-record.ts';
import { type AdapterLayout, layoutDigest } from '../../shared/update/layout.ts';
import { modelHashOf } from '../../shared/update/model-hash.ts';
import { manualClock, seededEntropy, testPlan } from '../coordinator/harness.ts';
import { fixedBase, fixedBaseDigest, fixedLayout } from './fixed-learner.ts';
import { memoryPlatform } from './memory-platform.ts';

/** Values of the adapter. */
export const dim = 4;
const federationId = parseFederationId('f'.repeat(64));

/** The base and the layout of the adapter that a double offers. */
export interface DoubleModel {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly baseDigest: Digest;
  readonly layout: AdapterLayout;
}

/** What needs no model to compute. */
const fixedModel: DoubleModel = { files: fixedBase, baseDigest: fixedBaseDigest(fixedBase), layout: fixedLayout(dim) };

/** The plan that the double offers; parts of its rounds may be replaced. */
export const doublePlan = (rounds: object = {}): Plan => ({
  ...testPlan({ rounds }),
  base: { digest: fixedModel.baseDigest },
});

/** A round as tests name it that ended. */
interface EndedRound {
  readonly roundHash: Digest;
  readonly roundParams: Pick<Offer['roundParams'], 'roundIndex'>;
}

/** What was heard: the name of the call and what its body says. */
export interface HeardCall {
  readonly name: CallName;
  readonly body: {
    readonly [Field in keyof Update | keyof Decline | keyof Evaluation]?:
      | (Update & Decline & Evaluation)[Field]
      | undefined;
  } & { readonly index?: number; readonly digest?: Digest };
}

/** What a test may do to an answer: refuse it with a code, lose it after it was heard, or wait with it. */
export type Meddling = ViolationCode | 'lost' | Promise<unknown>;

/** A double whose one client has the key of seed 2. */
export function coordinatorDouble({ files, baseDigest, layout }: DoubleModel = fixedModel) {
  const identity = createIdentity(seededEntropy(1));
  const clock = manualClock();
  const platform = memoryPlatform(2, async () => ({ status: 200, body: enrolmentAnswer() }), clock);
  const blobs = new Map<Digest, { readonly bytes: Uint8Array; readonly manifest: Manifest }>();
  const heard: HeardCall[] = [];
  const meddle = new Map<CallName, Meddling[]>();
  let listener: TransportListener | null = null;
  let clientKey = new Uint8Array();
  let clientId = '';
  let isReachable = true;
  let connects = 0;

  const enrolmentAnswer = () => ({
    status: 'approved',
    clientId,
    federationId,
    coordinatorKey: toHex(identity.publicKey),
  });
  const inviteTo = (federation: FederationId, url = 'https://coordinator.example'): string =>
    formatEnrolmentCode({
      url,
      federationId: federation,
      coordinatorKey: identity.publicKey,
      token: new Uint8Array(32),
      approval: 'automatic',
      consortium: null,
    });
  const adapterOf = (value: number): Uint8Array => bytesOf(new Float32Array(layout.dim).fill(value));
  const announce = (bytes: Uint8Array): BlobReference => {
    const { reference, manifest } = referenceTo(bytes);
    blobs.set(reference.digest, { bytes, manifest });
    return reference;
  };
  const opened = <Body extends { readonly roundHash: Digest }>(
    frame: Uint8Array,
    kind: { readonly type: EnvelopeType; readonly format: Format<Body> },
  ): Body => {
    const facts = { publicKey: clientKey, nowMs: clock.nowMs(), lastSequence: 0n };
    const envelope = openEnvelope(frame, { ...facts, clientId: clientId as never, ...kind });
    assert.ok(envelope.ok, 'the client seals correctly');
    return envelope.value.body;
  };
  const decode = (name: CallName, frame: Uint8Array): HeardCall['body'] => {
    switch (name) {
      case 'accept':
        return opened(frame, envelopeCalls.accept);
      case 'decline':
        return opened(frame, envelopeCalls.decline);
      case 'update':
        return opened(frame, envelopeCalls.update);
      case 'evaluation':
        return opened(frame, envelopeCalls.evaluation);
      case 'ready':
        return opened(frame, envelopeCalls.ready);
      default: {
        const decoded = decodeMessage(plainCalls[name], frame);
        assert.ok(decoded.ok);
        return decoded.value as HeardCall['body'];
      }
    }
  };
  const reply = (name: CallName, body: HeardCall['body']): Answer => {
    const ok = (value: { readonly [key: string]: WireValue } = {}, attachment: Uint8Array | null = null): Answer => ({
      body: encodeReply({ ok: true, value }),
      attachment,
    });
    if (name === 'fetch-manifest') return ok({ ...blobs.get(body.digest!)!.manifest });
    if (name === 'fetch-chunk') {
      const start = body.index! * chunkBytesMax;
      return ok({}, blobs.get(body.digest!)!.bytes.slice(start, start + chunkBytesMax));
    }
    if (name === 'update') return ok({ missing: [...body.chunkDigests!.keys()] });
    if (name === 'commit') {
      const receipt = digestOf(utf8(body.roundHash ?? ''));
      note({ type: 'update-stored', subject: receipt, payload: { receipt, clientId } });
      return ok({ receipt });
    }
    return ok();
  };

  /** The log, which holds the results and receipts that the double gave. */
  const log = createAuditLog({ store: createMemoryLog(), identity, clock });
  const logged: Promise<unknown>[] = [];
  const note = (...happenings: Happening[]): void => void logged.push(log.record(...happenings));
  const prove = async (frame: Uint8Array): Promise<Answer> => {
    const asked = decodeMessage(plainCalls.prove, frame);
    assert.ok(asked.ok);
    await Promise.all([...logged, ...(meddle.get('prove') ?? [])]);
    const { size, roundIndex, receipt } = asked.value;
    const wanted = [
      { type: 'round-published', subject: String(roundIndex) },
      { type: 'round-void', subject: String(roundIndex) },
      { type: 'update-stored', subject: String(receipt) },
    ] as const;
    return {
      body: encodeReply({ ok: true, value: { proof: await log.prove(federationId, size, wanted) } }),
      attachment: null,
    };
  };

  const transport: Transport = {
    connect: async (given) => {
      connects++;
      if (!isReachable) throw new TransportError('connection-failed', 'nobody is there');
      listener = given;
      given.onConnected();
    },
    call: async ({ event, body }: Call) => {
      const name = event as CallName;
      if (listener === null) throw new TransportError('not-connected', 'there is no connection');
      const call = { name, body: decode(name, body) };
      if (name === 'prove') return prove(body);
      heard.push(call);
      const meddling = meddle.get(name)?.shift();
      if (meddling instanceof Promise) await meddling;
      else if (meddling === 'lost') throw new TransportError('no-answer', 'the answer got lost');
      else if (meddling !== undefined)
        return { body: encodeReply(refuse(violation(meddling, 'said the test'))), attachment: null };
      return reply(name, call.body);
    },
    clockOffsetMs: () => 0,
    measureClock: async () => undefined,
    close: () => {
      listener = null;
    },
  };

  return {
    clock,
    platform,
    heard,
    connects: () => connects,
    isConnected: () => listener !== null,
    /** Names of the calls so far, without those that fetch. */
    names: () => heard.map(({ name }) => name).filter((name) => !name.startsWith('fetch')),
    meddle: (name: CallName, ...meddlings: Meddling[]) => void meddle.set(name, meddlings),
    transportOf: (_credentials: unknown, client: { readonly publicKey: Uint8Array; readonly clientId: string }) => {
      clientKey = Uint8Array.from(client.publicKey);
      clientId = client.clientId;
      return transport;
    },
    invite: inviteTo(federationId),
    inviteTo,
    /** Cuts the connection; a coordinator that is not reachable stays away. */
    drop: (reachable = true) => {
      isReachable = reachable;
      const lost = listener;
      listener = null;
      lost?.onLost('the cable was cut');
    },
    comeBack: () => {
      isReachable = true;
    },
    /** Seals and sends the offer of a round that starts from an adapter of `value`s. */
    offer: (
      roundIndex: number,
      { value = 0, plan = doublePlan(), by = identity, attempt = 0, params = {} as Partial<RoundParams> } = {},
    ): Offer => {
      const adapter = adapterOf(value);
      const unmasked = unmaskedRound({
        federationId,
        sessionId: parseSessionId('5'.repeat(32)),
        roundIndex,
        attempt,
        modelHash: modelHashOf(baseDigest, adapter),
        layoutHash: layoutDigest(layout),
        planHash: planHashOf(plan),
        baseDigest,
        dim: layout.dim,
        weightMax: 1000,
        clientCountMin: 2,
        clientCountMax: 2,
        recruitMs: 1000,
        trainMs: 1000,
      });
      const roundParams = { ...unmasked, ...params };
      const base = [...files].map(([name, bytes]) => ({ name, blob: announce(bytes) }));
      const content = { roundParams, plan: announce(planBytes(plan)), base, adapter: announce(adapter) };
      listener?.onMessage('offer', sealOffer(by, content));
      return { roundHash: roundHashOf(encodeRoundParams(roundParams)), ...content };
    },
    /** Asks for the evaluation of an adapter of `value`s. */
    evaluate: (roundHash: Digest, value: number, modelHash?: Digest) => {
      const bytes = adapterOf(value);
      const request = { roundHash, modelHash: modelHash ?? modelHashOf(baseDigest, bytes), adapter: announce(bytes) };
      listener?.onMessage('evaluate', sealEvaluate(identity, request));
    },
    /** Tells a result, which its log has as well unless it is to lie. */
    result: ({ roundHash, roundParams }: EndedRound, value: number, { by = identity, isLogged = true } = {}) => {
      const newModelHash = modelHashOf(baseDigest, adapterOf(value));
      const hashes = { resultHash: parseDigest('c'.repeat(64)), transcriptHash: parseDigest('d'.repeat(64)) };
      const body = {
        roundHash,
        roundIndex: roundParams.roundIndex,
        newModelHash,
        contributorCount: 2,
        totalWeight: 20,
      };
      const { resultHash } = hashes;
      const payload = { roundHash, resultHash, modelHash: newModelHash };
      if (isLogged) note({ type: 'round-published', subject: String(roundParams.roundIndex), payload });
      listener?.onMessage('result', sealResult(by, { ...body, ...hashes }));
    },
    /** Tells that a round is void, in which the model of `value`s stays. */
    void: ({ roundHash, roundParams: { roundIndex } }: EndedRound, value: number) => {
      const modelHash = modelHashOf(baseDigest, adapterOf(value));
      const numbers = { roundIndex, nextRoundIndex: roundIndex + 1 };
      const record = { federationId, roundHash, ...numbers, modelHash, reason: 'said the test', createdAtMs: 1 };
      const frame = sealVoid(identity, record);
      note({ type: 'round-void', subject: String(roundIndex), payload: { record: toHex(frame) } });
      listener?.onMessage('void', frame);
    },
    finish: (status: 'completed' | 'stopped' = 'completed') =>
      listener?.onMessage('finished', encodeMessage({ status, detail: 'the test is over' })),
  };
}

/** A double. */
export type CoordinatorDouble = ReturnType<typeof coordinatorDouble>;
