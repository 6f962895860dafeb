/** From the aggregate of a round to the next round: evaluation of the candidate, publication, and what follows. */

import type { ClientId } from '../../shared/core/ids.ts';
import { afterRound, budgetEnd, complete, stop, stopAfter, voidRound } from './ending.ts';
import { openRound } from './opening.ts';
import type { FederationEvent, FederationState, FederationStep, Phase, RoundOutcome } from './state.ts';
import { askable, without } from './state.ts';

/** Asks contributors to evaluate the candidate where the plan wants that, else publishes it. */
export function openEvaluation(
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
  // Once all have measured, a masked evaluation has five exchanges of messages; the attempt's own deadlines end it before this one.
  const maskedMs = settings.isMasked ? 6 * settings.maskMs : 0;
  const next: Phase = {
    name: 'evaluate',
    asked,
    contributors,
    awaited,
    deadlineMs: atMs + settings.evaluateMs + maskedMs,
  };
  return { state: { ...state, phase: next }, effects: [{ type: 'evaluate', clients: awaited }] };
}

/** Takes an event while evaluations are awaited. */
export function evaluateStep(
  state: FederationState,
  phase: Extract<Phase, { name: 'evaluate' }>,
  event: FederationEvent,
): FederationStep {
  const { asked, contributors } = phase;
  if (event.type === 'deadline-reached' || event.type === 'evaluation-ended')
    return startPublishing(state, asked, contributors);
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
  return { state: { ...state, phase: { name: 'publish', asked, contributors, stopping: false } }, effects: [effect] };
}

/** The version is durable: the next round, or the end. */
export function closeRound(
  state: FederationState,
  phase: Extract<Phase, { name: 'publish' }>,
  atMs: number,
): FederationStep {
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
    ...afterRound(state, outcome),
    publishedCount: state.publishedCount + 1,
    voidsInRow: 0,
    refusalsInRow: 0,
  };
  if (next.publishedCount >= settings.roundCount) return complete(next);
  const end = phase.stopping ? 'stopped by its operator' : budgetEnd(next);
  if (end !== null) return stop(next, end);
  if (askable(next).length >= settings.quorum) return openRound(next, atMs);
  return {
    state: { ...next, phase: { name: 'waiting', deadlineMs: atMs + settings.waitMs, gathering: false } },
    effects: [],
  };
}

/** The gate refused the candidate: the round is void, the version before stays; so many refusals in a row end the federation. */
export function refuseCandidate(
  state: FederationState,
  phase: Extract<Phase, { name: 'publish' }>,
  why: { readonly atMs: number; readonly detail: string },
): FederationStep {
  const refusalsInRow = state.refusalsInRow + 1;
  const counted: FederationState = { ...state, refusalsInRow };
  const { refusalsMax } = state.settings;
  const sentence = `the gate refused ${refusalsInRow} candidates in a row; the last: ${why.detail}`;
  const end = phase.stopping ? 'stopped by its operator' : refusalsInRow >= refusalsMax ? sentence : null;
  const [asked, contributed] = [phase.asked.length, phase.contributors.length];
  return end === null ? voidRound(counted, asked, contributed, why) : stopAfter(counted, asked, contributed, why, end);
}
