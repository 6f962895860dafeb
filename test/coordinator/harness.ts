/** A small federation for tests: a plan of three values, a clock that tests move, and clients that speak the protocol without training. */
import { strict as assert } from 'node:assert';
import type { Coordinator, CoordinatorOptions, CoordinatorProgress } from '../../coordinator/coordinator.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import type { MemoryConnection, MemoryTransport } from '../../coordinator/transport/memory-transport.ts';
import { memoryTransport } from '../../coordinator/transport/memory-transport.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { Clock, Entropy } from '../../shared/core/ports.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { Result } from '../../shared/core/result.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { createIdentity } from '../../shared/crypto/identity.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { referenceTo } from '../../shared/protocol/blob-reference.ts';
import type { WireValue } from '../../shared/protocol/codec.ts';
import { decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
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
import { layoutOf } from '../../shared/update/layout.ts';

/** Bytes from a seed: good enough for keys of tests. */
export function seededEntropy(seed: number): Entropy {
  const random = seededRandom(seed, 'entropy');
  return { bytes: (count) => Uint8Array.from({ length: count }, () => random.integer(256)) };
}

/** A clock that only tests move. */
export function manualClock(): Clock & { advance(byMs: number): Promise<void> } {
  let nowMs = 1_700_000_000_000;
  let timers: { readonly atMs: number; readonly action: () => void }[] = [];
  return {
    nowMs: () => nowMs,
    after: (delayMs, action) => {
      const timer = { atMs: nowMs + delayMs, action };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance: async (byMs) => {
      nowMs += byMs;
      for (const timer of timers.filter(({ atMs }) => atMs <= nowMs)) {
        timers = timers.filter((other) => other !== timer);
        timer.action();
      }
      await settled();
    },
  };
}

/** Gives everything that is ready its turn; enough where all state is in memory. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Milliseconds of real time after which a wait is in vain: below mocha's limit, so that the test says what it waited for. */
const waitMsMax = 10_000;

/** Waits for what depends on real input and output. A wait in vain fails with `what`, and so does a coordinator that broke meanwhile. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const endMs = performance.now() + waitMsMax;
  while (!condition()) {
    for (const world of worlds) if (world.broken !== null) throw world.broken;
    if (performance.now() > endMs) throw new Error(`waited ${waitMsMax} ms in vain for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Coordinators of the test that runs. */
const worlds = new Set<{ readonly coordinator: Coordinator; broken: Error | null }>();

/** Closes every coordinator that a test started; for `afterEach`. */
export async function closeWorlds(): Promise<void> {
  const open = [...worlds];
  worlds.clear();
  for (const { coordinator } of open) await coordinator.close();
}

const baseDigest = 'ba'.repeat(32) as Digest;
/** Layout of all tests: one head of `dim` values in one tensor. */
export const layoutFor = (dim: number) =>
  layoutOf([{ name: 'head.bias', shape: [dim], aggregationClass: 'mean', decays: false }]);

/** A plan with short deadlines; parts may be replaced. */
export function testPlan(
  changes: { readonly rounds?: object; readonly aggregation?: object; readonly evaluation?: object } = {},
): Plan {
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'test',
      base: { digest: baseDigest },
      task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 8 },
      adapter: { method: 'none' },
      training: { localSteps: 1 },
      rounds: {
        count: 2,
        cohortSize: 2,
        quorum: 2,
        recruitSeconds: 10,
        trainSeconds: 60,
        evaluateSeconds: 10,
        ...changes.rounds,
      },
      aggregation: { rule: 'fedavg', ...changes.aggregation },
      evaluation: { everyRounds: 1, ...changes.evaluation },
    },
    'the test',
  );
}

/** A coordinator under test with its surroundings. */
export interface World {
  readonly coordinator: Coordinator;
  readonly transport: MemoryTransport;
  readonly clock: ReturnType<typeof manualClock>;
  readonly events: CoordinatorProgress[];
}

