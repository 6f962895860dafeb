/**
 * The client's side of a federation as a pure machine: `receive(state, event) -> { state, effects }`. The driver (`driver.ts`) performs
 * effects and answers them with events; no time, randomness, network or disk here. Bytes (base, adapter, delta) never pass through the
 * machine: events carry only signed messages, hashes and verdicts.
 *
 * Legal phase x event pairs stand in `legalEvents` (`state.ts`); any other pair is the violation `unexpected-event` and changes nothing.
 * A lost connection does not stop work: `fetching`, `training`, `uploading` and `evaluating` carry where the link stands, calls wait for it,
 * and work that ends without a connection leads to the phase that waits for one.
 */
import type { SessionMemory } from './checks.ts';
import { stepInRound } from './round-steps.ts';
import type { FinishReason, SessionEffect, SessionEvent, SessionPhase, SessionState, SessionStep } from './state.ts';
import { legalEvents, roundOf, stepTo } from './state.ts';

export type { FinishReason, SessionEffect, SessionEvent, SessionPhase, SessionState, SessionStep } from './state.ts';

/** A fresh session: enrols first when there are no credentials yet. */
export function startSession(memory: SessionMemory, enrolled: boolean): SessionStep {
  const phase: SessionPhase = enrolled ? { name: 'connecting', attempt: 0 } : { name: 'enrolling' };
  return { state: { phase, memory }, effects: [{ type: enrolled ? 'connect' : 'enrol' }] };
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
  return linkStep(state, event) ?? stepInRound(state, event);
}

/** Events of the connection and of the end; null for all others. */
function linkStep(state: SessionState, event: SessionEvent): SessionStep | null {
  const { phase } = state;
  switch (event.type) {
    case 'enrolled':
      return stepTo(state, { name: 'connecting', attempt: 0 }, { type: 'connect' });
    case 'connected':
      return stepTo(state, 'link' in phase ? { ...phase, link: { name: 'up' } } : { name: 'idle' });
    case 'connection-lost': {
      if (phase.name === 'finished') return stepTo(state, phase);
      const { detail } = event;
      const link = 'link' in phase ? phase.link : phase;
      const attempt = 'attempt' in link ? link.attempt + 1 : 1;
      const next: SessionPhase =
        'link' in phase ? { ...phase, link: { name: 'waiting', attempt } } : { name: 'disconnected', attempt };
      return stepTo(state, next, { type: 'schedule-reconnect', attempt, detail });
    }
    case 'reconnect-due': {
      if (phase.name === 'disconnected')
        return stepTo(state, { name: 'connecting', attempt: phase.attempt }, { type: 'connect' });
      if (!('link' in phase) || phase.link.name !== 'waiting') return stepTo(state, phase);
      return stepTo(state, { ...phase, link: { ...phase.link, name: 'connecting' } }, { type: 'connect' });
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
  return stepTo(state, { name: 'finished', reason }, ...effects, { type: 'close', reason });
}
