/**
 * The driver of the round machine: performs its effects one after the other and answers with events. How a round is made stands in
 * `round-work.ts`, what clients say arrives through `hearing.ts`.
 *
 * Durability: a round number is written before it is offered, an update before it is acknowledged, and a version in the same transaction
 * that ends its round. So a coordinator that is killed anywhere goes on with the next unused round number, and no aggregate counts twice.
 */
import { assert } from '../shared/core/assert.ts';
import { errorMessage, FederationError, StoreError } from '../shared/core/errors.ts';
import type { ClientId } from '../shared/core/ids.ts';
import { askedOfAll } from '../shared/plan/secure-aggregation.ts';
import { encodeMessage } from '../shared/protocol/codec.ts';
import type { CoordinatorEvent, FederationStatus } from '../shared/protocol/messages.ts';
import type { Violation } from '../shared/protocol/violations.ts';
import { describe, violation } from '../shared/protocol/violations.ts';
import { bindTask } from '../shared/training/tasks/registry.ts';
import { createGate } from './canary/gate.ts';
import { type OpenOperator, operatorOf } from './canary/operator.ts';
import { openQuarantine } from './enrolment/quarantine.ts';
import type { CoordinatorListener } from './events.ts';
import type { Hearing } from './hearing.ts';
import { createHearing } from './hearing.ts';
import type { Attempt } from './masking/attempt.ts';
import { createMaskedRounds, paramsOfAttempt } from './masking/masked-rounds.ts';
import { recover, voidOpenRounds } from './recovery.ts';
import type { OpenRound, RoundPorts } from './round-work.ts';
import { createRoundWork } from './round-work.ts';
import { receive, startFederation } from './rounds/machine.ts';
import { settingsOf } from './rounds/settings.ts';
import type { FederationEffect, FederationEvent, FederationState } from './rounds/state.ts';
import { askable, deadlineOf } from './rounds/state.ts';
import type { Peer } from './transport/transport.ts';

/** Everything a federation works with. */
export interface FederationPorts extends Omit<RoundPorts, 'nativeAes' | 'operator' | 'gate' | 'quarantine'> {
  /** Makes the operator's rows ready; needed where the plan names some. */
  readonly openOperator?: OpenOperator | undefined;
  /** Whether its clients are told when it is completed; false where another phase follows. Default true. */
  readonly isLast?: boolean;
  /** Number of the first round that counts; 0 by default. */
  readonly firstRound?: number;
  readonly onEvent: CoordinatorListener;
}

/** How a federation ended. */
export interface FederationEnd {
  readonly status: 'completed' | 'stopped';
  readonly detail: string;
}

/** A running federation. */
export interface Federation {
  readonly status: () => FederationStatus;
  readonly state: () => FederationState;
  readonly ended: Promise<FederationEnd>;
  readonly hearing: Hearing;
  readonly joined: (peer: Peer) => void;
  readonly left: (peer: Peer) => void;
  readonly stop: () => void;
  /** Resolves when nobody is connected any more, or after `withinMs`. */
  readonly vacated: (withinMs: number) => Promise<void>;
  /** Stops and resolves when nothing is being written any more. */
  close(): Promise<void>;
}

/** Timers of engines are signed 32-bit milliseconds. */
const timerMsMax = 2 ** 31 - 1;

