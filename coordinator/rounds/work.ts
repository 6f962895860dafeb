/**
 * A round while clients fetch and train: who is asked, who agreed, whose update is durable, and when no more is awaited. A client whose own
 * speed says that it would finish within half the training time after the deadline gets that much, once per round for everybody.
 */
import { assert } from '../../shared/core/assert.ts';
import { voidRound } from './ending.ts';
import { openAttempt } from './masking.ts';
import type {
  FederationEffect,
  FederationEvent,
  FederationState,
  FederationStep,
  RoundWork,
  WorkPhase,
} from './state.ts';
import { askable, including, without } from './state.ts';

/** Takes an event while a cohort works. */
export function workStep(state: FederationState, phase: WorkPhase, event: FederationEvent): FederationStep {
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
        askable(state).includes(event.clientId) &&
        phase.asked.length - phase.declined.length < (state.settings.cohortSize ?? Number.POSITIVE_INFINITY);
      return open
        ? to({ asked: including(phase.asked, event.clientId) }, [{ type: 'offer', clients: [event.clientId] }])
        : to({});
    }
    case 'accepted':
      return to({
        accepted: including(phase.accepted, event.clientId),
        declined: without(phase.declined, event.clientId),
      });
    case 'declined': {
      // An update that is durable counts, whatever its sender says afterwards.
      if (phase.stored.includes(event.clientId)) return to({});
      const declined = including(phase.declined, event.clientId);
      const accepted = without(phase.accepted, event.clientId);
      const spare =
        phase.name === 'recruit' ? askable(state).find((clientId) => !phase.asked.includes(clientId)) : undefined;
      if (spare === undefined) return to({ declined, accepted });
      return to({ declined, accepted, asked: including(phase.asked, spare) }, [{ type: 'offer', clients: [spare] }]);
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
    case 'client-ready':
    case 'update-stored': {
      const { clientId } = event;
      // A masked round takes no update, an unmasked one waits for nobody who is ready.
      if ((event.type === 'client-ready') !== state.settings.isMasked) return to({});
      const [accepted, stored] = [including(phase.accepted, clientId), including(phase.stored, clientId)];
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
  const [accepted, declined] = [new Set(phase.accepted), new Set(phase.declined)];
  const [stored, present] = [new Set(phase.stored), new Set(state.present)];
  const answered = phase.asked.every((id) => accepted.has(id) || declined.has(id) || !present.has(id));
  if (phase.name === 'recruit') {
    const enough = phase.accepted.length >= state.settings.quorum;
    const possible = phase.asked.length - phase.declined.length >= state.settings.quorum;
    // Those who are asked and away may come back: below quorum they are waited for, as long as they could make it up.
    if (enough ? !answered : possible) return { state, effects };
    return then(closeRecruiting(state, phase, atMs));
  }
  if (phase.asked.length - phase.declined.length < state.settings.quorum)
    return then(closeTraining(state, phase, atMs));
  const missing = phase.asked.filter((id) => !stored.has(id) && !declined.has(id));
  if (missing.length === 0) return then(closeTraining(state, phase, atMs));
  if (phase.stored.length >= state.settings.quorum && missing.every((id) => !present.has(id))) {
    // Only absent clients are missing: they get a short while to come back, not the whole training time.
    const graceMs = Math.min(30_000, state.settings.trainMs / 4);
    return {
      state: { ...state, phase: { ...phase, deadlineMs: Math.min(phase.deadlineMs, atMs + graceMs), extended: true } },
      effects,
    };
  }
  return { state, effects };
}

function closeRecruiting(state: FederationState, phase: WorkPhase, atMs: number): FederationStep {
  if (phase.accepted.length < state.settings.quorum) {
    const detail = `${phase.accepted.length} of ${phase.asked.length} clients took part, the quorum is ${state.settings.quorum}`;
    return voidRound(state, phase.asked.length, phase.stored.length, { atMs, detail });
  }
  const deadlineMs = atMs + state.settings.trainMs;
  return settle({ ...state, phase: { ...phase, name: 'train', startMs: atMs, deadlineMs } }, atMs, []);
}

function closeTraining(state: FederationState, phase: WorkPhase, atMs: number): FederationStep {
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
    const what = settings.isMasked ? 'clients were ready' : 'updates arrived';
    const detail = `${phase.stored.length} of ${phase.asked.length} ${what} in time, the quorum is ${settings.quorum}`;
    return voidRound(state, phase.asked.length, phase.stored.length, { atMs, detail });
  }
  const contributors = phase.stored;
  if (settings.isMasked) return openAttempt(state, phase.asked, contributors);
  return {
    state: { ...state, phase: { name: 'aggregate', asked: phase.asked, contributors } },
    effects: [{ type: 'aggregate', contributors }],
  };
}
