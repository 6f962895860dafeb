/**
 * A federation as a pure machine: `receive(state, event) -> { state, effects }`. No time, network, disk or randomness here; the driver
 * (`coordinator.ts`) performs effects and answers with events. Legal pairs of phase and event stand in `table.ts`.
 *
 * Rules that end users meet: a round number is never used twice, because a client contributes at most once per round number; a round below
 * its quorum is void (same adapter, next number) and `voidsMax` void rounds in a row end the federation; every phase that depends on
 * clients has a deadline. Progress extends a training deadline: a client whose own speed says that it would finish within half the
 * training time after the deadline gets that much, once per round for everybody, so a round lasts at most 1.5 times its training time.
 */
import { assert } from '../../shared/core/assert.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { samplingOrder } from '../cohort/sampling.ts';
import { roundTable } from './table.ts';

/** What a plan says about rounds, in milliseconds; all counts are at least 1. */
export interface RoundSettings {
  readonly roundCount: number;
  /** Clients asked per round; null asks everybody who is there. */
  readonly cohortSize: number | null;
  readonly quorum: number;
  readonly recruitMs: number;
  readonly trainMs: number;
  readonly evaluateMs: number;
  /** Evaluate after every so many published rounds and after the last one; 0 never. */
  readonly evaluateEvery: number;
  /** How long to wait for a quorum of connected clients before the federation ends as stopped. */
  readonly waitMs: number;
  /** Void rounds in a row after which the federation stops. */
  readonly voidsMax: number;
  readonly seed: number;
}

/** How a round ended. */
export interface RoundOutcome {
  readonly roundIndex: number;
  readonly kind: 'published' | 'void';
  readonly asked: number;
  readonly contributed: number;
  readonly detail: string;
}

/** A round that is under way: who was asked, who agreed, whose update is durable. Client ids are sorted. */
interface RoundWork {
  readonly asked: readonly ClientId[];
  readonly accepted: readonly ClientId[];
  readonly declined: readonly ClientId[];
  readonly stored: readonly ClientId[];
  readonly startMs: number;
  readonly deadlineMs: number;
  readonly extended: boolean;
  /** Where each client will be finished by its own speed, milliseconds since 1970. */
  readonly expected: Readonly<Record<ClientId, number>>;
}

/** A stage of the federation; every stage holds only its own fields. */
export type Phase =
  | { readonly name: 'waiting'; readonly deadlineMs: number; readonly gathering: boolean }
  | ({ readonly name: 'recruit' } & RoundWork)
  | ({ readonly name: 'train' } & RoundWork)
  | { readonly name: 'aggregate'; readonly asked: readonly ClientId[]; readonly contributors: readonly ClientId[] }
  | {
      readonly name: 'evaluate';
      readonly asked: readonly ClientId[];
      readonly contributors: readonly ClientId[];
      readonly awaited: readonly ClientId[];
      readonly deadlineMs: number;
    }
  | { readonly name: 'publish'; readonly asked: readonly ClientId[]; readonly contributors: readonly ClientId[] }
  | { readonly name: 'completed'; readonly detail: string }
  | { readonly name: 'stopped'; readonly detail: string };

/** A whole federation. */
export interface FederationState {
  readonly settings: RoundSettings;
  /** Number of the round in hand, or of the next one. */
  readonly roundIndex: number;
  readonly publishedCount: number;
  readonly voidsInRow: number;
  /** Connected clients, sorted. */
  readonly present: readonly ClientId[];
  readonly outcomes: readonly RoundOutcome[];
  readonly phase: Phase;
}

/** What happens; `atMs` is the coordinator's time. */
export type FederationEvent = { readonly atMs: number } & (
  | {
      readonly type: 'client-joined' | 'client-left' | 'accepted' | 'update-stored' | 'evaluation-stored';
      readonly clientId: ClientId;
    }
  | { readonly type: 'declined'; readonly clientId: ClientId; readonly reason: string }
  /** Fetching a base in `recruit`, local steps in `train`; `fraction` done in (0, 1]. */
  | { readonly type: 'progressed'; readonly clientId: ClientId; readonly fraction: number }
  | { readonly type: 'deadline-reached' | 'stop-requested' }
  | { readonly type: 'aggregated'; readonly modelHash: Digest }
  | { readonly type: 'aggregation-failed'; readonly detail: string }
  | { readonly type: 'published' }
);

