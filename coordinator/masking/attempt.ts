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
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import { type Masked, maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import { openAttempt, receiveAsServer } from '../../shared/secure-aggregation/server-machine.ts';
import type {
  ServerEffect,
  ServerEvent,
  ServerPhase,
  ServerSetting,
  ServerState,
} from '../../shared/secure-aggregation/server-state.ts';
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';
import type { VectorShape } from '../../shared/secure-aggregation/vector-bytes.ts';
import { receiptOf, type Uploads } from '../rounds/uploads.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import { decodeAttemptMessage, encodeAttemptMessage } from './attempt-log.ts';
import { openSum } from './masked-sum.ts';
import { clientsOfStage, missingOf } from './waiting-for.ts';

/** Phases that wait for clients. */
export type WaitingPhase = Exclude<ServerPhase['name'], 'opened' | 'aborted'>;

/** What an attempt works with. */
export interface AttemptPorts {
  readonly setting: ServerSetting;
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
  /** Makes a message durable. */
  readonly persist: (message: string) => Promise<void>;
  /** Messages that were made durable before a restart. */
  readonly history: readonly string[];
  readonly send: (clientId: ClientId, event: StageEvent) => void;
  /** A phase began with so many clients. */
  readonly onStage: (stage: Exclude<StageEvent['type'], 'open'> | 'opened', clientCount: number) => void;
}

/** How an attempt ended. */
export type AttemptEnd =
  | { readonly kind: 'opened'; readonly sum: MaskedVector; readonly contributors: readonly ClientId[] }
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
  readonly phase: () => ServerPhase['name'];
  /** Rejects when durable storage fails. */
  readonly ended: Promise<AttemptEnd>;
  /** Gives up; nothing is heard any more. Resolves when nothing is being written. */
  close(): Promise<void>;
}

/** Longest time for which clients that left are waited for. */
const graceMsMax = 10_000;

/** The name of a message as events have it. */
const eventOf = { SHARES: 'shares', AGREE: 'agree', UNMASK: 'unmask' } as const;

/** The phase of an attempt after messages that were made durable. */
export function phaseAfter(setting: ServerSetting, messages: readonly string[]): ServerPhase['name'] {
  const replayed = messages.reduce(
    (state, message) => receiveAsServer(state, decodeAttemptMessage(message)).state,
    openAttempt(setting),
  );
  return replayed.phase.name;
}

/** Begins an attempt, or goes on where `history` ends. */
export function createAttempt(ports: AttemptPorts): Attempt {
  const { setting, shape, suite, deadlinesMs, clock, uploads, blobs, memberOf, persist, send, onStage } = ports;
  const { roundHash } = setting;
  const done = Promise.withResolvers<AttemptEnd>();
  // Whoever awaits the end hears of a failure.
  done.promise.catch(() => undefined);
  let state: ServerState = openAttempt(setting);
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
  const announced = new Map<ClientId, PlainCall<'masked'>>();
  const roots = new Map<ClientId, { readonly root: Digest; readonly bodyHash: Digest }>();

  const perform = async (effect: ServerEffect, isReplay: boolean): Promise<void> => {
    switch (effect.type) {
      case 'reject':
        break;
      case 'persist':
        break;
      case 'send-roster':
      case 'send-delivery':
      case 'send-survivors':
      case 'send-quorum': {
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
      case 'open-sum': {
        await uploads.close();
        const { opening } = effect;
        const contributors = opening.survivors.map(({ place }) => opening.members.members[place]!.clientId);
        const summed = contributors.map((clientId) => roots.get(clientId)!.root);
        const sum = await openSum({ shape, suite, roots: summed, opening, blobs });
        onStage('opened', contributors.length);
        done.resolve({ kind: 'opened', sum, contributors: [...contributors].sort() });
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
  const enqueue = (effect: ServerEffect, isReplay: boolean): void => {
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

  const remember = (event: ServerEvent): void => {
    if (!('body' in event)) return;
    const bodyHash = digestOf(event.body);
    taken.set(`${event.clientId} ${event.type}`, bodyHash);
    if (event.type !== 'masked') return;
    const body = decodeCanonical(maskedFormat, event.body, 'M3');
    if (body.ok) roots.set(event.clientId, { root: body.value.vecRoot, bodyHash });
  };
  const take = (event: ServerEvent, isReplay = false): Violation | null => {
    const before = state.phase.name;
    const step = receiveAsServer(state, event);
    state = step.state;
    let refused: Violation | null = null;
    for (const effect of step.effects) {
      if (effect.type === 'reject') refused = effect.reason;
      // What follows from a replayed message was done before, but for what each client was told, and the end.
      else enqueue(effect, isReplay);
    }
    if (refused === null) remember(event);
    if (isReplay) return refused;
    if (state.phase.name !== before) beginPhase();
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
    const { name } = state.phase;
    if (isClosed || name === 'opened' || name === 'aborted') return;
    setTimer(deadlinesMs[name]);
    const stages = {
      advertising: null,
      sharing: 'roster',
      collecting: 'delivery',
      agreeing: 'survivors',
      unmasking: 'quorum',
    } as const;
    const stage = stages[name];
    if (stage !== null) onStage(stage, missingOf(state).length);
    checkPresence();
  };
  /** Where only clients are missing that left, the phase soon ends without them. */
  const checkPresence = (): void => {
    const { name } = state.phase;
    if (isClosed || name === 'opened' || name === 'aborted') return;
    const missing = missingOf(state);
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
  const settle = async (event: ServerEvent): Promise<Violation | null> => {
    const refused = take(event);
    await durable;
    return refused;
  };
  const late = (): Violation => violation('stale-round', 'the attempt is over');

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
        const refused = judge({ type: 'masked', clientId, body, signature });
        if (refused !== null) return refuse(refused);
        const decoded = decodeCanonical(maskedFormat, body, 'M3');
        if (!decoded.ok) return decoded;
        const missing = await uploads.announce(clientId, digestOf(body), announcementOf(roundHash, decoded.value));
        if (missing.ok) announced.set(clientId, { ...call, body, signature });
        return missing;
      }
      const member = kind === 'ADVERT' ? await memberOf(clientId) : null;
      const said = { clientId, body, signature };
      const event: ServerEvent =
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
      const event: ServerEvent = { type: 'masked', clientId, body, signature };
      const early = isClosed ? late() : judge(event);
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
      if (event !== undefined && state.phase.name !== 'aborted') send(clientId, event);
    },
    left: (clientId) => {
      gone.add(clientId);
      checkPresence();
    },
    phase: () => state.phase.name,
    ended: done.promise,
    close: async () => {
      isClosed = true;
      cancelTimer();
      await uploads.close();
      await queue.catch(() => undefined);
    },
  };

  function judge(event: ServerEvent): Violation | null {
    for (const effect of receiveAsServer(state, event).effects) if (effect.type === 'reject') return effect.reason;
    return null;
  }
}

/** An announcement as uploads take it; weight and time are inside the vector or nobody's business. */
function announcementOf(roundHash: Digest, { vecRoot, chunkDigests }: Masked) {
  return { roundHash, vecRoot, chunkDigests, exampleCount: 0, seconds: 0 };
}
