/**
 * The coordinator of a federation world: production's machine of rounds with a driver under virtual time. Its ledger is a disk; a killed one
 * comes back with nothing else. Attempts of masked rounds are one question with answers here: their messages are the other world's.
 */
import type { SessionEvent } from '../../client/session/state.ts';
import {
  counts,
  deadlineOf,
  type FederationEffect,
  type FederationEvent,
  type FederationState,
  type RoundSettings,
} from '../../coordinator/rounds/state.ts';
import { roundTable } from '../../coordinator/rounds/table.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Evaluate, Offer, RoundResult } from '../../shared/protocol/messages.ts';
import { violation } from '../../shared/protocol/violations.ts';
import { check } from '../checkers/check.ts';
import type { Faults } from '../faults/faults.ts';
import type { UpwardMessage } from './federation-client.ts';
import type { Ledger } from './federation-ledger.ts';
import type { FederationMachines } from './federation-machines.ts';

/** Coordinators that tell clients something else than what happens: old offers, a used number again, evaluations of nothing. */
export const hostileFederations = ['old-offers', 'used-numbers', 'strange-requests'] as const;
/** Name of a hostile coordinator of rounds. */
export type HostileFederation = (typeof hostileFederations)[number];

/** What a coordinator needs of its world. */
export interface CoordinatorPorts {
  readonly clock: Clock;
  readonly machines: FederationMachines;
  readonly faults: Faults;
  readonly random: SeededRandom;
  readonly federationId: FederationId;
  readonly settings: RoundSettings;
  readonly ledger: Ledger;
  readonly hostile: HostileFederation | null;
  readonly seen: Set<string>;
  readonly tell: (to: ClientId, event: SessionEvent) => void;
  readonly ask: (to: ClientId, roundHash: Digest) => void;
  /** All connections are gone. */
  readonly cutAll: () => void;
}

/** A coordinator of a federation world. */
export interface FederationCoordinator {
  hear(from: ClientId, message: UpwardMessage): boolean;
  left(clientId: ClientId): void;
  reform(): void;
  readonly isUp: () => boolean;
  /** How the federation ended, null before. */
  readonly end: () => 'completed' | 'stopped' | null;
}

/** An event before the clock is read. */
type Untimed<Event> = Event extends unknown ? Omit<Event, 'atMs'> : never;

const restartMs = 700;
const constant = (name: string): Digest => digestOf(utf8(name));

/** What every round is about. */
const roundFacts = {
  planHash: constant('plan'),
  baseDigest: constant('base'),
  layoutHash: constant('layout'),
  dim: 3,
};

