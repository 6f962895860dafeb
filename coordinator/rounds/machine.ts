/**
 * A federation as a pure machine: `receive(state, event) -> { state, effects }`. No time, network, disk or randomness here; the driver
 * (`federation.ts`) performs effects and answers with events. Legal pairs of phase and event stand in `table.ts`.
 *
 * Rules that end users meet: a round number is never used twice, because a client contributes at most once per round number; a round below
 * its quorum, or whose candidate the gate refuses, is void (same adapter, next number); `voidsMax` void rounds or `refusalsMax` refused
 * candidates in a row end the federation; every phase that depends on
 * clients has a deadline, and a round lasts at most 1.5 times its training time beside recruiting and evaluation.
 */
import { assert } from '../../shared/core/assert.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { closeRound, evaluateStep, openEvaluation, refuseCandidate } from './closing.ts';
import { budgetEnd, complete, stop, stopByOperator, voidRound } from './ending.ts';
import { maskStep } from './masking.ts';
import { waitStep } from './opening.ts';
import type { FederationEvent, FederationState, FederationStep, Phase, RoundOutcome, RoundSettings } from './state.ts';
import { deadlineOf, including, without } from './state.ts';
import { roundTable } from './table.ts';
import { workStep } from './work.ts';

/** A federation that starts, or goes on after `publishedCount` rounds with `roundIndex` as the next unused number. */
export function startFederation(
  settings: RoundSettings,
  start: {
    readonly atMs: number;
    readonly roundIndex: number;
    readonly publishedCount: number;
    /** Candidates that the gate refused since the last version; 0 by default. */
    readonly refusalsInRow?: number;
    /** Clients that were ejected lately, as {@link FederationState.barred} has them. */
    readonly barred?: FederationState['barred'];
    readonly outcomes: readonly RoundOutcome[];
    /** A masked round whose sum can still be opened: its number is `roundIndex`. */
    readonly resumed?: { readonly asked: readonly ClientId[]; readonly contributors: readonly ClientId[] } | null;
  },
): FederationStep {
  assert(settings.quorum >= 1 && settings.roundCount >= 1, 'a federation has at least one round and a quorum of one');
  const waiting: Phase = { name: 'waiting', deadlineMs: start.atMs + settings.waitMs, gathering: false };
  const { atMs: _, resumed = null, refusalsInRow = 0, barred = {}, ...counted } = start;
  const phase: Phase = resumed === null ? waiting : { name: 'mask', ...resumed };
  const state: FederationState = {
    settings,
    ...counted,
    voidsInRow: 0,
    refusalsInRow,
    present: [],
    barred,
    phase,
  };
  if (start.publishedCount >= settings.roundCount) return complete(state);
  // The number of a round that is resumed was paid before its clients were asked.
  const spent = resumed === null ? budgetEnd(state) : null;
  return spent === null ? { state, effects: [] } : stop(state, spent);
}

/** Takes one event. Never throws on what a peer does. */
export function receive(state: FederationState, event: FederationEvent): FederationStep {
  const { phase } = state;
  if (roundTable[phase.name][event.type] === undefined) {
    const clientId = 'clientId' in event ? event.clientId : null;
    const detail = `${event.type} is not expected while ${phase.name}`;
    return { state, effects: [{ type: 'reject', code: 'unexpected-event', detail, clientId }] };
  }
  if (event.type === 'stop-requested') {
    // What is being published is durable in a moment, and counts.
    if (phase.name === 'publish') return { state: { ...state, phase: { ...phase, stopping: true } }, effects: [] };
    return stopByOperator(state);
  }
  // A timer that was set for an earlier deadline fires late or for nothing.
  if (event.type === 'deadline-reached' && event.atMs < (deadlineOf(state) ?? 0)) return { state, effects: [] };
  const { barred: before } = state;
  const isLetIn = event.type === 'client-joined' && event.isReleased === true && event.clientId in before;
  const barred = isLetIn ? { ...before, [event.clientId]: 0 } : before;
  const present =
    event.type === 'client-joined'
      ? including(state.present, event.clientId)
      : event.type === 'client-left'
        ? without(state.present, event.clientId)
        : state.present;
  const now = { ...state, present, barred };
  switch (phase.name) {
    case 'waiting':
      return waitStep(now, phase, event);
    case 'recruit':
    case 'train':
      return workStep(now, phase, event);
    case 'evaluate':
      return evaluateStep(now, phase, event);
    case 'mask':
      return maskStep(now, phase, event);
    case 'aggregate':
      if (event.type === 'aggregated') return openEvaluation(now, phase, event.atMs);
      if (event.type === 'aggregation-failed')
        return voidRound(now, phase.asked.length, phase.contributors.length, event);
      return { state: now, effects: [] };
    case 'publish':
      if (event.type === 'candidate-refused') return refuseCandidate(now, phase, event);
      return event.type === 'published' ? closeRound(now, phase, event.atMs) : { state: now, effects: [] };
    default:
      return { state: now, effects: [] };
  }
}
