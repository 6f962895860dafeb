/**
 * The client's side of a federation as a pure machine: `receive(state, event) -> { state, effects }`. The driver (`driver.ts`) performs
 * effects and answers them with events; no time, randomness, network or disk here. Bytes (base, adapter, delta) never pass through the
 * machine: events carry only signed messages, hashes and verdicts.
 *
 * Legal phase x event pairs stand in `legalEvents`; any other pair is the violation `unexpected-event` and changes nothing.
 * A lost connection does not stop work: `fetching`, `training`, `uploading` and `evaluating` carry where the link stands, calls wait for it,
 * and work that ends without a connection leads to the phase that waits for one.
 */
import type { Digest } from '../../shared/core/ids.ts';
import type { Evaluate, Offer, RoundResult } from '../../shared/protocol/messages.ts';
import type { Violation, ViolationCode } from '../../shared/protocol/violations.ts';
import type { PreparedFacts, Refusal, SessionMemory } from './checks.ts';
import { checkOffer, checkPrepared } from './checks.ts';

/** Where the connection stands during work: there, or lost with the number of the attempt to come back that is due or under way. */
export type LinkState =
  | { readonly name: 'up' }
  | { readonly name: 'waiting'; readonly attempt: number }
  | { readonly name: 'connecting'; readonly attempt: number };

/** Where a session stands; every phase holds only its own fields. */
export type SessionPhase =
  | { readonly name: 'enrolling' }
  | { readonly name: 'disconnected'; readonly attempt: number }
  | { readonly name: 'connecting'; readonly attempt: number }
  | { readonly name: 'idle' }
  | { readonly name: 'fetching'; readonly offer: Offer; readonly link: LinkState }
  | { readonly name: 'training'; readonly offer: Offer; readonly link: LinkState }
  | { readonly name: 'uploading'; readonly offer: Offer; readonly link: LinkState }
  | { readonly name: 'evaluating'; readonly request: Evaluate; readonly link: LinkState }
  | { readonly name: 'finished'; readonly reason: FinishReason };

/**
 * Why a session is over: all rounds are published, the coordinator ended the federation early, this client was stopped, or it is not
 * admitted.
 */
export interface FinishReason {
  readonly kind: 'completed' | 'federation-stopped' | 'stopped' | 'refused';
  readonly detail: string;
}

/** A whole session: its phase and what it remembers. */
export interface SessionState {
  readonly phase: SessionPhase;
  readonly memory: SessionMemory;
}

/** What happens to a session. */
export type SessionEvent =
  | { readonly type: 'enrolled' }
  | { readonly type: 'enrolment-refused'; readonly detail: string }
  | { readonly type: 'connected' }
  | { readonly type: 'connection-lost'; readonly detail: string }
  | { readonly type: 'reconnect-due' }
  | { readonly type: 'admission-refused'; readonly detail: string }
  | { readonly type: 'offer'; readonly offer: Offer }
  | { readonly type: 'plan-refused'; readonly roundHash: Digest; readonly reason: string }
  | { readonly type: 'prepared'; readonly roundHash: Digest; readonly facts: PreparedFacts }
  /** Data, base or network failed; `detail` leaves the site. */
  | { readonly type: 'work-failed'; readonly roundHash: Digest; readonly detail: string }
  | { readonly type: 'trained'; readonly roundHash: Digest }
  | { readonly type: 'uploaded'; readonly roundHash: Digest }
  /** The coordinator does not take what this client sends. */
  | { readonly type: 'round-refused'; readonly roundHash: Digest; readonly refused: Violation }
  /** `known`: this client prepared that round. */
  | { readonly type: 'evaluate'; readonly request: Evaluate; readonly known: boolean }
  | { readonly type: 'evaluated'; readonly roundHash: Digest }
  | { readonly type: 'result'; readonly result: RoundResult }
  | { readonly type: 'federation-finished'; readonly status: 'completed' | 'stopped'; readonly detail: string }
  | { readonly type: 'stop' };

/** What the driver must do. */
export type SessionEffect =
  | { readonly type: 'enrol' }
  | { readonly type: 'connect' }
  | { readonly type: 'schedule-reconnect'; readonly attempt: number; readonly detail: string }
  | { readonly type: 'prepare'; readonly offer: Offer }
  | { readonly type: 'decline'; readonly offer: Offer; readonly refusal: Refusal }
  | { readonly type: 'train'; readonly offer: Offer }
  /** Journal the contribution durably, then send the update: the order that makes one contribution per round number hold. */
  | { readonly type: 'contribute'; readonly offer: Offer }
  /** The coordinator has the update. */
  | { readonly type: 'note-contribution'; readonly offer: Offer }
  | { readonly type: 'abandon-work'; readonly detail: string }
  | { readonly type: 'evaluate'; readonly request: Evaluate }
  /** Answer that there is nothing to disclose, so that the round does not wait for this client. */
  | { readonly type: 'skip-evaluation'; readonly request: Evaluate }
  | { readonly type: 'accept-result'; readonly result: RoundResult }
  | { readonly type: 'report'; readonly code: ViolationCode; readonly detail: string }
  | { readonly type: 'close'; readonly reason: FinishReason };

