/** A masked round from the moment at which its clients are ready to the opened sum; the messages in between are another machine's (`coordinator/masking`). */
import type { ClientId } from '../../shared/core/ids.ts';
import { voidRound } from './ending.ts';
import {
  ejectionRounds,
  type FederationEvent,
  type FederationState,
  type FederationStep,
  type Phase,
} from './state.ts';

/** Opens an attempt among those who are ready. */
export function openAttempt(
  state: FederationState,
  asked: readonly ClientId[],
  invited: readonly ClientId[],
): FederationStep {
  return {
    state: { ...state, phase: { name: 'mask', asked, contributors: invited } },
    effects: [{ type: 'open-attempt', asked, invited }],
  };
}

/** Takes an event while a sum is being opened. A failed attempt makes its round void: nobody contributes to one number twice. */
export function maskStep(
  state: FederationState,
  { asked, contributors: ready }: Extract<Phase, { name: 'mask' }>,
  event: FederationEvent,
): FederationStep {
  switch (event.type) {
    case 'sum-opened': {
      const { contributors } = event;
      const phase: Phase = { name: 'aggregate', asked, contributors };
      return { state: { ...state, phase }, effects: [{ type: 'aggregate', contributors }] };
    }
    case 'attempt-failed': {
      const until = state.roundIndex + 1 + ejectionRounds;
      const barred = { ...state.barred, ...Object.fromEntries(event.ejected.map((clientId) => [clientId, until])) };
      return voidRound({ ...state, barred }, asked.length, ready.length, event);
    }
    default:
      return { state, effects: [] };
  }
}