/** What the driver must do. */
export type FederationEffect =
  | { readonly type: 'open-round'; readonly roundIndex: number; readonly clients: readonly ClientId[] }
  | { readonly type: 'offer'; readonly clients: readonly ClientId[] }
  | { readonly type: 'aggregate'; readonly contributors: readonly ClientId[] }
  | { readonly type: 'evaluate'; readonly clients: readonly ClientId[] }
  | {
      readonly type: 'publish';
      readonly roundIndex: number;
      readonly asked: readonly ClientId[];
      readonly contributors: readonly ClientId[];
    }
  | { readonly type: 'void-round'; readonly outcome: RoundOutcome }
  | { readonly type: 'finish'; readonly status: 'completed' | 'stopped'; readonly detail: string }
  | {
      readonly type: 'reject';
      readonly code: 'unexpected-event' | 'not-in-cohort';
      readonly detail: string;
      readonly clientId: ClientId | null;
    };

/** The next state and what to do, in order. */
export interface FederationStep {
  readonly state: FederationState;
  readonly effects: readonly FederationEffect[];
}

type RoundPhase = Extract<Phase, RoundWork>;
const gatherMsMax = 5_000;
const with1 = (clients: readonly ClientId[], clientId: ClientId): readonly ClientId[] =>
  clients.includes(clientId) ? clients : [...clients, clientId].sort();
const without = (clients: readonly ClientId[], clientId: ClientId): readonly ClientId[] =>
  clients.filter((other) => other !== clientId);

/** A federation that starts, or goes on after `publishedCount` rounds with `roundIndex` as the next unused number. */
export function startFederation(
  settings: RoundSettings,
  start: {
    readonly atMs: number;
    readonly roundIndex: number;
    readonly publishedCount: number;
    readonly outcomes: readonly RoundOutcome[];
  },
): FederationStep {
  assert(settings.quorum >= 1 && settings.roundCount >= 1, 'a federation has at least one round and a quorum of one');
  const waiting: Phase = { name: 'waiting', deadlineMs: start.atMs + settings.waitMs, gathering: false };
  const state: FederationState = { settings, ...start, voidsInRow: 0, present: [], phase: waiting };
  return start.publishedCount >= settings.roundCount ? complete(state) : { state, effects: [] };
}

/** When the driver must send `deadline-reached`, or null while nothing is awaited from clients. */
export function deadlineOf(state: FederationState): number | null {
  return 'deadlineMs' in state.phase ? state.phase.deadlineMs : null;
}

/** Takes one event. Never throws on what a peer does. */
export function receive(state: FederationState, event: FederationEvent): FederationStep {
  const { phase } = state;
  if (roundTable[phase.name][event.type] === undefined) {
    const clientId = 'clientId' in event ? event.clientId : null;
    const detail = `${event.type} is not expected while ${phase.name}`;
    return { state, effects: [{ type: 'reject', code: 'unexpected-event', detail, clientId }] };
  }
  if (event.type === 'stop-requested') return stop(state, 'stopped by its operator');
  // A timer that was set for an earlier deadline fires late or for nothing.
  if (event.type === 'deadline-reached' && event.atMs < (deadlineOf(state) ?? 0)) return { state, effects: [] };
  const present =
    event.type === 'client-joined'
      ? with1(state.present, event.clientId)
      : event.type === 'client-left'
        ? without(state.present, event.clientId)
        : state.present;
  const now = { ...state, present };
  switch (phase.name) {
    case 'waiting':
      return waitStep(now, phase, event);
    case 'recruit':
    case 'train':
      return workStep(now, phase, event);
    case 'evaluate':
      return evaluateStep(now, phase, event);
    case 'aggregate':
      if (event.type === 'aggregated') return openEvaluation(now, phase, event.atMs);
      if (event.type === 'aggregation-failed')
        return voidRound(now, phase.asked.length, phase.contributors.length, event);
      return { state: now, effects: [] };
    case 'publish':
      return event.type === 'published' ? closeRound(now, phase, event.atMs) : { state: now, effects: [] };
    default:
      return { state: now, effects: [] };
  }
}

