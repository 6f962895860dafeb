/**
 * The driver of the round machine: performs its effects one after the other on durable state and answers with events. What clients say
 * arrives through {@link Federation}'s methods, already authenticated (`desk.ts`).
 *
 * Durability: a round number is written before it is offered, an update before it is acknowledged, and a version in the same transaction
 * that ends its round. So a coordinator that is killed anywhere goes on with the next unused round number, and no aggregate counts twice.
 */
import { assert } from '../shared/core/assert.ts';
import { toHex } from '../shared/core/bytes.ts';
import { errorMessage, FederationError } from '../shared/core/errors.ts';
import type { ClientId, Digest, SessionId } from '../shared/core/ids.ts';
import { cohortSizeMax } from '../shared/core/limits.ts';
import type { Clock, Entropy } from '../shared/core/ports.ts';
import type { Result } from '../shared/core/result.ts';
import { refuse } from '../shared/core/result.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { encodeMessage } from '../shared/protocol/codec.ts';
import type { BlobReference, Decline, Evaluation, FederationStatus, Update } from '../shared/protocol/messages.ts';
import { sealEvaluate, sealOffer, sealResult } from '../shared/protocol/messages.ts';
import { encodeRoundParams, roundHashOf, unmaskedRound } from '../shared/protocol/round-params.ts';
import type { Violation } from '../shared/protocol/violations.ts';
import { violation } from '../shared/protocol/violations.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import type { Candidate } from './aggregation/aggregate.ts';
import { aggregate } from './aggregation/aggregate.ts';
import type { CoordinatorListener } from './events.ts';
import { makeVersion } from './library/publish.ts';
import { judgeEvaluation, poolEvaluations } from './rounds/evaluation.ts';
import type { FederationEffect, FederationEvent, FederationState } from './rounds/machine.ts';
import { deadlineOf, receive, startFederation } from './rounds/machine.ts';
import { settingsOf } from './rounds/settings.ts';
import type { Uploads } from './rounds/uploads.ts';
import { createUploads } from './rounds/uploads.ts';
import type { CoordinatorBlobs } from './store/blobs.ts';
import type { CoordinatorStore, FederationRecord, UpdateRecord } from './store/store.ts';
import type { ServedBlobs } from './transport/served-blobs.ts';
import type { OutgoingEvent, Peer } from './transport/transport.ts';

/** Everything a federation works with. */
export interface FederationPorts {
  readonly plan: Plan;
  readonly record: FederationRecord;
  readonly dim: number;
  readonly base: readonly { readonly name: string; readonly blob: BlobReference }[];
  readonly planReference: BlobReference;
  readonly served: ServedBlobs;
  readonly store: CoordinatorStore;
  readonly blobs: CoordinatorBlobs;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly onEvent: CoordinatorListener;
}

/** How a federation ended. */
export interface FederationEnd {
  readonly status: 'completed' | 'stopped';
  readonly detail: string;
}

/** A running federation. Methods that judge a client's message return its violation or null; counting it is done here. */
export interface Federation {
  readonly status: () => FederationStatus;
  readonly state: () => FederationState;
  readonly ended: Promise<FederationEnd>;
  joined(peer: Peer): void;
  left(peer: Peer): void;
  accepted(clientId: ClientId, roundHash: Digest): Violation | null;
  declined(clientId: ClientId, decline: Decline): Violation | null;
  progressed(
    clientId: ClientId,
    progress: { readonly roundHash: Digest; readonly stepsDone: number; readonly stepCount: number },
  ): Violation | null;
  /** A client fetched something: while it is being recruited, this is progress. */
  fetched(clientId: ClientId): void;
  announced(clientId: ClientId, bodyHash: Digest, update: Update): Promise<Result<readonly number[], Violation>>;
  uploaded(clientId: ClientId, roundHash: Digest, index: number, bytes: Uint8Array): Promise<Result<null, Violation>>;
  /** The receipt, once the update is durable and counts. */
  committed(clientId: ClientId, roundHash: Digest): Promise<Result<Digest, Violation>>;
  evaluated(clientId: ClientId, evaluation: Evaluation): Violation | null;
  /** Counts and reports a message that was refused, here or before it got here. */
  rejected(clientId: ClientId | null, found: Violation): void;
  stop(): void;
  /** Stops and resolves when nothing is being written any more. */
  close(): Promise<void>;
}