/** Starts, or goes on with, the federation of the store. @throws StoreError. */
export async function openFederation(ports: FederationPorts): Promise<Federation> {
  const { plan, store, clock, onEvent, isLast = true, firstRound } = ports;
  const nativeAes = new Set<ClientId>();
  const operator = await operatorOf(plan, ports.openOperator);
  const gate = createGate(plan.canary, { coordinatorKey: ports.identity.publicKey, operator });
  const quarantine = await openQuarantine({ store, rule: plan.quarantine, note: ports.note });
  const roundPorts: RoundPorts = { ...ports, nativeAes, operator, gate, quarantine };
  const work = createRoundWork(roundPorts);
  const peers = new Map<ClientId, Peer>();
  const end = Promise.withResolvers<FederationEnd>();
  // Whoever awaits the end hears of a failure; nobody has to.
  end.promise.catch(() => undefined);
  let round: OpenRound | null = null;
  let queue: Promise<void> = Promise.resolve();
  let swept: Promise<void> = Promise.resolve();
  let broken = false;
  let cancelTimer = (): void => undefined;
  let onVacated = (): void => undefined;
  const send = (clients: Iterable<ClientId>, event: CoordinatorEvent, body: Uint8Array): void => {
    for (const clientId of clients) peers.get(clientId)?.send(event, body);
  };
  const sendStage = (clientId: ClientId, frame: Uint8Array): void => send([clientId], 'stage', frame);
  const maskedRounds = createMaskedRounds({ ...roundPorts, sendStage, onEvent });
  const settings = settingsOf(plan, ports.exchange.uploaded.dim);
  const found = await recover(store, work, {
    ...maskedRounds,
    ...settings,
    coordinatorKey: ports.identity.publicKey,
    firstRound,
  });
  const { resumed } = found;
  let { state, effects } = startFederation(settings, {
    ...found,
    barred: quarantine.barred,
    atMs: clock.nowMs(),
    resumed: resumed === null ? null : { asked: resumed.attempt.asked, contributors: resumed.attempt.invited },
  });

  const finished = (): Uint8Array | null => {
    const { phase } = state;
    if (phase.name !== 'stopped' && !(phase.name === 'completed' && isLast)) return null;
    return encodeMessage({ status: phase.name, detail: phase.detail });
  };

  const dispatch = (event: FederationEvent): Violation | null => {
    const step = receive(state, event);
    state = step.state;
    let refused: Violation | null = null;
    for (const effect of step.effects) {
      if (effect.type === 'reject') refused = violation(effect.code, effect.detail, state.roundIndex);
      else enqueue(effect);
    }
    schedule();
    return refused;
  };
  const enqueue = (effect: Exclude<FederationEffect, { type: 'reject' }>): void => {
    queue = queue.then(() => (broken ? undefined : perform(effect))).catch(fail);
  };
  const schedule = (): void => {
    cancelTimer();
    const deadlineMs = deadlineOf(state);
    if (deadlineMs === null || broken) return;
    const delayMs = Math.min(Math.max(0, deadlineMs - clock.nowMs()), timerMsMax);
    cancelTimer = clock.after(delayMs, () => void dispatch({ type: 'deadline-reached', atMs: clock.nowMs() }));
  };
  /** A broken disk or a bug: nothing can be made durable any more, so the federation ends here. */
  const fail = (thrown: unknown): void => {
    broken = true;
    cancelTimer();
    end.reject(thrown instanceof Error ? thrown : new Error(errorMessage(thrown)));
  };

  const perform = async (effect: Exclude<FederationEffect, { type: 'reject' }>): Promise<void> => {
    switch (effect.type) {
      case 'open-round': {
        round = await work.open(effect.roundIndex, effect.clients);
        const { roundIndex, roundHash } = round;
        const asked = effect.clients.length;
        const beyond = asked === askedOfAll(plan) ? Math.max(0, askable(state).length - asked) : 0;
        onEvent({ type: 'round-started', roundIndex, roundHash, asked, beyond });
        break;
      }
      case 'offer':
        if (round !== null) send(effect.clients, 'offer', round.offer);
        break;
      case 'open-attempt':
        assert(round?.masked != null, 'a masked round is open while its sum is made');
        follow(round, await maskedRounds.open(round.masked, effect.asked, effect.invited));
        break;
      case 'aggregate':
        assert(round !== null, 'a round is open while it is aggregated');
        try {
          const modelHash = await work.makeCandidate(round, effect.contributors);
          dispatch({ type: 'aggregated', modelHash, atMs: clock.nowMs() });
        } catch (thrown) {
          if (!(thrown instanceof FederationError)) throw thrown;
          dispatch({ type: 'aggregation-failed', detail: errorMessage(thrown), atMs: clock.nowMs() });
        }
        break;
      case 'evaluate':
        assert(round !== null, 'a round is open while it is evaluated');
        openMaskedEvaluation(round, effect.clients);
        send(effect.clients, 'evaluate', work.sealEvaluation(round));
        break;
      case 'publish': {
        assert(round !== null, 'a round is open until it is published');
        const refused = await work.judge(round);
        if (refused !== null) {
          onEvent({ type: 'candidate-refused', roundIndex: round.roundIndex, detail: refused });
          dispatch({ type: 'candidate-refused', detail: refused, atMs: clock.nowMs() });
          break;
        }
        const { result, event, sweep } = await work.publish(round, effect);
        round = null;
        send(state.present, 'result', result);
        onEvent(event);
        await judgeClients(effect.roundIndex);
        dispatch({ type: 'published', atMs: clock.nowMs() });
        // Beside the next round: nobody waits for the disk to forget, except the end of the federation.
        swept = swept.then(sweep).catch(fail);
        break;
      }
      case 'void-round': {
        const { outcome } = effect;
        const frame = await work.makeVoid(round, outcome);
        round = null;
        send(state.present, 'void', frame);
        onEvent({ type: 'void', roundIndex: outcome.roundIndex, detail: outcome.detail });
        await judgeClients(outcome.roundIndex);
        break;
      }
      case 'finish': {
        const { status, detail } = effect;
        await swept;
        await voidOpenRounds(store, work, detail);
        if (status === 'completed' && !isLast) return end.resolve({ status, detail });
        send(peers.keys(), 'finished', encodeMessage({ status, detail }));
        onEvent({ type: 'ended', status, detail });
        end.resolve({ status, detail });
        break;
      }
      default:
        effect satisfies never;
    }
  };

  /** Who was released and has not come back yet. */
  const released = new Set<ClientId>();
  const admit = (clientId: ClientId): void => {
    dispatch({ type: 'client-joined', clientId, isReleased: released.delete(clientId), atMs: clock.nowMs() });
  };
  /** Lets clients in again that an operator released meanwhile. */
  const release = async (): Promise<void> => {
    for (const clientId of await quarantine.refresh()) {
      onEvent({ type: 'client-released', clientId });
      released.add(clientId);
      if (peers.has(clientId) && finished() === null) admit(clientId);
    }
  };
  /** Sets aside whom the rule of the plan sets aside after this round; for the machine they left. */
  const judgeClients = async (roundIndex: number): Promise<void> => {
    await release();
    for (const { clientId, name, marks } of await quarantine.settle(roundIndex)) {
      onEvent({ type: 'client-quarantined', clientId, name, marks });
      if (finished() === null) dispatch({ type: 'client-left', clientId, atMs: clock.nowMs() });
    }
  };

  /** Turns the end of an attempt into what the round machine hears. */
  const follow = (open: OpenRound, attempt: Attempt): void => {
    attempt.ended
      .then(async (end) => {
        // An operator may have stopped it meanwhile.
        if (broken || round !== open || state.phase.name !== 'mask') return;
        const atMs = clock.nowMs();
        if (end.kind === 'aborted') {
          const { reason, ejected } = end;
          for (const clientId of ejected) await quarantine.eject(clientId, open.roundIndex);
          if (broken || round !== open || state.phase.name !== 'mask') return;
          dispatch({ type: 'attempt-failed', detail: describe(reason), ejected, atMs });
          return;
        }
        try {
          assert(open.masked !== null, 'an attempt belongs to a masked round');
          const { contributors } = await maskedRounds.takeSums(open.masked, end);
          if (broken || round !== open || state.phase.name !== 'mask') return;
          dispatch({ type: 'sum-opened', contributors, atMs: clock.nowMs() });
        } catch (thrown) {
          if (!(thrown instanceof FederationError) || thrown instanceof StoreError) throw thrown;
          dispatch({ type: 'attempt-failed', detail: errorMessage(thrown), ejected: [], atMs });
        }
      })
      .catch(fail);
  };
  const openMaskedEvaluation = (open: OpenRound, clients: readonly ClientId[]): void => {
    const { masked, candidate } = open;
    if (masked === null || candidate === null) return;
    const attempt = maskedRounds.openEvaluation(masked, candidate.modelHash, clients);
    attempt.ended
      .then(async (end) => {
        if (broken || round !== open || state.phase.name !== 'evaluate') return;
        if (end.kind === 'opened') await maskedRounds.takeEvaluation(masked, end);
        if (broken || round !== open || state.phase.name !== 'evaluate') return;
        dispatch({ type: 'evaluation-ended', atMs: clock.nowMs() });
      })
      .catch(fail);
  };
  const attempts = (): Attempt[] => [round?.masked?.attempt ?? [], round?.masked?.evaluation ?? []].flat();

  if (resumed !== null) {
    round = await work.reopen(paramsOfAttempt(resumed.attempt));
    assert(round.masked !== null, 'only masked rounds are resumed');
    follow(round, maskedRounds.resume(round.masked, resumed));
  }
  for (const effect of effects) if (effect.type !== 'reject') enqueue(effect);
  schedule();

  /** Resolves when all effects are performed; performing one may add further ones. */
  const drained = async (): Promise<void> => {
    const seen = queue;
    await seen;
    if (seen !== queue) await drained();
  };
  const stop = (): void => {
    if (finished() === null) dispatch({ type: 'stop-requested', atMs: clock.nowMs() });
  };
  return {
    state: () => state,
    status: () => {
      const { name } = state.phase;
      return name === 'stopped' || (name === 'completed' && isLast) ? name : 'running';
    },
    ended: end.promise,
    hearing: createHearing({
      countShape: bindTask(plan.task).shape,
      clock,
      dispatch,
      onEvent,
      state: () => state,
      round: () => round,
      certificateOf: maskedRounds.certificateOf,
      nativeAes,
      quarantine,
    }),
    joined: (peer) => {
      const { clientId } = peer;
      peers.set(clientId, peer);
      const over = finished();
      if (over !== null) peer.send('finished', over);
      else {
        if (quarantine.has(clientId)) release().catch(fail);
        else admit(clientId);
        for (const attempt of attempts()) attempt.joined(clientId);
      }
      onEvent({ type: 'client-joined', clientId, present: peers.size });
    },
    left: ({ clientId }) => {
      peers.delete(clientId);
      if (finished() === null) dispatch({ type: 'client-left', clientId, atMs: clock.nowMs() });
      for (const attempt of attempts()) attempt.left(clientId);
      onEvent({ type: 'client-left', clientId, present: peers.size });
      if (peers.size === 0) onVacated();
    },
    stop,
    vacated: (withinMs) =>
      new Promise((resolve) => {
        if (peers.size === 0) return resolve();
        const cancel = clock.after(withinMs, resolve);
        onVacated = () => {
          cancel();
          resolve();
        };
      }),
    close: async () => {
      stop();
      cancelTimer();
      await drained();
      for (const attempt of attempts()) await attempt.close();
      await swept;
      operator?.dispose();
      cancelTimer();
    },
  };
}
