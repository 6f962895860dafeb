/**
 * Hears what clients say about the round in hand: judges it against the round, makes it durable where it has to be, and tells the machine.
 * Senders are authenticated before (`desk.ts`). Whatever is refused is counted in the round's record and told to whoever runs the coordinator.
 */
import type { ClientId, Digest, SessionId } from '../shared/core/ids.ts';
import type { Clock } from '../shared/core/ports.ts';
import type { Result } from '../shared/core/result.ts';
import { refuse, succeed } from '../shared/core/result.ts';
import { checkEvaluation } from '../shared/protocol/check-evaluation.ts';
import type { Decline, Evaluation, PlainCall, Ready, Update } from '../shared/protocol/messages.ts';
import type { Violation } from '../shared/protocol/violations.ts';
import { violation } from '../shared/protocol/violations.ts';
import type { CountShape } from '../shared/training/counts.ts';
import type { QuarantineBook } from './enrolment/quarantine.ts';
import type { CoordinatorListener } from './events.ts';
import type { Attempt } from './masking/attempt.ts';
import type { OpenRound } from './round-work.ts';
import type { FederationEvent, FederationState } from './rounds/state.ts';
import { counts } from './rounds/state.ts';

/** What clients say, by message. Methods return the violation, null when there is none. */
export interface Hearing {
  /** The round that a message names is in hand and the message is of its session. */
  judgeRound(roundHash: Digest, sessionId: SessionId): Violation | null;
  accepted(clientId: ClientId, roundHash: Digest): Violation | null;
  declined(clientId: ClientId, decline: Decline): Violation | null;
  progressed(clientId: ClientId, progress: PlainCall<'progress'>): Violation | null;
  /** A client fetched something: while it is being recruited, this is progress. */
  fetched(clientId: ClientId): void;
  /** Indices of the chunks that are still missing. `bodyHash` identifies the signed announcement. */
  announced(clientId: ClientId, bodyHash: Digest, update: Update): Promise<Result<readonly number[], Violation>>;
  uploaded(clientId: ClientId, roundHash: Digest, index: number, bytes: Uint8Array): Promise<Result<null, Violation>>;
  /** The receipt, once the update is durable and counts. */
  committed(clientId: ClientId, roundHash: Digest): Promise<Result<Digest, Violation>>;
  evaluated(clientId: ClientId, evaluation: Evaluation): Violation | null;
  /** Trained and there for the masked round: the certificate under which its roster shows the client. */
  ready(clientId: ClientId, ready: Ready): Promise<Result<Uint8Array, Violation>>;
  /** M1 to M5 of a masked round: of M3 the indices of the chunks that are missing. */
  masked(clientId: ClientId, call: PlainCall<'masked'>): Promise<Result<readonly number[], Violation>>;
  /** Counts and reports a message that was refused, here or before it got here; returns the violation. */
  readonly rejected: (clientId: ClientId | null, found: Violation) => Violation;
}

/** What a hearing knows of the federation. */
export interface HearingOptions {
  readonly countShape: CountShape;
  readonly clock: Clock;
  readonly state: () => FederationState;
  /** The round in hand, null between rounds. */
  readonly round: () => OpenRound | null;
  readonly dispatch: (event: FederationEvent) => Violation | null;
  readonly certificateOf: (clientId: ClientId, brought: Uint8Array) => Promise<Uint8Array>;
  /** Filled with clients that say that AES runs in hardware there. */
  readonly nativeAes: Set<ClientId>;
  /** Marks clients for what is refused. */
  readonly quarantine: Pick<QuarantineBook, 'mark'>;
  readonly onEvent: CoordinatorListener;
}

/** A masked round is evaluated masked; who takes no part in that may say so. */
function masksEvaluation({ metrics }: Evaluation, { roundIndex }: OpenRound): Violation | null {
  return metrics === null
    ? null
    : violation('unexpected-event', 'this round is masked, and so is its evaluation', roundIndex);
}

/** A client that fetches is reported to the machine at most this often. */
const fetchReportMs = 1_000;