function waitStep(
  state: FederationState,
  phase: Extract<Phase, { name: 'waiting' }>,
  event: FederationEvent,
): FederationStep {
  const { settings, present } = state;
  const due = event.type === 'deadline-reached';
  if (present.length >= settings.quorum) {
    // The first round gathers: sites start at different moments, and none should miss it by a second.
    if (present.length >= (settings.cohortSize ?? Number.POSITIVE_INFINITY) || (due && phase.gathering))
      return openRound(state, event.atMs);
    if (phase.gathering) return { state, effects: [] };
    const deadlineMs = event.atMs + Math.min(settings.recruitMs, gatherMsMax);
    return { state: { ...state, phase: { name: 'waiting', deadlineMs, gathering: true } }, effects: [] };
  }
  if (phase.gathering) {
    return {
      state: { ...state, phase: { name: 'waiting', deadlineMs: event.atMs + settings.waitMs, gathering: false } },
      effects: [],
    };
  }
  if (due)
    return stop(state, `only ${present.length} of ${settings.quorum} clients that the quorum needs were connected`);
  return { state, effects: [] };
}

function openRound(state: FederationState, atMs: number): FederationStep {
  const { settings, roundIndex, present } = state;
  const order = samplingOrder(present, { seed: settings.seed, roundIndex });
  const asked = order.slice(0, settings.cohortSize ?? order.length).sort();
  const work = { asked, accepted: [], declined: [], stored: [], startMs: atMs, extended: false, expected: {} };
  const phase: Phase = { name: 'recruit', ...work, deadlineMs: atMs + settings.recruitMs };
  return {
    state: { ...state, phase },
    effects: [
      { type: 'open-round', roundIndex, clients: asked },
      { type: 'offer', clients: asked },
    ],
  };
}

function workStep(state: FederationState, phase: RoundPhase, event: FederationEvent): FederationStep {
  const to = (changed: Partial<RoundWork>, effects: readonly FederationEffect[] = []): FederationStep =>
    settle({ ...state, phase: { ...phase, ...changed } }, event.atMs, effects);
  if (
    'clientId' in event &&
    event.type !== 'client-joined' &&
    event.type !== 'client-left' &&
    !phase.asked.includes(event.clientId)
  ) {
    const detail = `this client was not asked to take part in round ${state.roundIndex}`;
    return { state, effects: [{ type: 'reject', code: 'not-in-cohort', detail, clientId: event.clientId }] };
  }
  switch (event.type) {
    case 'client-joined': {
      if (phase.asked.includes(event.clientId)) {
        // Back after a lost connection: the offer is repeated, and the client goes on where it was.
        const done = phase.stored.includes(event.clientId) || phase.declined.includes(event.clientId);
        return done ? to({}) : to({}, [{ type: 'offer', clients: [event.clientId] }]);
      }
      const open =
        phase.name === 'recruit' &&
        phase.asked.length - phase.declined.length < (state.settings.cohortSize ?? Number.POSITIVE_INFINITY);
      return open
        ? to({ asked: with1(phase.asked, event.clientId) }, [{ type: 'offer', clients: [event.clientId] }])
        : to({});
    }
    case 'accepted':
      return to({ accepted: with1(phase.accepted, event.clientId), declined: without(phase.declined, event.clientId) });
    case 'declined': {
      // An update that is durable counts, whatever its sender says afterwards.
      if (phase.stored.includes(event.clientId)) return to({});
      const declined = with1(phase.declined, event.clientId);
      const accepted = without(phase.accepted, event.clientId);
      const spare =
        phase.name === 'recruit' ? state.present.find((clientId) => !phase.asked.includes(clientId)) : undefined;
      if (spare === undefined) return to({ declined, accepted });
      return to({ declined, accepted, asked: with1(phase.asked, spare) }, [{ type: 'offer', clients: [spare] }]);
    }
    case 'progressed': {
      if (phase.name === 'recruit') {
        if (phase.accepted.includes(event.clientId)) return to({});
        // Fetching a large base takes as long as the link needs; ten times the recruiting time bounds it.
        const limit = phase.startMs + 10 * state.settings.recruitMs;
        return to({
          deadlineMs: Math.min(limit, Math.max(phase.deadlineMs, event.atMs + state.settings.recruitMs / 2)),
        });
      }
      const finish = phase.startMs + (event.atMs - phase.startMs) / Math.max(event.fraction, 1e-6);
      return to({ expected: { ...phase.expected, [event.clientId]: finish } });
    }
    case 'update-stored': {
      const { clientId } = event;
      const [accepted, stored] = [with1(phase.accepted, clientId), with1(phase.stored, clientId)];
      return to({ accepted, stored, declined: without(phase.declined, clientId) });
    }
    case 'deadline-reached':
      return phase.name === 'recruit'
        ? closeRecruiting(state, phase, event.atMs)
        : closeTraining(state, phase, event.atMs);
    default:
      return to({});
  }
}

