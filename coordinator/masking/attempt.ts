/**
 * The driver of one attempt of a masked round: performs the effects of the server's machine one after the other, makes every message durable
 * before it is answered and before anything follows from it, and repeats the stage to whoever comes back. Deadlines run from the moment at
 * which a phase began here; clients that left get a short while to come back.
 */
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import type { PlainCall } from '../../shared/protocol/messages.ts';
import { type Violation, violation } from '../../shared/protocol/violations.ts';
import { type Masked, maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import type { SignedBody } from '../../shared/secure-aggregation/server-state.ts';
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';
import type { VectorShape } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { Contradiction } from '../audit/contradiction.ts';
import { receiptOf, type Uploads } from '../rounds/uploads.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import { decodeAttemptMessage, encodeAttemptMessage } from './attempt-log.ts';
import {
  type AttemptEffect,
  type AttemptEvent,
  type AttemptPhase,
  type AttemptSetting,
  createAttemptMachine,
} from './attempt-machine.ts';
import { type OpenableSum, openableSums } from './masked-sum.ts';
import { clientsOfStage } from './waiting-for.ts';

/** Phases that wait for clients. */
export type WaitingPhase = Exclude<AttemptPhase, 'opened' | 'aborted'>;

/** What an attempt works with. */
export interface AttemptPorts {
  readonly setting: AttemptSetting;
  readonly shape: VectorShape;
  readonly suite: MaskedSuite;
  readonly deadlinesMs: Readonly<Record<WaitingPhase, number>>;
  readonly clock: Clock;
  /** Masked vectors as they arrive. */
  readonly uploads: Uploads;
  readonly blobs: Pick<CoordinatorBlobs, 'scan' | 'delete'>;
  /** Key and certificate under which the roster shows a client. */
  readonly memberOf: (
    clientId: ClientId,
  ) => Promise<{ readonly publicKey: Uint8Array; readonly certificate: Uint8Array }>;
  /** Makes evidence durable that a client signed two vectors. */
  readonly onContradiction: (found: Contradiction) => Promise<void>;
  /** Makes a message durable. */
  readonly persist: (message: string) => Promise<void>;
  /** Messages that were made durable before a restart. */
  readonly history: readonly string[];
  readonly send: (clientId: ClientId, event: StageEvent) => void;
  /** A phase began with so many clients; of an opened sum, so many are in it. */
  readonly onStage: (stage: Exclude<StageEvent['type'], 'open' | 'outcome'> | 'opened', clientCount: number) => void;
}

/** How an attempt ended: with the sums of the groups that open, of so many that were drawn, or of the one complete graph. */
export type AttemptEnd =
  | { readonly kind: 'opened'; readonly sums: readonly OpenableSum[]; readonly groupCount: number }
  | { readonly kind: 'aborted'; readonly reason: Violation; readonly ejected: readonly ClientId[] };

/** An attempt under way. */
export interface Attempt {
  readonly roundHash: Digest;
  /** Takes M1 to M5; of M3 the indices of chunks that are missing, nothing of others. */
  hear(clientId: ClientId, call: PlainCall<'masked'>): Promise<Result<readonly number[], Violation>>;
  chunk(clientId: ClientId, index: number, bytes: Uint8Array): Promise<Result<null, Violation>>;
  /** The receipt, once the vector is durable and counts. */
  commit(clientId: ClientId): Promise<Result<Digest, Violation>>;
  joined(clientId: ClientId): void;
  left(clientId: ClientId): void;
  /** The phase in hand. */
  readonly phase: () => AttemptPhase;
  /** Rejects when durable storage fails. */
  readonly ended: Promise<AttemptEnd>;
  /** Gives up; nothing is heard any more. Resolves when nothing is being written. */
  close(): Promise<void>;
}

/** Longest time for which clients that left are waited for. */
const graceMsMax = 10_000;

/** The name of a message as events have it. */
const eventOf = { DRAW: 'draw', SHARES: 'shares', AGREE: 'agree', UNMASK: 'unmask' } as const;

/** The phase of an attempt after messages that were made durable. */
export function phaseAfter(setting: AttemptSetting, messages: readonly string[]): AttemptPhase {
  const machine = createAttemptMachine(setting);
  for (const message of messages) machine.receive(decodeAttemptMessage(message));
  return machine.phase();
}

/** Begins an attempt, or goes on where `history` ends. */
export function createAttempt(ports: AttemptPorts): Attempt {
  const {
    setting,
    shape,
    suite,
    deadlinesMs,
    clock,
    uploads,
    blobs,
    memberOf,
    onContradiction,
    persist,
    send,
    onStage,
  } = ports;
  const { roundHash } = setting;
  const done = Promise.withResolvers<AttemptEnd>();
  // Whoever awaits the end hears of a failure.
  done.promise.catch(() => undefined);
  const machine = createAttemptMachine(setting);
  let queue: Promise<void> = Promise.resolve();
  /** Resolves when every message that was taken so far is durable. */
  let durable: Promise<void> = queue;
  let isClosed = false;
  let cancelTimer = (): void => undefined;
  let endsMs = 0;
  const gone = new Set<ClientId>();
  const ejected: ClientId[] = [];
  /** What each client was told last: told again when it comes back. */
  const told = new Map<ClientId, StageEvent>();
  /** Digests of messages that were taken, by sender and kind: a client repeats what it heard no answer to. */
  const taken = new Map<string, Digest>();
  /** What clients announced first; evidence, should they announce something else. */
  const announced = new Map<ClientId, SignedBody>();
  const roots = new Map<ClientId, { readonly root: Digest; readonly bodyHash: Digest }>();

  const perform = async (effect: AttemptEffect, isReplay: boolean): Promise<void> => {
    switch (effect.type) {
      case 'reject':
      case 'persist':
      case 'leave-out':
        break;
      case 'send-roster':
      case 'send-delivery':
      case 'send-survivors':
      case 'send-quorum':
      case 'send-drawn':
      case 'send-outcome': {
        const { event, clients } = clientsOfStage(effect);
        for (const clientId of clients) {
          told.set(clientId, event);
          if (!isReplay) send(clientId, event);
        }
        break;
      }
      case 'eject':
        ejected.push(effect.clientId);
        break;
      case 'open-sums': {
        await uploads.close();
        const { openings, groupCount } = effect;
        const sums = openableSums(openings, { shape, suite, blobs, rootOf: (clientId) => roots.get(clientId)!.root });
        const counted = sums.reduce((sum, { contributors }) => sum + contributors.length, 0);
        onStage('opened', counted);
        done.resolve({ kind: 'opened', sums, groupCount });
        break;
      }
      case 'aborted':
        await uploads.close();
        done.resolve({ kind: 'aborted', reason: effect.reason, ejected });
        break;
      default:
        effect satisfies never;
    }
  };
  const enqueue = (effect: AttemptEffect, isReplay: boolean): void => {
    // Messages are written at once and in order, so that those of the same moment share a transaction; what follows from them waits.
    const isWritten = effect.type === 'persist' && !isReplay;
    const written = isWritten ? persist(encodeAttemptMessage(effect.event)) : Promise.resolve();
    written.catch(() => undefined);
    queue = queue.then(async () => {
      await written;
      await perform(effect, isReplay);
    });
    queue.catch(done.reject);
    if (isWritten) durable = queue;
  };

  const remember = (event: AttemptEvent): void => {
    if (!('body' in event)) return;
    const bodyHash = digestOf(event.body);
    taken.set(`${event.clientId} ${event.type}`, bodyHash);
    if (event.type !== 'masked') return;
    const body = decodeCanonical(maskedFormat, event.body, 'M3');
    if (!body.ok) return;
    roots.set(event.clientId, { root: body.value.vecRoot, bodyHash });
    const { signature } = event;
    announced.set(event.clientId, { body: event.body, signature });
  };
  const take = (event: AttemptEvent, isReplay = false): Violation | null => {
    const before = machine.phase();
    let refused: Violation | null = null;
    for (const effect of machine.receive(event)) {
      if (effect.type === 'reject') refused = effect.reason;
      // What follows from a replayed message was done before, but for what each client was told, and the end.
      else enqueue(effect, isReplay);
    }
    if (refused === null) remember(event);
    if (isReplay) return refused;
    if (machine.phase() !== before) beginPhase();
    else checkPresence();
    return refused;
  };

  const setTimer = (delayMs: number): void => {
    cancelTimer();
    endsMs = clock.nowMs() + delayMs;
    cancelTimer = clock.after(delayMs, () => void take({ type: 'deadline' }));
  };
  const beginPhase = (): void => {
    cancelTimer();
    const name = machine.phase();
    if (isClosed || name === 'opened' || name === 'aborted') return;
    setTimer(deadlinesMs[name]);
    const stages = {
      advertising: null,
      drawing: 'roster',
      sharing: setting.grouping === null ? 'roster' : 'drawn',
      collecting: 'delivery',
      agreeing: 'survivors',
      unmasking: 'quorum',
    } as const;
    const stage = stages[name];
    if (stage !== null) onStage(stage, machine.missing().length);
    checkPresence();
  };
  /** Where only clients are missing that left, the phase soon ends without them. */
  const checkPresence = (): void => {
    const name = machine.phase();
    if (isClosed || name === 'opened' || name === 'aborted') return;
    const missing = machine.missing();
    if (missing.length === 0 || !missing.every((clientId) => gone.has(clientId))) return;
    const graceMs = Math.min(graceMsMax, deadlinesMs[name] / 4);
    if (endsMs - clock.nowMs() > graceMs) setTimer(graceMs);
  };

  for (const clientId of setting.invited) {
    told.set(clientId, { type: 'open' });
    if (ports.history.length === 0) send(clientId, { type: 'open' });
  }
  for (const message of ports.history) take(decodeAttemptMessage(message), true);
  beginPhase();

  /** Takes a message and waits until it is durable. */
  const settle = async (event: AttemptEvent): Promise<Violation | null> => {
    const refused = take(event);
    await durable;
    return refused;
  };
  const late = (): Violation => violation('stale-round', 'the attempt is over');
  /** Refuses an announcement; where it contradicts an earlier one, both are evidence first. */
  const contradicting = async (
    clientId: ClientId,
    { body, signature }: SignedBody,
    refused: Violation,
  ): Promise<Result<never, Violation>> => {
    const earlier = announced.get(clientId);
    if (refused.code === 'conflicting-update' && earlier !== undefined) {
      const { publicKey } = await memberOf(clientId);
      const first = { signed: earlier.body, signature: earlier.signature };
      await onContradiction({ publicKey, roundHash, kind: 'MASKED', first, second: { signed: body, signature } });
    }
    return refuse(refused);
  };

  return {
    roundHash,
    hear: async (clientId, call) => {
      if (isClosed) return refuse(late());
      const { kind } = call;
      const [body, signature] = [Uint8Array.from(call.body), Uint8Array.from(call.signature)];
      const type = kind === 'ADVERT' ? 'advert' : kind === 'MASKED' ? 'masked' : eventOf[kind];
      if (taken.get(`${clientId} ${type}`) === digestOf(body)) {
        await durable;
        return succeed([]);
      }
      if (kind === 'MASKED') {
        // The machine takes a vector once it is whole; asked before, it says whether it would.
        const said = { body, signature };
        const refused = machine.judge({ type: 'masked', clientId, ...said });
        if (refused !== null) return contradicting(clientId, said, refused);
        const decoded = decodeCanonical(maskedFormat, body, 'M3');
        if (!decoded.ok) return decoded;
        const missing = await uploads.announce(clientId, digestOf(body), announcementOf(roundHash, decoded.value));
        if (!missing.ok) return contradicting(clientId, said, missing.error);
        announced.set(clientId, said);
        return missing;
      }
      const member = kind === 'ADVERT' ? await memberOf(clientId) : null;
      const said = { clientId, body, signature };
      const event: AttemptEvent =
        member === null
          ? { type: eventOf[kind as keyof typeof eventOf], ...said }
          : { type: 'advert', ...said, ...member };
      const refused = await settle(event);
      return refused === null ? succeed([]) : refuse(refused);
    },
    chunk: (clientId, index, bytes) => uploads.chunk(clientId, roundHash, index, bytes),
    commit: async (clientId) => {
      const known = roots.get(clientId);
      if (known !== undefined) {
        await durable;
        return succeed(receiptOf(roundHash, clientId, known.bodyHash));
      }
      const announcement = announced.get(clientId);
      if (announcement === undefined) return refuse(violation('unknown-upload', 'announce the vector first'));
      const { body, signature } = announcement;
      const event: AttemptEvent = { type: 'masked', clientId, body, signature };
      const early = isClosed ? late() : machine.judge(event);
      if (early !== null) return refuse(early);
      const stored = await uploads.commit(clientId, roundHash);
      if (!stored.ok) return stored;
      const { delta, receipt } = stored.value.update;
      const refused = isClosed ? late() : await settle(event);
      if (refused === null) return succeed(receipt);
      // It arrived while its survivors were counted: the vector is not kept.
      await blobs.delete(delta);
      return refuse(refused);
    },
    joined: (clientId) => {
      gone.delete(clientId);
      const event = told.get(clientId);
      if (event !== undefined && machine.phase() !== 'aborted') send(clientId, event);
    },
    left: (clientId) => {
      gone.add(clientId);
      checkPresence();
    },
    phase: () => machine.phase(),
    ended: done.promise,
    close: async () => {
      isClosed = true;
      cancelTimer();
      await uploads.close();
      await queue.catch(() => undefined);
    },
  };
}

/** An announcement as uploads take it; weight and time are inside the vector or nobody's business. */
function announcementOf(roundHash: Digest, { vecRoot, chunkDigests }: Masked) {
  return { roundHash, vecRoot, chunkDigests, exampleCount: 0, seconds: 0 };
}
