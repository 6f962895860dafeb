/** What a session is made of: phases, events, effects, and which event is legal in which phase. The rules stand in `machine.ts`. */
import type { Digest } from '../../shared/core/ids.ts';
import type { Evaluate, Offer, RoundResult } from '../../shared/protocol/messages.ts';
import type { Violation, ViolationCode } from '../../shared/protocol/violations.ts';
import type { VoidRecord } from '../../shared/protocol/void-record.ts';
import type { Stage } from '../../shared/secure-aggregation/stage.ts';
import type { PreparedFacts, Refusal, SessionMemory } from './checks.ts';

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
  /** Takes part in the attempt of a masked round. */
  | { readonly name: 'masking'; readonly offer: Offer; readonly link: LinkState }
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
  /** The journal has it: this round number is contributed to. */
  | { readonly type: 'contributed'; readonly roundHash: Digest }
  | { readonly type: 'stage'; readonly stage: Stage }
  /** The coordinator does not take what this client sends. */
  | { readonly type: 'round-refused'; readonly roundHash: Digest; readonly refused: Violation }
  /** `known`: this client prepared that round. */
  | { readonly type: 'evaluate'; readonly request: Evaluate; readonly known: boolean }
  | { readonly type: 'evaluated'; readonly roundHash: Digest }
  | { readonly type: 'result'; readonly result: RoundResult }
  /** `frame`: the record as the coordinator signed it. */
  | { readonly type: 'void'; readonly record: VoidRecord; readonly frame: Uint8Array }
  | { readonly type: 'federation-finished'; readonly status: 'completed' | 'stopped'; readonly detail: string }
  | { readonly type: 'stop' };

/** What the driver must do about the connection. */
export type PresenceEffect =
  | { readonly type: 'enrol' }
  | { readonly type: 'connect' }
  | { readonly type: 'schedule-reconnect'; readonly attempt: number; readonly detail: string };

/** What the driver must do about rounds. */
export type RoundEffect =
  | { readonly type: 'prepare'; readonly offer: Offer }
  | { readonly type: 'decline'; readonly offer: Offer; readonly refusal: Refusal }
  | { readonly type: 'train'; readonly offer: Offer }
  /** Journal the contribution durably, then send the update: the order that makes one contribution per round number hold. */
  | { readonly type: 'contribute'; readonly offer: Offer }
  /** Say that this client is ready, and take part in the masked round. */
  | { readonly type: 'join-masked'; readonly offer: Offer }
  | { readonly type: 'take-stage'; readonly stage: Stage }
  /** The coordinator has the update. */
  | { readonly type: 'note-contribution'; readonly offer: Offer }
  | { readonly type: 'abandon-work'; readonly detail: string }
  | { readonly type: 'evaluate'; readonly request: Evaluate }
  /** Answer that there is nothing to disclose, so that the round does not wait for this client. */
  | { readonly type: 'skip-evaluation'; readonly request: Evaluate }
  /** A round is void: note it, and look it up in the log. */
  | { readonly type: 'note-void'; readonly record: VoidRecord; readonly frame: Uint8Array }
  | { readonly type: 'accept-result'; readonly result: RoundResult };

/** What the driver must do. */
export type SessionEffect =
  | PresenceEffect
  | RoundEffect
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
const workEvents = [...linkEvents, 'offer', 'work-failed', 'result', 'void', 'stage', ...everywhere] as const;

/** Legal pairs of phase and event; what is not listed here is a violation. */
export const legalEvents: Readonly<Record<PhaseName, readonly EventName[]>> = {
  enrolling: ['enrolled', 'enrolment-refused', 'stop'],
  disconnected: ['reconnect-due', 'stop'],
  connecting: ['connected', 'connection-lost', 'admission-refused', 'stop'],
  idle: ['connection-lost', 'offer', 'evaluate', 'result', 'void', 'stage', ...everywhere],
  fetching: [...workEvents, 'plan-refused', 'prepared'],
  training: [...workEvents, 'trained', 'round-refused'],
  uploading: [...workEvents, 'uploaded', 'round-refused', 'evaluate'],
  masking: [...workEvents, 'contributed', 'uploaded', 'round-refused', 'evaluate'],
  evaluating: [...workEvents, 'evaluated', 'round-refused'],
  // The coordinator closes the connection when all is told.
  finished: ['connection-lost'],
};

/** Hash of the round that a phase works on, or null. */
export function roundOf(phase: SessionPhase): Digest | null {
  if ('offer' in phase) return phase.offer.roundHash;
  return phase.name === 'evaluating' ? phase.request.roundHash : null;
}

/** The step to a phase, with effects in order. */
export function stepTo(state: SessionState, phase: SessionPhase, ...effects: SessionEffect[]): SessionStep {
  return { state: { ...state, phase }, effects };
}

/** Where the link stands in a phase that takes part in rounds. */
export function linkOf(phase: SessionPhase): LinkState {
  return 'link' in phase ? phase.link : { name: 'up' };
}

/** The phase without work. */
export function restOf(phase: SessionPhase): SessionPhase {
  const link = linkOf(phase);
  if (link.name === 'up') return { name: 'idle' };
  return { name: link.name === 'waiting' ? 'disconnected' : 'connecting', attempt: link.attempt };
}
