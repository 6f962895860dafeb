/**
 * The client's side of a federation as a pure machine: `receive(state, event) -> { state, effects }`. The driver (`client.ts`) performs
 * effects and answers them with events; no time, randomness, network or disk here. Bytes (base, adapter, delta) never pass through the
 * machine: events carry only hashes and verdicts.
 *
 * Legal phase x event pairs stand in `legalEvents`; any other pair is the violation `unexpected-event` and changes nothing.
 * A lost connection does not stop work: `fetching`, `training`, `uploading` and `evaluating` carry
 * `attempt` (0 while connected, else the number of the attempt to come back), and calls wait for the link.
 */
import type { Digest } from '../../shared/core/ids.ts';
import type { OfferFacts, PreparedFacts, Refusal, ResultFacts, SessionMemory } from './checks.ts';
import { checkOffer, checkPrepared, checkResult } from './checks.ts';

/** Where a session stands; every phase holds only its own fields. */
export type SessionPhase =
  | { readonly name: 'enrolling' }
  | { readonly name: 'disconnected'; readonly attempt: number }
  | { readonly name: 'connecting'; readonly attempt: number }
  | { readonly name: 'idle' }
  | { readonly name: 'fetching'; readonly offer: OfferFacts; readonly attempt: number }
  | { readonly name: 'training'; readonly offer: OfferFacts; readonly attempt: number }
  | { readonly name: 'uploading'; readonly offer: OfferFacts; readonly attempt: number }
  | { readonly name: 'evaluating'; readonly roundHash: Digest; readonly attempt: number }
  | { readonly name: 'finished'; readonly reason: FinishReason };

/** Why a session is over. */
export type FinishReason = { readonly kind: 'federation' | 'stopped' | 'refused'; readonly detail: string };

/** A whole session: its phase, what it remembers, and the round it contributed to last in this process. */
export interface SessionState {
  readonly phase: SessionPhase;
  readonly memory: SessionMemory;
  /** The last round whose update was acknowledged; its result is expected. */
  readonly contributed: { readonly roundHash: Digest; readonly roundIndex: number } | null;
}

/** What happens to a session. */
export type SessionEvent =
  | { readonly type: 'enrolled' }
  | { readonly type: 'enrolment-refused'; readonly detail: string }
  | { readonly type: 'connected' }
  | { readonly type: 'connection-lost'; readonly detail: string }
  | { readonly type: 'reconnect-due' }
  | { readonly type: 'admission-refused'; readonly detail: string }
  | { readonly type: 'offer'; readonly offer: OfferFacts }
  | { readonly type: 'plan-refused'; readonly roundHash: Digest; readonly reason: string }
  | { readonly type: 'prepared'; readonly roundHash: Digest; readonly facts: PreparedFacts }
  | { readonly type: 'work-failed'; readonly roundHash: Digest; readonly detail: string }
  | { readonly type: 'trained'; readonly roundHash: Digest }
  | { readonly type: 'uploaded'; readonly roundHash: Digest }
  | { readonly type: 'upload-refused'; readonly roundHash: Digest; readonly detail: string }
  | { readonly type: 'evaluate'; readonly roundHash: Digest; readonly signatureValid: boolean; readonly known: boolean }
  | { readonly type: 'evaluated'; readonly roundHash: Digest }
  | { readonly type: 'result'; readonly result: ResultFacts }
  | { readonly type: 'federation-finished'; readonly detail: string }
  | { readonly type: 'stop' };

/** What the driver must do. */
export type SessionEffect =
  | { readonly type: 'enrol' }
  | { readonly type: 'connect' }
  | { readonly type: 'schedule-reconnect'; readonly attempt: number }
  | { readonly type: 'prepare'; readonly offer: OfferFacts }
  | { readonly type: 'decline'; readonly offer: OfferFacts; readonly refusal: Refusal }
  | { readonly type: 'train'; readonly offer: OfferFacts }
  /** Journal the contribution durably, then send the update: the order that makes one contribution per round number hold. */
  | { readonly type: 'contribute'; readonly offer: OfferFacts }
  | { readonly type: 'abandon-work'; readonly detail: string }
  | { readonly type: 'evaluate'; readonly roundHash: Digest }
  | { readonly type: 'accept-result'; readonly result: ResultFacts; readonly roundIndex: number }
  | {
      readonly type: 'report';
      readonly refusal: Refusal | { readonly code: 'unexpected-event'; readonly detail: string };
    }
  | { readonly type: 'close'; readonly reason: FinishReason };

