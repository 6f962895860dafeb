/** Performs what the session machine wants done about rounds, one task after the other, and answers with events. Decides nothing. */
import { assert } from '../shared/core/assert.ts';
import { FederationError, StoreError, TransportError } from '../shared/core/errors.ts';
import type { Digest, FederationId } from '../shared/core/ids.ts';
import type { Result } from '../shared/core/result.ts';
import type { Evaluate, Offer } from '../shared/protocol/messages.ts';
import { describe, type Violation, violation } from '../shared/protocol/violations.ts';
import type { ClientListener } from './events.ts';
import type { LearnedUpdate } from './learner.ts';
import type { RoundEnd } from './platform/ports.ts';
import type { RoundWork } from './round-work.ts';
import { roundNameOf } from './round-work.ts';
import type { Ledger } from './session/ledger.ts';
import type { RoundEffect, SessionEvent } from './session/state.ts';
import type { Tasks } from './tasks.ts';
import type { Calls } from './transport/calls.ts';
import type { Trust } from './trust.ts';

/** What {@link createRoundEffects} needs. */
export interface RoundEffectsOptions {
  readonly work: RoundWork;
  readonly tasks: Tasks;
  readonly calls: Calls;
  readonly trust: Trust;
  readonly ledger: Ledger;
  readonly federationId: FederationId;
  readonly onEvent: ClientListener;
  readonly dispatch: (event: SessionEvent) => void;
  /** Takes what ends the session: a broken disk, a bug. */
  readonly fail: (thrown: unknown) => void;
  /** Aborted when the session is over. */
  readonly signal: AbortSignal;
}

