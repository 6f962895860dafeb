/** How rounds and federations end: void rounds, completion, stops, and the sentence about it. */
import type { FederationEffect, FederationState, FederationStep, RoundOutcome } from './state.ts';
import { askable, gatherMsMax } from './state.ts';

/**
 * Why the privacy budget ends the federation before the round of the next number, or null. A number that is used is charged, whatever became of its
 * round and however often the coordinator starts.
 */
export function budgetEnd({ settings: { budgetRounds }, roundIndex }: FederationState): string | null {
  if (budgetRounds === undefined || roundIndex < budgetRounds) return null;
  return `the privacy budget is spent: it pays ${budgetRounds} rounds, void ones included`;
}

/** Ends the round in hand without a version: same adapter, next number. */
export function voidRound(
  state: FederationState,
  asked: number,
  contributed: number,
  why: { readonly atMs: number; readonly detail: string },
): FederationStep {
  const outcome: RoundOutcome = { roundIndex: state.roundIndex, kind: 'void', asked, contributed, detail: why.detail };
  const next = { ...afterRound(state, outcome), voidsInRow: state.voidsInRow + 1 };
  const effects: FederationEffect[] = [{ type: 'void-round', outcome }];
  const { settings, voidsInRow } = next;
  const tooMany = `${voidsInRow} void rounds in a row; the last: ${why.detail}`;
  const end = voidsInRow >= settings.voidsMax ? tooMany : budgetEnd(next);
  if (end !== null) {
    const stopped = stop(next, end);
    return { state: stopped.state, effects: [...effects, ...stopped.effects] };
  }
  // Trying again at once would only find the same clients in the same state.
  const gathering = askable(next).length >= settings.quorum;
  const delayMs = gathering ? Math.min(settings.recruitMs, gatherMsMax) : settings.waitMs;
  return { state: { ...next, phase: { name: 'waiting', deadlineMs: why.atMs + delayMs, gathering } }, effects };
}

/** Ends the round in hand without a version, and the federation with it. */
export function stopAfter(
  state: FederationState,
  asked: number,
  contributed: number,
  { detail }: { readonly detail: string },
  why: string,
): FederationStep {
  const outcome: RoundOutcome = { roundIndex: state.roundIndex, kind: 'void', asked, contributed, detail };
  const stopped = stop(afterRound(state, outcome), why);
  return { state: stopped.state, effects: [{ type: 'void-round', outcome }, ...stopped.effects] };
}

/** The state once the round in hand has `outcome`: its number is used up. */
export function afterRound(state: FederationState, outcome: RoundOutcome): FederationState {
  return { ...state, roundIndex: state.roundIndex + 1, outcomes: [...state.outcomes, outcome] };
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
  const parts = [`${state.publishedCount} of ${state.settings.roundCount} rounds published`];
  if (short > 0) parts.push(`${short} with fewer clients than asked (fewest ${fewest.contributed} of ${fewest.asked})`);
  else if (published.length > 0) parts.push('all clients that were asked contributed');
  if (voids > 0) parts.push(`${voids} void`);
  return parts.join(', ');
}

/** Ends a federation that has all its rounds. */
export function complete(state: FederationState): FederationStep {
  const detail = summarise(state);
  return {
    state: { ...state, phase: { name: 'completed', detail } },
    effects: [{ type: 'finish', status: 'completed', detail }],
  };
}

/** Ends a federation that has not. */
export function stop(state: FederationState, why: string): FederationStep {
  const detail = `${why}; ${summarise(state)}`;
  return {
    state: { ...state, phase: { name: 'stopped', detail } },
    effects: [{ type: 'finish', status: 'stopped', detail }],
  };
}

/** Ends a federation for its operator; a round under way is void, so that none of its updates is kept. */
export function stopByOperator(state: FederationState): FederationStep {
  const { phase } = state;
  const why = 'stopped by its operator';
  if (!('asked' in phase)) return stop(state, why);
  const contributed = ('stored' in phase ? phase.stored : phase.contributors).length;
  return stopAfter(state, phase.asked.length, contributed, { detail: why }, why);
}