/** The next state and what to do. */
export interface SessionStep {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

type PhaseName = SessionPhase['name'];
type EventName = SessionEvent['type'];

const everywhere = ['federation-finished', 'stop'] as const;
const linkEvents = ['connected', 'connection-lost', 'reconnect-due', 'admission-refused'] as const;

/** Legal pairs of phase and event; what is not listed here is a violation. */
export const legalEvents: Readonly<Record<PhaseName, readonly EventName[]>> = {
  enrolling: ['enrolled', 'enrolment-refused', 'stop'],
  disconnected: ['reconnect-due', 'stop'],
  connecting: ['connected', 'connection-lost', 'admission-refused', 'stop'],
  idle: ['connection-lost', 'offer', 'evaluate', 'result', ...everywhere],
  fetching: [...linkEvents, 'offer', 'plan-refused', 'prepared', 'work-failed', 'result', ...everywhere],
  training: [...linkEvents, 'offer', 'trained', 'work-failed', 'result', ...everywhere],
  uploading: [...linkEvents, 'offer', 'uploaded', 'upload-refused', 'work-failed', 'evaluate', 'result', ...everywhere],
  evaluating: [...linkEvents, 'offer', 'evaluated', 'work-failed', 'result', ...everywhere],
  finished: [],
};

/** A fresh session: enrols first when there are no credentials yet. */
export function startSession(memory: SessionMemory, enrolled: boolean): SessionStep {
  const phase: SessionPhase = enrolled ? { name: 'connecting', attempt: 0 } : { name: 'enrolling' };
  return { state: { phase, memory, contributed: null }, effects: [{ type: enrolled ? 'connect' : 'enrol' }] };
}

/** Hash of the round a phase works on, or null. */
function roundOf(phase: SessionPhase): Digest | null {
  if ('offer' in phase) return phase.offer.roundHash;
  return phase.name === 'evaluating' ? phase.roundHash : null;
}

/** Takes one event. Never throws on what a peer sends. */
export function receive(state: SessionState, event: SessionEvent): SessionStep {
  const { phase } = state;
  // Answers of work that was abandoned meanwhile arrive late and concern nobody any more.
  if ('roundHash' in event && event.type !== 'evaluate' && event.roundHash !== roundOf(phase))
    return { state, effects: [] };
  if (!legalEvents[phase.name].includes(event.type)) {
    const detail = `${event.type} is not expected while ${phase.name}`;
    return { state, effects: [{ type: 'report', refusal: { code: 'unexpected-event', detail } }] };
  }
  return linkStep(state, event) ?? workStep(state, event);
}

/** Events of the connection and of the end. */
function linkStep(state: SessionState, event: SessionEvent): SessionStep | null {
  const { phase } = state;
  const to = (next: SessionPhase, ...effects: SessionEffect[]): SessionStep => ({
    state: { ...state, phase: next },
    effects,
  });
  const working = 'attempt' in phase && phase.name !== 'connecting' && phase.name !== 'disconnected';
  switch (event.type) {
    case 'enrolled':
      return to({ name: 'connecting', attempt: 0 }, { type: 'connect' });
    case 'connected':
      return working ? to({ ...phase, attempt: 0 }) : to({ name: 'idle' });
    case 'connection-lost': {
      const attempt = 'attempt' in phase ? phase.attempt + 1 : 1;
      return to(working ? { ...phase, attempt } : { name: 'disconnected', attempt }, {
        type: 'schedule-reconnect',
        attempt,
      });
    }
    case 'reconnect-due': {
      const attempt = phase.name === 'disconnected' ? phase.attempt : 1;
      return to(working ? phase : { name: 'connecting', attempt }, { type: 'connect' });
    }
    case 'enrolment-refused':
    case 'admission-refused':
      return finish(state, { kind: 'refused', detail: event.detail });
    case 'federation-finished':
      return finish(state, { kind: 'federation', detail: event.detail });
    case 'stop':
      return finish(state, { kind: 'stopped', detail: 'stopped by its user' });
    default:
      return null;
  }
}

function finish(state: SessionState, reason: FinishReason): SessionStep {
  const effects: SessionEffect[] =
    roundOf(state.phase) !== null ? [{ type: 'abandon-work', detail: reason.detail }] : [];
  return { state: { ...state, phase: { name: 'finished', reason } }, effects: [...effects, { type: 'close', reason }] };
}

/** Events of a round. */
function workStep(state: SessionState, event: SessionEvent): SessionStep {
  const { phase, memory } = state;
  const attempt = 'attempt' in phase ? phase.attempt : 0;
  const to = (next: SessionPhase, ...effects: SessionEffect[]): SessionStep => ({
    state: { ...state, phase: next },
    effects,
  });
  switch (event.type) {
    case 'offer': {
      // The coordinator repeats an offer after a reconnection; the work goes on.
      if (event.offer.roundHash === roundOf(phase)) return to(phase);
      const refused = checkOffer(event.offer, memory);
      if (refused !== null) return to(phase, { type: 'decline', offer: event.offer, refusal: refused });
      const effects: SessionEffect[] =
        phase.name === 'idle' ? [] : [{ type: 'abandon-work', detail: `round ${event.offer.roundIndex} began` }];
      const next = { name: 'fetching', offer: event.offer, attempt } as const;
      return to(next, ...effects, { type: 'prepare', offer: event.offer });
    }
    case 'plan-refused': {
      const refused: Refusal = { code: 'policy-refused', detail: event.reason };
      return phase.name === 'fetching'
        ? to({ name: 'idle' }, { type: 'decline', offer: phase.offer, refusal: refused })
        : to(phase);
    }
    case 'prepared': {
      if (phase.name !== 'fetching') return to(phase);
      const refused = checkPrepared(phase.offer, event.facts);
      if (refused !== null) return to({ name: 'idle' }, { type: 'decline', offer: phase.offer, refusal: refused });
      return to({ name: 'training', offer: phase.offer, attempt }, { type: 'train', offer: phase.offer });
    }
    case 'trained': {
      if (phase.name !== 'training') return to(phase);
      const next = { name: 'uploading', offer: phase.offer, attempt } as const;
      const remembered = { ...memory, lastRoundIndex: phase.offer.roundIndex };
      return {
        state: { ...state, phase: next, memory: remembered },
        effects: [{ type: 'contribute', offer: phase.offer }],
      };
    }
    case 'uploaded': {
      if (phase.name !== 'uploading') return to(phase);
      const { roundHash, roundIndex } = phase.offer;
      return { state: { ...state, phase: { name: 'idle' }, contributed: { roundHash, roundIndex } }, effects: [] };
    }
    case 'work-failed': {
      const failed: Refusal = { code: 'training-failed', detail: event.detail };
      const declines = phase.name === 'fetching' || phase.name === 'training';
      return to(
        { name: 'idle' },
        declines ? { type: 'decline', offer: phase.offer, refusal: failed } : { type: 'report', refusal: failed },
      );
    }
    case 'upload-refused':
      return to({ name: 'idle' }, { type: 'report', refusal: { code: 'stale-round', detail: event.detail } });
    case 'evaluate': {
      if (!event.signatureValid) {
        const detail = 'the request to evaluate is not signed by the pinned coordinator key';
        return to(phase, { type: 'report', refusal: { code: 'bad-signature', detail } });
      }
      if (!event.known) {
        const detail = 'asked to evaluate for a round whose plan this client never fetched';
        return to(phase, { type: 'report', refusal: { code: 'unknown-round', detail } });
      }
      const effects: SessionEffect[] =
        phase.name === 'uploading' ? [{ type: 'abandon-work', detail: 'the round is closed' }] : [];
      const evaluating = { name: 'evaluating', roundHash: event.roundHash, attempt } as const;
      return to(evaluating, ...effects, { type: 'evaluate', roundHash: event.roundHash });
    }
    case 'evaluated':
      return to({ name: 'idle' });
    case 'result':
      return acceptResult(state, event.result);
    default:
      return to(phase);
  }
}

/** A result ends whatever this client still did for its round. */
function acceptResult(state: SessionState, result: ResultFacts): SessionStep {
  const { phase, memory, contributed } = state;
  const refused = checkResult(result);
  if (refused !== null) return { state, effects: [{ type: 'report', refusal: refused }] };
  const current = 'offer' in phase && phase.offer.roundHash === result.roundHash ? phase.offer : null;
  const round = current ?? (contributed?.roundHash === result.roundHash ? contributed : null);
  // A client that sat this round out has nothing to compare the result with; the next offer is checked by its own signature.
  if (round === null) return { state, effects: [] };
  const lastResult = { roundIndex: round.roundIndex, modelHash: result.newModelHash };
  const late = current !== null;
  const effects: SessionEffect[] = late
    ? [{ type: 'abandon-work', detail: 'the round closed without this client' }]
    : [];
  const next: SessionState = { ...state, phase: late ? { name: 'idle' } : phase, memory: { ...memory, lastResult } };
  return { state: next, effects: [...effects, { type: 'accept-result', result, roundIndex: round.roundIndex }] };
}