/** The next state and what to do, in order. */
export interface SessionStep {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

/** Name of a phase. */
export type PhaseName = SessionPhase['name'];
/** Name of an event. */
export type EventName = SessionEvent['type'];

const everywhere = ['federation-finished', 'stop'] as const;
const linkEvents = ['connected', 'connection-lost', 'reconnect-due', 'admission-refused'] as const;
const workEvents = [...linkEvents, 'offer', 'work-failed', 'result', ...everywhere] as const;

/** Legal pairs of phase and event; what is not listed here is a violation. */
export const legalEvents: Readonly<Record<PhaseName, readonly EventName[]>> = {
  enrolling: ['enrolled', 'enrolment-refused', 'stop'],
  disconnected: ['reconnect-due', 'stop'],
  connecting: ['connected', 'connection-lost', 'admission-refused', 'stop'],
  idle: ['connection-lost', 'offer', 'evaluate', 'result', ...everywhere],
  fetching: [...workEvents, 'plan-refused', 'prepared'],
  training: [...workEvents, 'trained', 'round-refused'],
  uploading: [...workEvents, 'uploaded', 'round-refused', 'evaluate'],
  evaluating: [...workEvents, 'evaluated', 'round-refused'],
  finished: [],
};

/** A fresh session: enrols first when there are no credentials yet. */
export function startSession(memory: SessionMemory, enrolled: boolean): SessionStep {
  const phase: SessionPhase = enrolled ? { name: 'connecting', attempt: 0 } : { name: 'enrolling' };
  return { state: { phase, memory }, effects: [{ type: enrolled ? 'connect' : 'enrol' }] };
}

/** Hash of the round that a phase works on, or null. */
function roundOf(phase: SessionPhase): Digest | null {
  if ('offer' in phase) return phase.offer.roundHash;
  return phase.name === 'evaluating' ? phase.request.roundHash : null;
}

/** Takes one event. Never throws on what a peer sends. */
export function receive(state: SessionState, event: SessionEvent): SessionStep {
  const { phase } = state;
  // Answers of work that was abandoned meanwhile arrive late and concern nobody any more.
  if ('roundHash' in event && event.roundHash !== roundOf(phase)) return { state, effects: [] };
  if (!legalEvents[phase.name].includes(event.type)) {
    const detail = `${event.type} is not expected while ${phase.name}`;
    return { state, effects: [{ type: 'report', code: 'unexpected-event', detail }] };
  }
  return linkStep(state, event) ?? workStep(state, event);
}

const to = (state: SessionState, phase: SessionPhase, ...effects: SessionEffect[]): SessionStep => ({
  state: { ...state, phase },
  effects,
});

/** Where the link stands in a phase that takes part in rounds. */
const linkOf = (phase: SessionPhase): LinkState => ('link' in phase ? phase.link : { name: 'up' });

/** The phase without work. */
function restOf(phase: SessionPhase): SessionPhase {
  const link = linkOf(phase);
  if (link.name === 'up') return { name: 'idle' };
  return { name: link.name === 'waiting' ? 'disconnected' : 'connecting', attempt: link.attempt };
}

/** Events of the connection and of the end; null for all others. */
function linkStep(state: SessionState, event: SessionEvent): SessionStep | null {
  const { phase } = state;
  switch (event.type) {
    case 'enrolled':
      return to(state, { name: 'connecting', attempt: 0 }, { type: 'connect' });
    case 'connected':
      return to(state, 'link' in phase ? { ...phase, link: { name: 'up' } } : { name: 'idle' });
    case 'connection-lost': {
      const { detail } = event;
      const link = 'link' in phase ? phase.link : phase;
      const attempt = 'attempt' in link ? link.attempt + 1 : 1;
      const next: SessionPhase =
        'link' in phase ? { ...phase, link: { name: 'waiting', attempt } } : { name: 'disconnected', attempt };
      return to(state, next, { type: 'schedule-reconnect', attempt, detail });
    }
    case 'reconnect-due': {
      if (phase.name === 'disconnected')
        return to(state, { name: 'connecting', attempt: phase.attempt }, { type: 'connect' });
      if (!('link' in phase) || phase.link.name !== 'waiting') return to(state, phase);
      return to(state, { ...phase, link: { ...phase.link, name: 'connecting' } }, { type: 'connect' });
    }
    case 'enrolment-refused':
    case 'admission-refused':
      return finish(state, { kind: 'refused', detail: event.detail });
    case 'federation-finished': {
      const kind = event.status === 'completed' ? 'completed' : 'federation-stopped';
      return finish(state, { kind, detail: event.detail });
    }
    case 'stop':
      return finish(state, { kind: 'stopped', detail: 'stopped by its user' });
    default:
      return null;
  }
}

function finish(state: SessionState, reason: FinishReason): SessionStep {
  const effects: SessionEffect[] =
    roundOf(state.phase) === null ? [] : [{ type: 'abandon-work', detail: reason.detail }];
  return to(state, { name: 'finished', reason }, ...effects, { type: 'close', reason });
}

/** Events of a round. */
function workStep(state: SessionState, event: SessionEvent): SessionStep {
  const { phase, memory } = state;
  const link = linkOf(phase);
  const rest = restOf(phase);
  switch (event.type) {
    case 'offer': {
      const { offer } = event;
      // The coordinator repeats an offer after a reconnection; the work goes on.
      if (offer.roundHash === roundOf(phase)) return to(state, phase);
      const refused = checkOffer(offer, memory);
      if (refused !== null) return to(state, phase, { type: 'decline', offer, refusal: refused });
      const began = `round ${offer.roundParams.roundIndex} began`;
      const effects: SessionEffect[] = phase.name === 'idle' ? [] : [{ type: 'abandon-work', detail: began }];
      return to(state, { name: 'fetching', offer, link }, ...effects, { type: 'prepare', offer });
    }
    case 'plan-refused': {
      if (phase.name !== 'fetching') return to(state, phase);
      const refusal: Refusal = { code: 'policy-refused', detail: event.reason };
      return to(state, rest, { type: 'decline', offer: phase.offer, refusal });
    }
    case 'prepared': {
      if (phase.name !== 'fetching') return to(state, phase);
      const { offer } = phase;
      const refused = checkPrepared(offer, event.facts);
      if (refused !== null) return to(state, rest, { type: 'decline', offer, refusal: refused });
      return to(state, { name: 'training', offer, link }, { type: 'train', offer });
    }
    case 'trained': {
      if (phase.name !== 'training') return to(state, phase);
      const { offer } = phase;
      const remembered = { ...memory, lastRoundIndex: offer.roundParams.roundIndex };
      const next: SessionPhase = { name: 'uploading', offer, link };
      return to({ ...state, memory: remembered }, next, { type: 'contribute', offer });
    }
    case 'uploaded':
      return phase.name === 'uploading'
        ? to(state, rest, { type: 'note-contribution', offer: phase.offer })
        : to(state, phase);
    case 'work-failed':
      if (phase.name === 'fetching' || phase.name === 'training') {
        const refusal: Refusal = { code: 'training-failed', detail: event.detail };
        return to(state, rest, { type: 'decline', offer: phase.offer, refusal });
      }
      return phase.name === 'evaluating'
        ? to(state, rest, { type: 'skip-evaluation', request: phase.request })
        : to(state, rest);
    case 'round-refused':
      return to(state, rest, { type: 'report', code: event.refused.code, detail: event.refused.detail });
    case 'evaluate':
      return openEvaluation(state, event.request, event.known);
    case 'evaluated':
      return to(state, rest);
    case 'result':
      return acceptResult(state, event.result);
    default:
      return to(state, phase);
  }
}

/** Only contributors are asked to evaluate: being asked says that the update arrived, even where its receipt is still on the way. */
function openEvaluation(state: SessionState, request: Evaluate, known: boolean): SessionStep {
  const { phase } = state;
  if (!known || (phase.name === 'uploading' && phase.offer.roundHash !== request.roundHash)) {
    const detail = 'asked to evaluate for a round that this client did not prepare since it was started';
    return to(state, phase, { type: 'report', code: 'unknown-round', detail }, { type: 'skip-evaluation', request });
  }
  if (phase.name !== 'uploading')
    return to(state, { name: 'evaluating', request, link: linkOf(phase) }, { type: 'evaluate', request });
  return to(
    state,
    { name: 'evaluating', request, link: phase.link },
    { type: 'abandon-work', detail: 'the coordinator has the whole update' },
    { type: 'note-contribution', offer: phase.offer },
    { type: 'evaluate', request },
  );
}

/**
 * A result ends fetching and training for its round. Who uploads or evaluates gets an answer to that at once, which says how it went. The
 * next offer must start from the model that the result announces.
 */
function acceptResult(state: SessionState, result: RoundResult): SessionStep {
  const { phase, memory } = state;
  const { roundIndex, newModelHash } = result;
  if (memory.lastResult !== null && roundIndex <= memory.lastResult.roundIndex) {
    const detail = `the result of round ${roundIndex} came after that of round ${memory.lastResult.roundIndex}`;
    return to(state, phase, { type: 'report', code: 'stale-round', detail });
  }
  const remembered = { ...state, memory: { ...memory, lastResult: { roundIndex, modelHash: newModelHash } } };
  const accepted: SessionEffect = { type: 'accept-result', result };
  const isLate = (phase.name === 'fetching' || phase.name === 'training') && roundOf(phase) === result.roundHash;
  return isLate
    ? to(remembered, restOf(phase), { type: 'abandon-work', detail: 'the round closed without this client' }, accepted)
    : to(remembered, phase, accepted);
}