/** A hearing over a federation. */
export function createHearing(options: HearingOptions): Hearing {
  const { countShape, clock, state, round, dispatch, onEvent, certificateOf, nativeAes, quarantine } = options;
  const fetchedMs = new Map<ClientId, number>();
  /** Attempts that were heard last: shares that come when enough are there already are nobody's fault. */
  const known: Digest[] = [];

  const rejected = (clientId: ClientId | null, found: Violation): Violation => {
    const rejections = round()?.rejections;
    rejections?.set(found.code, (rejections.get(found.code) ?? 0) + 1);
    if (clientId !== null) quarantine.mark(clientId, found.code);
    onEvent({ type: 'rejected', clientId, code: found.code, detail: found.detail });
    return found;
  };
  const roundOf = (roundHash: Digest): OpenRound | Violation => {
    const open = round();
    return open?.roundHash === roundHash && open.roundIndex === state().roundIndex
      ? open
      : violation('stale-round', `round ${roundHash} is not under way`, state().roundIndex);
  };
  const judged = (clientId: ClientId, roundHash: Digest, event: FederationEvent): Violation | null => {
    const open = roundOf(roundHash);
    const refused = 'code' in open ? open : dispatch(event);
    return refused === null ? null : rejected(clientId, refused);
  };
  /** The masked attempt that messages name: that of the round, or of the evaluation of its candidate. */
  const attemptOf = (hash: Digest): Attempt | null => {
    const masked = round()?.masked;
    return [masked?.attempt, masked?.evaluation].find((attempt) => attempt?.roundHash === hash) ?? null;
  };
  /** The round in hand, if it takes an update of this client now. */
  const roundTaking = (clientId: ClientId, roundHash: Digest): OpenRound | Violation => {
    const open = roundOf(roundHash);
    if ('code' in open) return open;
    const { phase } = state();
    if (phase.name !== 'recruit' && phase.name !== 'train')
      return violation('late-update', `the round is in phase ${phase.name}`, open.roundIndex);
    return phase.asked.includes(clientId)
      ? open
      : violation('not-in-cohort', 'this client was not asked to take part', open.roundIndex);
  };
  const commit = async (clientId: ClientId, roundHash: Digest): Promise<Result<Digest, Violation>> => {
    const open = roundOf(roundHash);
    if ('code' in open) return refuse(open);
    const result = await open.uploads.commit(clientId, roundHash);
    if (!result.ok) return result;
    const { update, isNew } = result.value;
    const { roundIndex } = open;
    const late = violation('late-update', 'the update arrived when the round had been closed', roundIndex);
    // The round may have moved on while the disk was busy; the machine must not hear of an update of an earlier one.
    if (round() !== open || state().roundIndex !== roundIndex) return refuse(late);
    if (isNew && dispatch({ type: 'update-stored', clientId, atMs: clock.nowMs() }) === null) {
      const { trainLoss = null, seconds = 0 } = open.announcements.get(clientId) ?? {};
      const { exampleCount } = update;
      onEvent({ type: 'client-finished', clientId, roundIndex, exampleCount, trainLoss, seconds });
      return succeed(update.receipt);
    }
    return counts(state(), clientId) ? succeed(update.receipt) : refuse(late);
  };
  const counted = <Value>(clientId: ClientId, result: Result<Value, Violation>): Result<Value, Violation> =>
    result.ok ? result : refuse(rejected(clientId, result.error));

  return {
    judgeRound: (roundHash, sessionId) => {
      const open = roundOf(roundHash);
      if ('code' in open) return open;
      return open.sessionId === sessionId
        ? null
        : violation('bad-envelope', 'the envelope names another session than its round', open.roundIndex);
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
      const { phase } = state();
      if (phase.name !== 'recruit' || !phase.asked.includes(clientId)) return;
      if (atMs - (fetchedMs.get(clientId) ?? 0) < fetchReportMs) return;
      fetchedMs.set(clientId, atMs);
      dispatch({ type: 'progressed', clientId, fraction: 0, atMs });
    },
    announced: async (clientId, bodyHash, update) => {
      const open = roundTaking(clientId, update.roundHash);
      if ('code' in open) return counted(clientId, refuse(open));
      if (open.masked !== null)
        return counted(clientId, refuse(violation('unexpected-event', 'this round is masked', open.roundIndex)));
      const result = counted(clientId, await open.uploads.announce(clientId, bodyHash, update));
      if (result.ok) open.announcements.set(clientId, update);
      return result;
    },
    uploaded: async (clientId, roundHash, index, bytes) => {
      const attempt = attemptOf(roundHash);
      if (attempt !== null) return counted(clientId, await attempt.chunk(clientId, index, bytes));
      const open = roundOf(roundHash);
      const stored = 'code' in open ? refuse(open) : await open.uploads.chunk(clientId, roundHash, index, bytes);
      return counted(clientId, stored);
    },
    committed: async (clientId, roundHash) => {
      const attempt = attemptOf(roundHash);
      return counted(clientId, await (attempt === null ? commit(clientId, roundHash) : attempt.commit(clientId)));
    },
    ready: async (clientId, { roundHash, certificate, nativeAes: hasAes }) => {
      const open = roundTaking(clientId, roundHash);
      if ('code' in open) return counted(clientId, refuse(open));
      const { masked, roundIndex } = open;
      if (masked === null)
        return counted(clientId, refuse(violation('unexpected-event', 'this round is not masked', roundIndex)));
      if (hasAes === 1) nativeAes.add(clientId);
      else nativeAes.delete(clientId);
      masked.certificates.set(clientId, certificate);
      const shown = await certificateOf(clientId, certificate);
      const refused = judged(clientId, roundHash, { type: 'client-ready', clientId, atMs: clock.nowMs() });
      if (refused !== null) return refuse(refused);
      onEvent({ type: 'client-ready', clientId, roundIndex });
      return succeed(shown);
    },
    masked: async (clientId, call) => {
      const attempt = attemptOf(call.roundHash);
      if (attempt !== null && !known.includes(call.roundHash))
        known.splice(0, known.length, call.roundHash, ...known.slice(0, 3));
      if (attempt === null && call.kind === 'UNMASK' && known.includes(call.roundHash)) return succeed([]);
      const over = violation('stale-round', `no masked round ${call.roundHash} is under way`, state().roundIndex);
      return counted(clientId, attempt === null ? refuse(over) : await attempt.hear(clientId, call));
    },
    evaluated: (clientId, evaluation) => {
      const open = roundOf(evaluation.roundHash);
      if ('code' in open) return rejected(clientId, open);
      const refused =
        open.masked !== null
          ? masksEvaluation(evaluation, open)
          : evaluation.modelHash !== open.candidate?.modelHash
            ? violation('stale-round', 'the evaluation is of another adapter than the candidate', open.roundIndex)
            : checkEvaluation(evaluation, countShape);
      if (refused !== null) return rejected(clientId, refused);
      if (open.masked !== null) return null;
      const { phase } = state();
      if (phase.name === 'evaluate' && phase.awaited.includes(clientId)) open.evaluations.set(clientId, evaluation);
      return judged(clientId, evaluation.roundHash, { type: 'evaluation-stored', clientId, atMs: clock.nowMs() });
    },
    rejected,
  };
}
