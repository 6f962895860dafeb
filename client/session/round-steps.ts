/** What a session does about rounds: offers, the answers of its own work, requests to evaluate, results. Pure. */
import type { Evaluate, Offer, RoundResult } from '../../shared/protocol/messages.ts';
import type { Refusal, SessionMemory } from './checks.ts';
import { checkOffer, checkPhase, checkPrepared } from './checks.ts';
import type { SessionEffect, SessionEvent, SessionPhase, SessionState, SessionStep } from './state.ts';
import { linkOf, restOf, roundOf, stepTo } from './state.ts';

/** Takes an event of a round, which is legal in this phase. */
export function stepInRound(state: SessionState, event: SessionEvent): SessionStep {
  const { phase, memory } = state;
  const link = linkOf(phase);
  const rest = restOf(phase);
  switch (event.type) {
    case 'offer': {
      const { offer } = event;
      // The coordinator repeats an offer after a reconnection; the work goes on.
      if (offer.roundHash === roundOf(phase)) return stepTo(state, phase);
      const refused = checkOffer(offer, memory);
      if (refused !== null) return stepTo(state, phase, { type: 'decline', offer, refusal: refused });
      const began = `round ${offer.roundParams.roundIndex} began`;
      const effects: SessionEffect[] = phase.name === 'idle' ? [] : [{ type: 'abandon-work', detail: began }];
      const taken = { ...state, memory: countAttempt(memory, offer) };
      return stepTo(taken, { name: 'fetching', offer, link }, ...effects, { type: 'prepare', offer });
    }
    case 'plan-refused': {
      if (phase.name !== 'fetching') return stepTo(state, phase);
      const refusal: Refusal = { code: 'policy-refused', detail: event.reason };
      return stepTo(state, rest, { type: 'decline', offer: phase.offer, refusal });
    }
    case 'prepared': {
      if (phase.name !== 'fetching') return stepTo(state, phase);
      const { offer } = phase;
      const refused = checkPrepared(offer, event.facts) ?? checkPhase(offer, event.facts.phase, memory);
      if (refused !== null) return stepTo(state, rest, { type: 'decline', offer, refusal: refused });
      return stepTo(state, { name: 'training', offer, link }, { type: 'train', offer });
    }
    case 'trained': {
      if (phase.name !== 'training') return stepTo(state, phase);
      const { offer } = phase;
      // A masked attempt may be repeated under its number until the journal has the shares that open it.
      if (offer.roundParams.suite !== 0)
        return stepTo(state, { name: 'masking', offer, link }, { type: 'join-masked', offer });
      const remembered = { ...memory, lastRoundIndex: offer.roundParams.roundIndex };
      const next: SessionPhase = { name: 'uploading', offer, link };
      return stepTo({ ...state, memory: remembered }, next, { type: 'contribute', offer });
    }
    case 'contributed': {
      if (phase.name !== 'masking') return stepTo(state, phase);
      const { roundIndex } = phase.offer.roundParams;
      return stepTo({ ...state, memory: { ...memory, lastRoundIndex: roundIndex } }, phase);
    }
    case 'stage':
      // A coordinator repeats its stage to whoever comes back; who takes no part in it any more has no use for it.
      return phase.name === 'masking' || phase.name === 'evaluating'
        ? stepTo(state, phase, { type: 'take-stage', stage: event.stage })
        : stepTo(state, phase);
    case 'uploaded':
      return phase.name === 'uploading' || phase.name === 'masking'
        ? stepTo(state, rest, { type: 'note-contribution', offer: phase.offer })
        : stepTo(state, phase);
    case 'work-failed':
      if (phase.name === 'fetching' || phase.name === 'training') {
        const refusal: Refusal = { code: 'training-failed', detail: event.detail };
        return stepTo(state, rest, { type: 'decline', offer: phase.offer, refusal });
      }
      return phase.name === 'evaluating'
        ? stepTo(state, rest, { type: 'skip-evaluation', request: phase.request })
        : stepTo(state, rest);
    case 'round-refused':
      return stepTo(state, rest, { type: 'report', code: event.refused.code, detail: event.refused.detail });
    case 'evaluate':
      return openEvaluation(state, event.request, event.known);
    case 'evaluated':
      return stepTo(state, rest);
    case 'result':
      return acceptResult(state, event.result);
    case 'void':
      return acceptVoid(state, event);
    default:
      return stepTo(state, phase);
  }
}