/** Moves on as soon as nothing more can arrive. */
function settle(state: FederationState, atMs: number, effects: readonly FederationEffect[]): FederationStep {
  const { phase } = state;
  assert(phase.name === 'recruit' || phase.name === 'train', 'only a round under way settles');
  const then = (step: FederationStep): FederationStep => ({
    state: step.state,
    effects: [...effects, ...step.effects],
  });
  const answered = phase.asked.every(
    (id) => phase.accepted.includes(id) || phase.declined.includes(id) || !state.present.includes(id),
  );
  if (phase.name === 'recruit') {
    const enough = phase.accepted.length >= state.settings.quorum;
    const possible = phase.asked.length - phase.declined.length >= state.settings.quorum;
    // Those who are asked and away may come back: below quorum they are waited for, as long as they could make it up.
    if (enough ? !answered : possible) return { state, effects };
    return then(closeRecruiting(state, phase, atMs));
  }
  if (phase.asked.length - phase.declined.length < state.settings.quorum)
    return then(closeTraining(state, phase, atMs));
  const missing = phase.asked.filter((id) => !phase.stored.includes(id) && !phase.declined.includes(id));
  if (missing.length === 0) return then(closeTraining(state, phase, atMs));
  if (phase.stored.length >= state.settings.quorum && missing.every((id) => !state.present.includes(id))) {
    // Only absent clients are missing: they get a short while to come back, not the whole training time.
    const graceMs = Math.min(30_000, state.settings.trainMs / 4);
    return {
      state: { ...state, phase: { ...phase, deadlineMs: Math.min(phase.deadlineMs, atMs + graceMs), extended: true } },
      effects,
    };
  }
  return { state, effects };
}

function closeRecruiting(state: FederationState, phase: RoundPhase, atMs: number): FederationStep {
  if (phase.accepted.length < state.settings.quorum) {
    const detail = `${phase.accepted.length} of ${phase.asked.length} clients took part, the quorum is ${state.settings.quorum}`;
    return voidRound(state, phase.asked.length, phase.stored.length, { atMs, detail });
  }
  const deadlineMs = atMs + state.settings.trainMs;
  return settle({ ...state, phase: { ...phase, name: 'train', startMs: atMs, deadlineMs } }, atMs, []);
}

function closeTraining(state: FederationState, phase: RoundPhase, atMs: number): FederationStep {
  const { settings } = state;
  const pending = phase.accepted.filter((id) => !phase.stored.includes(id) && state.present.includes(id));
  if (!phase.extended && pending.length > 0 && atMs >= phase.deadlineMs) {
    const limit = phase.deadlineMs + settings.trainMs / 2;
    const lease = Math.max(...pending.map((id) => phase.expected[id] ?? 0).filter((finish) => finish <= limit), 0);
    if (lease > 0) {
      const deadlineMs = Math.min(limit, Math.max(lease, atMs) + settings.trainMs / 10);
      return { state: { ...state, phase: { ...phase, deadlineMs, extended: true } }, effects: [] };
    }
  }
  if (phase.stored.length < settings.quorum) {
    const detail = `${phase.stored.length} of ${phase.asked.length} updates arrived in time, the quorum is ${settings.quorum}`;
    return voidRound(state, phase.asked.length, phase.stored.length, { atMs, detail });
  }
  const contributors = phase.stored;
  return {
    state: { ...state, phase: { name: 'aggregate', asked: phase.asked, contributors } },
    effects: [{ type: 'aggregate', contributors }],
  };
}

function voidRound(
  state: FederationState,
  asked: number,
  contributed: number,
  why: { readonly atMs: number; readonly detail: string },
): FederationStep {
  const outcome: RoundOutcome = { roundIndex: state.roundIndex, kind: 'void', asked, contributed, detail: why.detail };
  const voidsInRow = state.voidsInRow + 1;
  const next = { ...state, voidsInRow, roundIndex: state.roundIndex + 1, outcomes: [...state.outcomes, outcome] };
  const effects: FederationEffect[] = [{ type: 'void-round', outcome }];
  const { settings } = state;
  if (voidsInRow >= settings.voidsMax) {
    const stopped = stop(next, `${voidsInRow} void rounds in a row; the last: ${why.detail}`);
    return { state: stopped.state, effects: [...effects, ...stopped.effects] };
  }
  // Trying again at once would only find the same clients in the same state.
  const gathering = state.present.length >= settings.quorum;
  const delayMs = gathering ? Math.min(settings.recruitMs, gatherMsMax) : settings.waitMs;
  return { state: { ...next, phase: { name: 'waiting', deadlineMs: why.atMs + delayMs, gathering } }, effects };
}