/** The round in hand. One owner: the driver. */
interface OpenRound {
  readonly roundIndex: number;
  readonly roundHash: Digest;
  readonly offer: Uint8Array;
  readonly uploads: Uploads;
  readonly startedMs: number;
  readonly announcements: Map<ClientId, Update>;
  readonly evaluations: Map<ClientId, Evaluation>;
  readonly rejections: Map<string, number>;
  candidate: (Candidate & { readonly modelHash: Digest; readonly reference: BlobReference }) | null;
}

/** Timers of engines are signed 32-bit milliseconds. */
const timerMsMax = 2 ** 31 - 1;
/** A client that fetches is reported to the machine at most this often. */
const fetchReportMs = 1_000;

/** Starts, or goes on with, the federation of the store. @throws StoreError. */
export async function openFederation(ports: FederationPorts): Promise<Federation> {
  const { plan, record, store, blobs, served, identity, clock, entropy, onEvent } = ports;
  const peers = new Map<ClientId, Peer>();
  const fetchedMs = new Map<ClientId, number>();
  const end = Promise.withResolvers<FederationEnd>();
  let round: OpenRound | null = null;
  let queue: Promise<void> = Promise.resolve();
  let cancelTimer = (): void => undefined;
  let { state, effects } = startFederation(settingsOf(plan), { atMs: clock.nowMs(), ...(await recover()) });

  /** What is durable; a round that was open when its coordinator ended is void, and its number is not used again. */
  async function recover(): Promise<Pick<FederationState, 'roundIndex' | 'publishedCount' | 'outcomes'>> {
    for (const open of (await store.rounds()).filter(({ status }) => status === 'open')) {
      await forget(await store.voidRound(open.roundIndex, 0, 'the coordinator was stopped'));
    }
    const rounds = await store.rounds();
    const outcomes = rounds.map(({ roundIndex, status, asked, contributed, detail }) => ({
      ...{ roundIndex, asked, contributed, detail },
      kind: status === 'published' ? ('published' as const) : ('void' as const),
    }));
    const publishedCount = outcomes.filter(({ kind }) => kind === 'published').length;
    return { roundIndex: (rounds.at(-1)?.roundIndex ?? -1) + 1, publishedCount, outcomes };
  }

  /** Deletes deltas that are no longer needed, except bytes that are an adapter as well (a delta of zeros may be one). */
  async function forget(updates: readonly UpdateRecord[]): Promise<void> {
    const kept = new Set((await store.versions()).flatMap(({ adapter, ruleState }) => [adapter, ruleState]));
    for (const { delta } of updates) if (!kept.has(delta)) await blobs.delete(delta);
  }

  const send = (clients: Iterable<ClientId>, event: OutgoingEvent, body: Uint8Array): void => {
    for (const clientId of clients) peers.get(clientId)?.send(event, body);
  };
  const finished = (): Uint8Array | null => {
    const { phase } = state;
    if (phase.name !== 'completed' && phase.name !== 'stopped') return null;
    return encodeMessage({ status: phase.name, detail: phase.detail });
  };

  const dispatch = (event: FederationEvent): Violation | null => {
    const step = receive(state, event);
    state = step.state;
    let refused: Violation | null = null;
    for (const effect of step.effects) {
      if (effect.type === 'reject') refused = violation(effect.code, effect.detail, state.roundIndex);
      else queue = queue.then(() => perform(effect)).catch(fail);
    }
    schedule();
    return refused;
  };
  const schedule = (): void => {
    cancelTimer();
    const deadlineMs = deadlineOf(state);
    if (deadlineMs === null) return;
    const delayMs = Math.min(Math.max(0, deadlineMs - clock.nowMs()), timerMsMax);
    cancelTimer = clock.after(delayMs, () => void dispatch({ type: 'deadline-reached', atMs: clock.nowMs() }));
  };
  /** A broken disk or a bug: nothing can be made durable any more, so the federation ends here. */
  const fail = (thrown: unknown): void => {
    cancelTimer();
    end.reject(thrown instanceof Error ? thrown : new Error(errorMessage(thrown)));
  };

  const perform = async (effect: Exclude<FederationEffect, { type: 'reject' }>): Promise<void> => {
    switch (effect.type) {
      case 'open-round':
        round = await openRound(effect.roundIndex, effect.clients.length);
        break;
      case 'offer':
        if (round !== null) send(effect.clients, 'offer', round.offer);
        break;
      case 'aggregate': {
        assert(round !== null, 'a round is open while it is aggregated');
        try {
          await makeCandidate(round, effect.contributors);
        } catch (thrown) {
          if (!(thrown instanceof FederationError)) throw thrown;
          dispatch({ type: 'aggregation-failed', detail: errorMessage(thrown), atMs: clock.nowMs() });
        }
        break;
      }
      case 'evaluate': {
        assert(round?.candidate != null, 'a candidate exists before it is evaluated');
        const { modelHash, reference } = round.candidate;
        send(
          effect.clients,
          'evaluate',
          sealEvaluate(identity, { roundHash: round.roundHash, modelHash, adapter: reference }),
        );
        break;
      }
      case 'publish':
        assert(round !== null, 'a round is open until it is published');
        await publish(round, effect.asked, effect.contributors);
        break;
      case 'void-round':
        await round?.uploads.close();
        round = null;
        await forget(
          await store.voidRound(effect.outcome.roundIndex, effect.outcome.contributed, effect.outcome.detail),
        );
        onEvent({ type: 'void', roundIndex: effect.outcome.roundIndex, detail: effect.outcome.detail });
        break;
      case 'finish': {
        await round?.uploads.close();
        const body = finished();
        assert(body !== null, 'a finished federation says so');
        send(peers.keys(), 'finished', body);
        const { status, detail } = effect;
        onEvent({ type: 'ended', status, detail });
        end.resolve({ status, detail });
        break;
      }
      default:
        effect satisfies never;
    }
  };

  const openRound = async (roundIndex: number, asked: number): Promise<OpenRound> => {
    const latest = await store.latestVersion();
    assert(latest !== null, 'the initial adapter is stored before the first round');
    const { federationId, planHash, baseDigest, layoutHash } = record;
    const { modelHash } = latest;
    const weightMax = 2 ** 32 - 1;
    const roundParams = unmaskedRound({
      ...{ federationId, planHash, baseDigest, layoutHash, modelHash, weightMax, roundIndex },
      sessionId: toHex(entropy.bytes(16)) as SessionId,
      attempt: 0,
      dim: ports.dim,
      clientCountMin: plan.rounds.quorum,
      clientCountMax: plan.rounds.cohortSize === 'all' ? cohortSizeMax : plan.rounds.cohortSize,
      recruitMs: plan.rounds.recruitSeconds * 1000,
      trainMs: plan.rounds.trainSeconds * 1000,
    });
    const roundHash = roundHashOf(encodeRoundParams(roundParams));
    await store.openRound(roundIndex, roundHash, asked);
    const adapter = await served.announce(await blobs.get(latest.adapter));
    const offer = sealOffer(identity, { roundParams, plan: ports.planReference, base: ports.base, adapter });
    const uploads = createUploads({ demands: { roundIndex, roundHash, dim: ports.dim, weightMax }, store, blobs });
    onEvent({ type: 'round-started', roundIndex, roundHash, asked });
    const startedMs = clock.nowMs();
    const records = { announcements: new Map(), evaluations: new Map(), rejections: new Map() };
    return { roundIndex, roundHash, offer, uploads, startedMs, ...records, candidate: null };
  };

  const makeCandidate = async (open: OpenRound, contributors: readonly ClientId[]): Promise<void> => {
    await open.uploads.close();
    const latest = await store.latestVersion();
    assert(latest !== null, 'the initial adapter is stored before the first round');
    const updates = (await store.updatesOf(open.roundIndex)).filter(({ clientId }) => contributors.includes(clientId));
    assert(updates.length === contributors.length, 'every contributor has a durable update');
    const candidate = await aggregate({ plan, dim: ports.dim, latest, updates, blobs });
    const modelHash = modelHashOf(record.baseDigest, candidate.adapterBytes);
    open.candidate = { ...candidate, modelHash, reference: await served.announce(candidate.adapterBytes) };
    dispatch({ type: 'aggregated', modelHash, atMs: clock.nowMs() });
  };

  const publish = async (
    open: OpenRound,
    asked: readonly ClientId[],
    contributors: readonly ClientId[],
  ): Promise<void> => {
    const { candidate, roundHash, roundIndex } = open;
    assert(candidate !== null, 'a candidate exists before it is published');
    const latest = await store.latestVersion();
    assert(latest !== null, 'a version has a parent');
    const metrics = poolEvaluations(open.evaluations.values(), plan.task.labels.length);
    const stored = await store.updatesOf(roundIndex);
    const updates = stored.filter(({ clientId }) => contributors.includes(clientId));
    const publishedMs = clock.nowMs();
    const closed = {
      roundIndex,
      roundHash,
      cohort: asked,
      updates,
      rejections: open.rejections,
      survivorCount: stored.length,
    };
    const made = makeVersion({ identity, plan, record, latest, candidate, round: closed, metrics, publishedMs });
    const forgotten = await store.publish(made.version, `completed with ${contributors.length} of ${asked.length}`);
    await forget(forgotten);
    send(
      state.present,
      'result',
      sealResult(identity, {
        ...{ roundHash, roundIndex, resultHash: made.resultHash, transcriptHash: made.transcriptHash },
        newModelHash: candidate.modelHash,
        contributorCount: contributors.length,
        totalWeight: candidate.totalWeight,
      }),
    );
    const { modelHash, exampleCount } = candidate;
    const seconds = (publishedMs - open.startedMs) / 1000;
    const version = made.version.version;
    onEvent({
      type: 'published',
      version,
      roundIndex,
      modelHash,
      asked: asked.length,
      contributors: contributors.length,
      exampleCount,
      metrics,
      seconds,
    });
    round = null;
    dispatch({ type: 'published', atMs: clock.nowMs() });
  };

  const reject = (clientId: ClientId | null, found: Violation): Violation => {
    round?.rejections.set(found.code, (round.rejections.get(found.code) ?? 0) + 1);
    onEvent({ type: 'rejected', clientId, code: found.code, detail: found.detail });
    return found;
  };
  /** The round in hand if it is the one that a client speaks of, else what is wrong with that. */
  const roundOf = (roundHash: Digest): OpenRound | Violation =>
    round?.roundHash === roundHash
      ? round
      : violation('stale-round', `round ${roundHash} is not under way`, state.roundIndex);
  const judged = (clientId: ClientId, roundHash: Digest, event: FederationEvent): Violation | null => {
    const open = roundOf(roundHash);
    const refused = 'code' in open ? open : dispatch(event);
    return refused === null ? null : reject(clientId, refused);
  };
  const counted = <Value>(clientId: ClientId, result: Result<Value, Violation>): Result<Value, Violation> =>
    result.ok ? result : refuse(reject(clientId, result.error));

  for (const effect of effects) if (effect.type !== 'reject') queue = queue.then(() => perform(effect)).catch(fail);
  schedule();

  return {
    state: () => state,
    status: () => (state.phase.name === 'completed' || state.phase.name === 'stopped' ? state.phase.name : 'running'),
    ended: end.promise,
    joined: (peer) => {
      const { clientId } = peer;
      peers.set(clientId, peer);
      const over = finished();
      if (over !== null) peer.send('finished', over);
      else dispatch({ type: 'client-joined', clientId, atMs: clock.nowMs() });
      onEvent({ type: 'client-joined', clientId, present: peers.size });
    },
    left: ({ clientId }) => {
      peers.delete(clientId);
      if (finished() === null) dispatch({ type: 'client-left', clientId, atMs: clock.nowMs() });
      onEvent({ type: 'client-left', clientId, present: peers.size });
    },
    accepted: (clientId, roundHash) => {
      const refused = judged(clientId, roundHash, { type: 'accepted', clientId, atMs: clock.nowMs() });
      if (refused === null) onEvent({ type: 'client-accepted', clientId });
      return refused;
    },
    declined: (clientId, { roundHash, code, reason }) => {
      const refused = judged(clientId, roundHash, { type: 'declined', clientId, reason, atMs: clock.nowMs() });
      if (refused === null) onEvent({ type: 'client-declined', clientId, code, reason });
      return refused;
    },
    progressed: (clientId, { roundHash, stepsDone, stepCount }) => {
      const fraction = stepCount > 0 ? Math.min(1, stepsDone / stepCount) : 0;
      const refused = judged(clientId, roundHash, { type: 'progressed', clientId, fraction, atMs: clock.nowMs() });
      if (refused === null) onEvent({ type: 'client-progress', clientId, stepsDone, stepCount });
      return refused;
    },
    fetched: (clientId) => {
      const atMs = clock.nowMs();
      if (state.phase.name !== 'recruit' || !state.phase.asked.includes(clientId)) return;
      if (atMs - (fetchedMs.get(clientId) ?? 0) < fetchReportMs) return;
      fetchedMs.set(clientId, atMs);
      dispatch({ type: 'progressed', clientId, fraction: 0, atMs });
    },
    announced: async (clientId, bodyHash, update) => {
      const open = roundOf(update.roundHash);
      if ('code' in open) return refuse(reject(clientId, open));
      const { phase } = state;
      if ((phase.name !== 'recruit' && phase.name !== 'train') || !phase.asked.includes(clientId)) {
        const code = 'asked' in phase && Array.isArray(phase.asked) ? 'not-in-cohort' : 'late-update';
        return refuse(reject(clientId, violation(code, `the round is in phase ${phase.name}`, open.roundIndex)));
      }
      const result = counted(clientId, await open.uploads.announce(clientId, bodyHash, update));
      if (result.ok) open.announcements.set(clientId, update);
      return result;
    },
    uploaded: async (clientId, roundHash, index, bytes) => {
      const open = roundOf(roundHash);
      return counted(
        clientId,
        'code' in open ? refuse(open) : await open.uploads.chunk(clientId, roundHash, index, bytes),
      );
    },
    committed: async (clientId, roundHash) => {
      const open = roundOf(roundHash);
      const result = counted(clientId, 'code' in open ? refuse(open) : await open.uploads.commit(clientId, roundHash));
      if (!result.ok || 'code' in open) return result as Result<never, Violation>;
      const { update, isNew } = result.value;
      if (isNew) {
        const late = dispatch({ type: 'update-stored', clientId, atMs: clock.nowMs() });
        if (late !== null) return refuse(reject(clientId, violation('late-update', late.detail, open.roundIndex)));
        const announced = open.announcements.get(clientId);
        const { roundIndex } = open;
        const trainLoss = announced?.trainLoss ?? null;
        onEvent({
          type: 'client-finished',
          clientId,
          roundIndex,
          exampleCount: update.exampleCount,
          trainLoss,
          seconds: announced?.seconds ?? 0,
        });
      }
      return { ok: true, value: update.receipt };
    },
    evaluated: (clientId, evaluation) => {
      const open = roundOf(evaluation.roundHash);
      if ('code' in open) return reject(clientId, open);
      const refused =
        evaluation.modelHash !== open.candidate?.modelHash
          ? violation('stale-round', 'the evaluation is of another adapter than the candidate', open.roundIndex)
          : judgeEvaluation(evaluation, plan.task.labels.length);
      if (refused !== null) return reject(clientId, refused);
      if (state.phase.name === 'evaluate' && state.phase.awaited.includes(clientId))
        open.evaluations.set(clientId, evaluation);
      return judged(clientId, evaluation.roundHash, { type: 'evaluation-stored', clientId, atMs: clock.nowMs() });
    },
    rejected: (clientId, found) => void reject(clientId, found),
    stop: () => {
      if (finished() === null) dispatch({ type: 'stop-requested', atMs: clock.nowMs() });
    },
    close: async () => {
      if (finished() === null) dispatch({ type: 'stop-requested', atMs: clock.nowMs() });
      cancelTimer();
      await queue;
    },
  };
}