/** Returns what performs an effect; it does not wait. */
export function createRoundEffects(options: RoundEffectsOptions): (effect: RoundEffect) => void {
  const { work, tasks, calls, trust, ledger, federationId, onEvent, dispatch, fail, signal } = options;
  let update: LearnedUpdate | null = null;

  /** Faults of data, base and network end the work of a round, everything else the session. */
  const judge = (thrown: unknown, roundHash: Digest): void => {
    try {
      if (!(thrown instanceof FederationError) || thrown instanceof StoreError) throw thrown;
      onEvent({ type: 'problem', code: thrown.code, detail: thrown.message });
      // The message may quote the site's data or paths, so only its code leaves the site.
      dispatch({ type: 'work-failed', roundHash, detail: `the site could not do its part (${thrown.code})` });
    } catch (final) {
      fail(final);
    }
  };
  const start = (roundHash: Digest, task: (taskSignal: AbortSignal) => Promise<SessionEvent>): void =>
    tasks.start(
      async (taskSignal) => dispatch(await task(taskSignal)),
      (thrown) => judge(thrown, roundHash),
    );
  /** Tells the coordinator something that no phase waits for. */
  const say = async (call: Promise<Result<null, Violation>>): Promise<void> => {
    try {
      const reply = await call;
      if (!reply.ok) onEvent({ type: 'problem', code: reply.error.code, detail: describe(reply.error) });
    } catch (thrown) {
      if (signal.aborted) return;
      if (!(thrown instanceof TransportError)) throw thrown;
      onEvent({ type: 'problem', code: thrown.code, detail: thrown.message });
    }
  };

  const noteEnd = (end: RoundEnd): void => void ledger.recordEnd(federationId, end).catch(fail);
  const distrustOf = async (offer: Offer, taskSignal: AbortSignal): Promise<string | null> =>
    trust.judgeOffer(offer, taskSignal, await work.documentHashOf(offer, taskSignal));
  const prepare = (offer: Offer): void => {
    const { roundHash, roundParams } = offer;
    onEvent({ type: 'offered', roundIndex: roundParams.roundIndex });
    start(roundHash, async (taskSignal) => {
      const distrust = await distrustOf(offer, taskSignal);
      if (distrust !== null) return { type: 'plan-refused', roundHash, reason: distrust };
      const outcome = await work.prepare(offer, taskSignal);
      return outcome.ok
        ? { type: 'prepared', roundHash, facts: outcome.value }
        : { type: 'plan-refused', roundHash, reason: outcome.error };
    });
  };
  const train = (offer: Offer): void =>
    start(offer.roundHash, async (taskSignal) => {
      const { roundHash } = offer;
      const learned = await work.train(taskSignal);
      if (!learned.ok) return { type: 'round-refused', roundHash, refused: learned.error };
      // Training takes long: what was found or signed meanwhile, a fork or a revocation, counts before anything is sent.
      const distrust = await distrustOf(offer, taskSignal);
      if (distrust !== null) return { type: 'work-failed', roundHash, detail: distrust };
      update = learned.value;
      return { type: 'trained', roundHash };
    });
  const contribute = ({ roundHash, roundParams }: Offer): void =>
    start(roundHash, async (taskSignal) => {
      assert(update !== null, 'a contribution follows training');
      const { roundIndex, sessionId } = roundParams;
      await ledger.recordContribution(federationId, { roundIndex, roundHash, sessionId });
      const receipt = await work.upload(update, taskSignal);
      return receipt.ok
        ? { type: 'uploaded', roundHash }
        : { type: 'round-refused', roundHash, refused: receipt.error };
    });
  const joinMasked = (offer: Offer): void =>
    start(offer.roundHash, async (taskSignal) => {
      assert(update !== null, 'a contribution follows training');
      const { roundHash } = offer;
      const journal = async ({ roundParams: { roundIndex, sessionId } }: Offer): Promise<boolean> => {
        if (roundIndex <= (ledger.lastContribution(federationId)?.roundIndex ?? -1)) return false;
        await ledger.recordContribution(federationId, { roundIndex, roundHash, sessionId });
        dispatch({ type: 'contributed', roundHash });
        return true;
      };
      const joined = await work.joinMasked(update, journal, taskSignal);
      return joined.ok ? { type: 'uploaded', roundHash } : { type: 'round-refused', roundHash, refused: joined.error };
    });
  const evaluate = (request: Evaluate): void =>
    start(request.roundHash, async (taskSignal) => {
      const { roundHash, modelHash } = request;
      const fork = trust.fork();
      if (fork !== null) return { type: 'round-refused', roundHash, refused: violation('log-fork', fork) };
      const sent = await work.evaluate(request, taskSignal);
      if (!sent.ok) return { type: 'round-refused', roundHash, refused: sent.error };
      onEvent({ type: 'evaluated', modelHash, disclosed: sent.value });
      return { type: 'evaluated', roundHash };
    });

  return (effect) => {
    switch (effect.type) {
      case 'prepare':
        prepare(effect.offer);
        break;
      case 'decline': {
        const { offer, refusal } = effect;
        onEvent({ type: 'declined', roundIndex: offer.roundParams.roundIndex, ...refusal });
        say(calls.decline(roundNameOf(offer), refusal.code, refusal.detail, signal)).catch(fail);
        break;
      }
      case 'train':
        train(effect.offer);
        break;
      case 'contribute':
        contribute(effect.offer);
        break;
      case 'join-masked':
        joinMasked(effect.offer);
        break;
      case 'take-stage':
        work.takeStage(effect.stage);
        break;
      case 'note-contribution': {
        assert(update !== null, 'a contribution follows training');
        const { roundIndex } = effect.offer.roundParams;
        onEvent({ type: 'uploaded', roundIndex, bytes: update.delta.byteLength, exampleCount: update.exampleCount });
        update = null;
        break;
      }
      case 'abandon-work':
        tasks.abandon(new TransportError('abandoned', effect.detail));
        break;
      case 'evaluate':
        evaluate(effect.request);
        break;
      case 'skip-evaluation': {
        const { roundHash, modelHash } = effect.request;
        const contribution = ledger.lastContribution(federationId);
        if (contribution?.roundHash !== roundHash) break;
        const nothing = { modelHash, exampleCount: 0, metrics: null };
        say(calls.sendEvaluation(contribution, nothing, signal)).catch(fail);
        break;
      }
      case 'note-void': {
        const { record, frame } = effect;
        const { roundIndex, nextRoundIndex, modelHash, reason } = record;
        noteEnd({ roundIndex: nextRoundIndex - 1, modelHash });
        onEvent({ type: 'void', roundIndex, reason });
        trust.witnessVoid(record, frame);
        break;
      }
      case 'accept-result': {
        const { roundIndex, newModelHash, contributorCount } = effect.result;
        noteEnd({ roundIndex, modelHash: newModelHash });
        onEvent({ type: 'result', roundIndex, newModelHash, contributorCount });
        trust.witness(effect.result);
        break;
      }
      default:
        effect satisfies never;
    }
  };
}
