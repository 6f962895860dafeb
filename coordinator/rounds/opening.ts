/** From waiting for clients to a round that is offered. */
import { assert } from '../../shared/core/assert.ts';
import { samplingOrder } from '../cohort/sampling.ts';
import { budgetEnd, stop } from './ending.ts';
import type { FederationEvent, FederationState, FederationStep, Phase } from './state.ts';
import { askable, gatherMsMax } from './state.ts';

/** Takes an event while clients are awaited. */
export function waitStep(
  state: FederationState,
  phase: Extract<Phase, { name: 'waiting' }>,
  event: FederationEvent,
): FederationStep {
  const { settings } = state;
  const present = askable(state);
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
  if (due) {
    const out = state.present.length - present.length;
    const aside = out === 0 ? '' : `, beside ${out} that were ejected from a masked round lately`;
    return stop(
      state,
      `only ${present.length} of ${settings.quorum} clients that the quorum needs were connected${aside}`,
    );
  }
  return { state, effects: [] };
}

/** Asks a cohort of those who are there. */
export function openRound(state: FederationState, atMs: number): FederationStep {
  const { settings, roundIndex } = state;
  assert(budgetEnd(state) === null, 'a round that is opened is paid for');
  const order = samplingOrder(askable(state), { seed: settings.seed, roundIndex });
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