function openEvaluation(
  state: FederationState,
  phase: Extract<Phase, { name: 'aggregate' }>,
  atMs: number,
): FederationStep {
  const { settings, present, publishedCount } = state;
  const { asked, contributors } = phase;
  const nth = publishedCount + 1;
  const due = settings.evaluateEvery > 0 && (nth % settings.evaluateEvery === 0 || nth === settings.roundCount);
  const awaited = due ? contributors.filter((id) => present.includes(id)) : [];
  if (awaited.length === 0) return startPublishing(state, asked, contributors);
  const next: Phase = { name: 'evaluate', asked, contributors, awaited, deadlineMs: atMs + settings.evaluateMs };
  return { state: { ...state, phase: next }, effects: [{ type: 'evaluate', clients: awaited }] };
}

function evaluateStep(
  state: FederationState,
  phase: Extract<Phase, { name: 'evaluate' }>,
  event: FederationEvent,
): FederationStep {
  const { asked, contributors } = phase;
  if (event.type === 'deadline-reached') return startPublishing(state, asked, contributors);
  if (event.type !== 'evaluation-stored' && event.type !== 'client-left') return { state, effects: [] };
  const awaited = without(phase.awaited, event.clientId);
  if (awaited.length === 0) return startPublishing(state, asked, contributors);
  return { state: { ...state, phase: { ...phase, awaited } }, effects: [] };
}

function startPublishing(
  state: FederationState,
  asked: readonly ClientId[],
  contributors: readonly ClientId[],
): FederationStep {
  const effect = { type: 'publish', roundIndex: state.roundIndex, asked, contributors } as const;
  return { state: { ...state, phase: { name: 'publish', asked, contributors } }, effects: [effect] };
}

function closeRound(state: FederationState, phase: Extract<Phase, { name: 'publish' }>, atMs: number): FederationStep {
  const { settings } = state;
  const contributed = phase.contributors.length;
  const detail = `completed with ${contributed} of ${phase.asked.length}`;
  const outcome: RoundOutcome = {
    roundIndex: state.roundIndex,
    kind: 'published',
    asked: phase.asked.length,
    contributed,
    detail,
  };
  const next: FederationState = {
    ...state,
    roundIndex: state.roundIndex + 1,
    publishedCount: state.publishedCount + 1,
    voidsInRow: 0,
    outcomes: [...state.outcomes, outcome],
  };
  if (next.publishedCount >= settings.roundCount) return complete(next);
  if (next.present.length >= settings.quorum) return openRound(next, atMs);
  return {
    state: { ...next, phase: { name: 'waiting', deadlineMs: atMs + settings.waitMs, gathering: false } },
    effects: [],
  };
}

/** One sentence about the rounds so far that hides nothing: how many are published, void, and how many lacked clients. */
export function summarise(state: FederationState): string {
  const published = state.outcomes.filter((outcome) => outcome.kind === 'published');
  const short = published.filter((outcome) => outcome.contributed < outcome.asked).length;
  const voids = state.outcomes.length - published.length;
  const fewest = published.reduce(
    (least, { contributed, asked }) =>
      contributed / asked < least.contributed / least.asked ? { contributed, asked } : least,
    {
      contributed: 1,
      asked: 1,
    },
  );
  const shortage =
    short === 0
      ? 'all clients that were asked contributed'
      : `${short} with fewer clients than asked (fewest ${fewest.contributed} of ${fewest.asked})`;
  return `${state.publishedCount} of ${state.settings.roundCount} rounds published, ${shortage}${voids === 0 ? '' : `, ${voids} void`}`;
}

function complete(state: FederationState): FederationStep {
  const detail = summarise(state);
  return {
    state: { ...state, phase: { name: 'completed', detail } },
    effects: [{ type: 'finish', status: 'completed', detail }],
  };
}

function stop(state: FederationState, why: string): FederationStep {
  const detail = `${why}; ${summarise(state)}`;
  return {
    state: { ...state, phase: { name: 'stopped', detail } },
    effects: [{ type: 'finish', status: 'stopped', detail }],
  };
}