/** What is remembered once an offer is taken on. */
function countAttempt(memory: SessionMemory, { roundParams: { suite, roundIndex } }: Offer): SessionMemory {
  if (suite === 0) return memory;
  const before = memory.attempts?.roundIndex === roundIndex ? memory.attempts.count : 0;
  return { ...memory, attempts: { roundIndex, count: before + 1 } };
}

/** Only contributors are asked to evaluate: being asked says that the update arrived, even where its receipt is still on the way. */
function openEvaluation(state: SessionState, request: Evaluate, known: boolean): SessionStep {
  const { phase } = state;
  const isSending = phase.name === 'uploading' || phase.name === 'masking';
  if (!known || (isSending && phase.offer.roundHash !== request.roundHash)) {
    const detail = 'asked to evaluate for a round that this client did not prepare since it was started';
    return stepTo(
      state,
      phase,
      { type: 'report', code: 'unknown-round', detail },
      { type: 'skip-evaluation', request },
    );
  }
  if (!isSending)
    return stepTo(state, { name: 'evaluating', request, link: linkOf(phase) }, { type: 'evaluate', request });
  return stepTo(
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
    return stepTo(state, phase, { type: 'report', code: 'stale-round', detail });
  }
  const remembered = { ...state, memory: { ...memory, lastResult: { roundIndex, modelHash: newModelHash } } };
  const accepted: SessionEffect = { type: 'accept-result', result };
  const isLate =
    (phase.name === 'fetching' || phase.name === 'training' || phase.name === 'masking') &&
    roundOf(phase) === result.roundHash;
  return isLate
    ? stepTo(
        remembered,
        restOf(phase),
        { type: 'abandon-work', detail: 'the round closed without this client' },
        accepted,
      )
    : stepTo(remembered, phase, accepted);
}

/**
 * A void round ends the work on it: same model, a later number. It has to be the round in hand, or one after the last that ended, and to keep the
 * model that rounds start from.
 */
function acceptVoid(
  state: SessionState,
  { record, frame }: Extract<SessionEvent, { readonly type: 'void' }>,
): SessionStep {
  const { phase, memory } = state;
  const { federationId, roundHash, roundIndex, nextRoundIndex, modelHash } = record;
  const isOwn = roundOf(phase) === roundHash;
  const offered = isOwn && 'offer' in phase ? phase.offer.roundParams : null;
  const last = memory.lastResult;
  const isKept =
    (offered === null || (offered.roundIndex === roundIndex && offered.modelHash === modelHash)) &&
    (last === null || last.roundIndex + 1 !== roundIndex || last.modelHash === modelHash);
  const isLater = nextRoundIndex > roundIndex && (last === null || roundIndex > last.roundIndex);
  if (federationId !== memory.federationId || !isKept || !isLater) {
    const detail = `round ${roundIndex} with model ${modelHash} is announced as void, which it cannot be`;
    return stepTo(state, phase, { type: 'report', code: 'bad-void', detail });
  }
  // The next offer has to start from the very same model.
  const remembered = { ...state, memory: { ...memory, lastResult: { roundIndex: nextRoundIndex - 1, modelHash } } };
  const noted: SessionEffect = { type: 'note-void', record, frame };
  return isOwn
    ? stepTo(remembered, restOf(phase), { type: 'abandon-work', detail: 'the round is void' }, noted)
    : stepTo(remembered, phase, noted);
}