/** Starts a coordinator in memory, or on `stateFolder`. */
export async function startWorld(
  options: Partial<CoordinatorOptions> & { readonly dim?: number } = {},
): Promise<World> {
  const { dim = 3, ...rest } = options;
  const transport = memoryTransport();
  const clock = manualClock();
  const events: CoordinatorProgress[] = [];
  const coordinator = await startCoordinator({
    plan: testPlan(),
    baseFiles: new Map([['config.json', Uint8Array.of(123, 125)]]),
    baseDigest,
    layout: layoutFor(dim),
    initialAdapter: new Float32Array(dim),
    stateFolder: null,
    transport,
    clock,
    entropy: seededEntropy(1),
    onEvent: (event) => events.push(event),
    ...rest,
  });
  const watched = { coordinator, broken: null as Error | null };
  coordinator.ended.catch((thrown: Error) => {
    watched.broken = thrown;
  });
  worlds.add(watched);
  return { coordinator, transport, clock, events };
}

/** A client that keeps what it hears and sends what tests tell it to. */
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
  seal(name: 'accept' | 'update' | 'evaluation', body: { readonly roundHash: Digest } & object): Uint8Array;
  accept(): Promise<Result<Reply<'accept'>, Violation>>;
  announcement(delta: Float32Array, exampleCount?: number): Update;
  /** Announces, sends all chunks and commits. */
  upload(delta: Float32Array, exampleCount?: number): Promise<Result<Reply<'commit'>, Violation>>;
  evaluate(metrics: Evaluation['metrics'], exampleCount: number): Promise<Result<Reply<'evaluation'>, Violation>>;
  connect(): Promise<void>;
  leave(): void;
}

/** Enrols and connects a client with the key of `seed`. */
export async function joinClient(world: World, seed: number): Promise<FakeClient> {
  const { coordinator, transport, clock } = world;
  const entropy = seededEntropy(seed);
  const identity = createIdentity(entropy);
  const { token, federationId, coordinatorKey } = parseEnrolmentCode(
    await coordinator.invite({ organisation: `site ${seed}`, url: 'http://localhost:1' }),
  );
  const enrolled = await transport.enrol(sealEnrolment(identity, { token, name: `site ${seed}`, federationId }));
  assert.equal(enrolled.status, 200, JSON.stringify(enrolled.body));
  let connection: MemoryConnection | null = null;
  let sequence = 0n;
  let offer: Offer | null = null;
  const heard: CoordinatorEvent[] = [];
  const evaluations: Evaluate[] = [];
  const results: RoundResult[] = [];
  const expectOk = <Value>(result: Result<Value, Violation>): Value => {
    assert.ok(result.ok, JSON.stringify(result));
    return result.value;
  };
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
    connect: async () => {
      const challenge = expectOk(openChallenge((await transport.challenge()).body, { coordinatorKey, federationId }));
      const clientNonce = entropy.bytes(nonceBytes);
      const { serverNonce } = challenge;
      const auth = sealAuth(identity, { serverNonce, clientNonce, coordinatorKey, timestampMs: clock.nowMs() });
      const connected = await transport.connect(auth, (event, frame) => {
        heard.push(event);
        if (event === 'welcome') {
          expectOk(
            openWelcome(coordinatorKey, frame, { serverNonce, clientNonce, federationId, clientId: identity.clientId }),
          );
        }
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
    seal: (name, body) => {
      const { type, format } = envelopeCalls[name];
      const { sessionId } = currentOffer().roundParams;
      // The caller pairs the body with its name.
      return sealEnvelope({
        identity,
        type,
        sessionId,
        sequence: ++sequence,
        timeMs: clock.nowMs(),
        format: format as never,
        body: body as never,
      });
    },
    accept: () => client.call('accept', client.seal('accept', { roundHash: currentOffer().roundHash })),
    announcement: (delta, exampleCount = 10) => {
      const { reference, manifest } = referenceTo(bytesOf(delta));
      const { chunkDigests } = manifest;
      return {
        roundHash: currentOffer().roundHash,
        vecRoot: reference.root,
        chunkDigests,
        exampleCount,
        trainLoss: 0.5,
        seconds: 1,
      };
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
      return client.call(
        'evaluation',
        client.seal('evaluation', { roundHash, modelHash, exampleCount, metrics } as { roundHash: Digest }),
      );
    },
  };
  await client.connect();
  return client;
}