/** A coordinator that starts, or goes on. */
export function createFederationCoordinator(ports: CoordinatorPorts): FederationCoordinator {
  const { clock, machines, faults, random, federationId, settings, ledger, hostile, seen, tell, ask, cutAll } = ports;
  let state: FederationState | null = null;
  let end: 'completed' | 'stopped' | null = null;
  let isHostile = hostile !== null;
  let cancelTimer = (): void => undefined;
  const receipts = new Set<string>();
  const offers = new Map<Digest, Offer>();

  const current = () => (state === null ? undefined : ledger.rounds[state.roundIndex]);
  const offerOf = (roundIndex: number): Offer => {
    const { hash, attempt } = ledger.rounds[roundIndex]!;
    const suite = settings.isMasked ? 1 : 0;
    const modelHash = constant(`model ${ledger.versions.length}`);
    const roundParams = { federationId, suite, roundIndex, attempt, modelHash, ...roundFacts };
    const offer = offers.get(hash) ?? ({ roundHash: hash, roundParams } as unknown as Offer);
    offers.set(hash, offer);
    return offer;
  };
  const bend = (clients: readonly ClientId[]): void => {
    const old = [...offers.values()];
    for (const to of clients) {
      if (!isHostile || old.length === 0) return;
      const offer = old[random.integer(old.length)]!;
      if (hostile === 'old-offers') tell(to, { type: 'offer', offer });
      else if (hostile === 'used-numbers') {
        const roundHash = constant(`again ${offer.roundHash} ${random.integer(3)}`);
        tell(to, { type: 'offer', offer: { ...offer, roundHash } });
      } else {
        const request = { roundHash: offer.roundHash, modelHash: constant('nothing') } as Evaluate;
        tell(to, { type: 'evaluate', request, known: false });
      }
    }
  };
  const soon = (leastMs: number, event: (now: FederationState) => Untimed<FederationEvent> | null): void => {
    const { roundIndex } = state!;
    const life = machineLife;
    clock.after(leastMs * (1 + faults.degree()), () => {
      if (state === null || life !== machineLife || state.roundIndex !== roundIndex) return;
      const found = event(state);
      if (found !== null) take(found);
    });
  };
  let machineLife = 0;
  const runAttempt = (roundIndex: number, invited: readonly ClientId[]): void => {
    const { hash } = ledger.rounds[roundIndex]!;
    for (const clientId of invited) ask(clientId, hash);
    soon(4 * settings.maskMs, ({ phase }) => {
      if (phase.name !== 'mask') return null;
      const contributors = [...ledger.rounds[roundIndex]!.stored.keys()].sort();
      const least = Math.max(settings.quorum, Math.floor((2 * invited.length) / 3) + 1);
      return contributors.length >= least
        ? { type: 'sum-opened', contributors }
        : { type: 'attempt-failed', detail: 'too few answered', ejected: [] };
    });
  };
  const perform = (effect: FederationEffect): void => {
    switch (effect.type) {
      case 'open-round': {
        const { roundIndex, clients } = effect;
        const attempt = (ledger.rounds[roundIndex]?.attempt ?? -1) + 1;
        ledger.open(roundIndex, { hash: constant(`round ${roundIndex} attempt ${attempt}`), attempt, asked: clients });
        break;
      }
      case 'offer':
        for (const to of effect.clients) tell(to, { type: 'offer', offer: offerOf(state!.roundIndex) });
        bend(effect.clients);
        break;
      case 'open-attempt':
        ledger.invite(state!.roundIndex, effect.invited);
        runAttempt(state!.roundIndex, effect.invited);
        break;
      case 'aggregate':
        soon(50, () =>
          random.uniform() < 0.05
            ? { type: 'aggregation-failed', detail: 'the sum says nothing' }
            : { type: 'aggregated', modelHash: constant('candidate') },
        );
        break;
      case 'evaluate': {
        const request = { roundHash: current()!.hash, modelHash: constant('candidate') } as Evaluate;
        for (const to of effect.clients) tell(to, { type: 'evaluate', request, known: true });
        if (settings.isMasked)
          soon(300, ({ phase }) => (phase.name === 'evaluate' ? { type: 'evaluation-ended' } : null));
        break;
      }
      case 'publish': {
        const { roundIndex, contributors } = effect;
        if (random.uniform() < 0.05) {
          soon(20, () => ({ type: 'candidate-refused', detail: 'worse by far' }));
          break;
        }
        ledger.publish(roundIndex, contributors);
        for (const receipt of receipts) {
          const [of, clientId] = receipt.split(' ');
          const isCounted = Number(of) !== roundIndex || contributors.includes(clientId as ClientId);
          check('receipt-counts', isCounted, `${clientId?.slice(-4)} holds a receipt of round ${of} and is not in it`);
        }
        const { hash } = ledger.rounds[roundIndex]!;
        const newModelHash = constant(`model ${ledger.versions.length}`);
        const told = { roundIndex, roundHash: hash, newModelHash, contributorCount: contributors.length };
        for (const to of state!.present) tell(to, { type: 'result', result: told as RoundResult });
        soon(20, () => ({ type: 'published' }));
        break;
      }
      case 'void-round':
        ledger.end(effect.outcome.roundIndex);
        break;
      case 'finish':
        end = effect.status;
        for (const to of state!.present) tell(to, { type: 'federation-finished', status: effect.status, detail: '' });
        break;
      default:
    }
  };
  const kill = (): void => {
    cancelTimer();
    state = null;
    machineLife++;
    cutAll();
    clock.after(restartMs, start);
  };
  const take = (given: Untimed<FederationEvent>): void => {
    const before = state!;
    const { name } = before.phase;
    const event = { ...given, atMs: clock.nowMs() } as FederationEvent;
    seen.add(`${name} x ${event.type}`);
    const step = machines.receiveFederation(before, event);
    const legal = roundTable[name][event.type];
    if (legal === undefined) {
      const isQuiet = step.state === before && step.effects.every(({ type }) => type === 'reject');
      check('illegal-changes-nothing', isQuiet, `coordinator ${name} x ${event.type}`);
    } else {
      const to = step.state.phase.name;
      check('forward-only', legal.includes(to), `coordinator ${name} x ${event.type} leads to ${to}`);
    }
    ({ state } = step);
    setTimer();
    for (const effect of step.effects) {
      if (state !== step.state) break;
      perform(effect);
      if (end === null && effect.type !== 'reject' && faults.strikes('killed-coordinator')) kill();
    }
    // Its operator stops it: at any step, so that no phase is too short for it.
    if (state === step.state && end === null && !faults.isHealed() && random.uniform() < 0.002)
      take({ type: 'stop-requested' });
  };
  const setTimer = (): void => {
    cancelTimer();
    const { name } = state!.phase;
    const dueMs = deadlineOf(state!);
    const waits = name === 'waiting' || name === 'recruit' || name === 'train' || name === 'evaluate';
    check('liveness', !waits || dueMs !== null, `${name} waits for clients without a deadline`);
    if (dueMs !== null) cancelTimer = clock.after(dueMs - clock.nowMs(), () => take({ type: 'deadline-reached' }));
  };
  /** From the ledger alone: a masked round whose shares were asked for is finished, one before that begins again, any other is void. */
  const start = (): void => {
    const last = ledger.rounds.length - 1;
    const open = ledger.rounds[last]?.status === 'open' ? ledger.rounds[last] : undefined;
    if (open !== undefined && !settings.isMasked) ledger.end(last);
    const isKept = open !== undefined && settings.isMasked;
    const resumed = isKept && open.isOpenable ? { asked: open.asked, contributors: open.invited } : null;
    const step = machines.startFederation(settings, {
      atMs: clock.nowMs(),
      roundIndex: isKept ? last : last + 1,
      publishedCount: ledger.versions.length,
      outcomes: [],
      resumed,
    });
    ({ state } = step);
    setTimer();
    for (const effect of step.effects) perform(effect);
    if (resumed !== null) runAttempt(last, resumed.contributors);
  };
  start();

  return {
    hear: (clientId, { kind, roundHash, digest }) => {
      if (state === null) return false;
      if (end !== null) return true;
      if (kind === 'hello') {
        take({ type: 'client-joined', clientId });
        const round = current();
        const { phase } = state ?? {};
        // Who comes back is told again what its round waits for.
        if (round?.status === 'open' && phase !== undefined) {
          if ('accepted' in phase && phase.asked.includes(clientId))
            tell(clientId, { type: 'offer', offer: offerOf(state!.roundIndex) });
          if (phase.name === 'mask' && round.invited.includes(clientId)) ask(clientId, round.hash);
          const request = { roundHash: round.hash, modelHash: constant('candidate') } as Evaluate;
          if (phase.name === 'evaluate' && phase.awaited.includes(clientId))
            tell(clientId, { type: 'evaluate', request, known: true });
        }
        bend([clientId]);
        return true;
      }
      const round = current();
      if (round?.hash !== roundHash) {
        const refused = violation('stale-round', 'the round is over');
        if (kind === 'update' || kind === 'ready') tell(clientId, { type: 'round-refused', roundHash, refused });
        return true;
      }
      const { phase, roundIndex } = state;
      if (kind === 'update') {
        const isWorking = phase.name === 'recruit' || phase.name === 'train';
        if (isWorking && phase.asked.includes(clientId) && !settings.isMasked) {
          ledger.store(roundIndex, clientId, digest);
          take({ type: 'update-stored', clientId });
          if (state === null || !counts(state, clientId)) return true;
          receipts.add(`${roundIndex} ${clientId}`);
        } else if (!counts(state, clientId)) return true;
        tell(clientId, { type: 'uploaded', roundHash });
      } else if (kind === 'answer') {
        if (phase.name !== 'mask' || !round.invited.includes(clientId)) return true;
        ledger.store(roundIndex, clientId, digest);
        tell(clientId, { type: 'uploaded', roundHash });
      } else if (kind === 'declined') take({ type: kind, clientId, reason: 'no' });
      else if (kind === 'progressed') take({ type: kind, clientId, fraction: 0.5 });
      else if (kind === 'ready') take({ type: 'client-ready', clientId });
      else if (kind === 'evaluation') take({ type: 'evaluation-stored', clientId });
      else take({ type: kind, clientId });
      return true;
    },
    left: (clientId) => {
      if (state !== null && end === null) take({ type: 'client-left', clientId });
    },
    reform: () => {
      isHostile = false;
    },
    isUp: () => state !== null,
    end: () => end,
  };
}
