/**
 * A client of a federation world: production's session machine with a driver under virtual time. Its journal is a disk, which outlives a crash;
 * what it works on does not.
 */
import type { SessionMemory } from '../../client/session/checks.ts';
import { legalEvents, type SessionEffect, type SessionEvent, type SessionState } from '../../client/session/state.ts';
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import type { Evaluate, Offer } from '../../shared/protocol/messages.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { MaskedTerms } from '../../shared/secure-aggregation/terms.ts';
import { check } from '../checkers/check.ts';
import type { Faults } from '../faults/faults.ts';
import type { FederationMachines } from './federation-machines.ts';

/** What clients say. */
export type UpwardKind =
  | 'hello'
  | 'accepted'
  | 'declined'
  | 'progressed'
  | 'ready'
  | 'update'
  | 'answer'
  | 'evaluation';

/** One message up, without its sender. */
export interface UpwardMessage {
  readonly kind: UpwardKind;
  readonly roundHash: Digest;
  readonly digest: string;
}

/** What a client needs of its world. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly machines: FederationMachines;
  readonly faults: Faults;
  readonly random: SeededRandom;
  readonly federationId: FederationId;
  readonly seen: Set<string>;
  readonly isReachable: () => boolean;
  readonly send: (message: UpwardMessage) => void;
  /** Tells the coordinator that the connection is gone. */
  readonly leave: () => void;
  /** What this client contributes to a round number: noted by the world for ever. */
  readonly contribute: (roundIndex: number, roundHash: Digest, digest: string) => void;
}

/** A client of a federation world. */
export interface FederationClient {
  readonly clientId: ClientId;
  readonly isHostile: boolean;
  /** The coordinator says something; false where nobody is there. */
  hear(event: SessionEvent): boolean;
  /** The coordinator asks for the shares of a masked round. */
  unmask(roundHash: Digest): boolean;
  /** The connection broke. */
  cut(): void;
  revive(): void;
}

const hostileKinds: readonly UpwardKind[] = [
  'accepted',
  'declined',
  'progressed',
  'ready',
  'update',
  'answer',
  'evaluation',
];

/** A client that begins to connect. */
export function createFederationClient(clientId: ClientId, isHostile: boolean, ports: ClientPorts): FederationClient {
  const { clock, machines, faults, random, federationId, seen, isReachable, send, leave, contribute } = ports;
  let journaled: { readonly roundIndex: number; readonly roundHash: Digest } | null = null;
  let state: SessionState | null = null;
  let lastResult: SessionMemory['lastResult'] = null;
  /** Counts what makes work pointless: crashes and abandoned tasks. */
  let task = 0;
  let isConnected = false;
  const answered = new Set<Digest>();
  const prepared = new Set<Digest>();

  const later = (leastMs: number, event: SessionEvent, of = task): void => {
    clock.after(leastMs * (1 + faults.degree()), () => {
      if (of === task && state !== null) step(event);
    });
  };
  const crash = (): void => {
    if (state === null) return;
    ({ lastResult } = state.memory);
    state = null;
    task++;
    if (isConnected) leave();
    isConnected = false;
    clock.after(1_000 * (1 + faults.degree()), begin);
  };
  const begin = (): void => {
    const memory: SessionMemory = { federationId, lastRoundIndex: journaled?.roundIndex ?? -1, lastResult };
    prepared.clear();
    const started = machines.startSession(memory, true);
    ({ state } = started);
    for (const effect of started.effects) perform(effect);
  };
  const digestIn = ({ roundHash }: Offer): string => `${clientId.slice(-4)} ${roundHash.slice(0, 8)}`;
  const journal = ({ roundHash, roundParams: { roundIndex } }: Offer): boolean => {
    if (roundIndex <= (journaled?.roundIndex ?? -1)) return false;
    journaled = { roundIndex, roundHash };
    return true;
  };
  const say = (kind: UpwardKind, roundHash: Digest, digest = ''): void => send({ kind, roundHash, digest });
  const evaluate = ({ roundHash }: Evaluate): void => say('evaluation', roundHash);
  const perform = (effect: SessionEffect): void => {
    switch (effect.type) {
      case 'connect':
        clock.after(20 + 100 * faults.degree(), () => {
          if (state === null) return;
          isConnected = isReachable() && !faults.strikes('loss');
          if (isConnected) say('hello', '' as Digest);
          step(isConnected ? { type: 'connected' } : { type: 'connection-lost', detail: 'nobody answers' });
        });
        break;
      case 'schedule-reconnect':
        clock.after(200 * effect.attempt ** 1.5 * (0.2 + faults.degree()), () => {
          if (state !== null) step({ type: 'reconnect-due' });
        });
        break;
      case 'prepare': {
        const { roundHash, roundParams } = effect.offer;
        const { planHash, baseDigest, layoutHash, dim, modelHash, suite } = roundParams;
        const luck = random.uniform();
        const facts = {
          planHash,
          baseDigest,
          layoutHash,
          dim,
          modelHash,
          terms: suite === 0 ? null : ({} as MaskedTerms),
        };
        prepared.add(roundHash);
        if (luck < 0.03) later(10, { type: 'work-failed', roundHash, detail: 'the disk is full' });
        else if (luck < 0.06) later(10, { type: 'plan-refused', roundHash, reason: 'not here' });
        // A base that is not there yet takes longer than a connection.
        else later(luck < 0.1 ? 1_000 : 50, { type: 'prepared', roundHash, facts });
        break;
      }
      case 'train':
        say('accepted', effect.offer.roundHash);
        if (random.uniform() < 0.5) say('progressed', effect.offer.roundHash);
        later(300, { type: 'trained', roundHash: effect.offer.roundHash });
        break;
      case 'decline':
        say('declined', effect.offer.roundHash);
        break;
      case 'contribute': {
        const { offer } = effect;
        check(
          'one-contribution',
          journal(offer),
          `${clientId.slice(-4)} contributes to ${offer.roundParams.roundIndex} again`,
        );
        contribute(offer.roundParams.roundIndex, offer.roundHash, digestIn(offer));
        say('update', offer.roundHash, digestIn(offer));
        break;
      }
      case 'join-masked':
        say('ready', effect.offer.roundHash);
        break;
      case 'evaluate':
        later(100, { type: 'evaluated', roundHash: effect.request.roundHash });
        evaluate(effect.request);
        break;
      case 'skip-evaluation':
        evaluate(effect.request);
        break;
      case 'abandon-work':
        task++;
        break;
      case 'close':
        isConnected = false;
        later(10, { type: 'connection-lost', detail: 'it is closed' });
        break;
      default:
    }
  };
  const step = (event: SessionEvent): void => {
    const before = state!;
    const { phase } = before;
    seen.add(`${phase.name} x ${event.type}`);
    const next = machines.receiveSession(before, event);
    const isLegal = legalEvents[phase.name].includes(event.type);
    if (!isLegal && !('roundHash' in event && next.effects.length === 0)) {
      const isQuiet = next.state === before && next.effects.every(({ type }) => type === 'report');
      check('illegal-changes-nothing', isQuiet, `client ${phase.name} x ${event.type}`);
    }
    if (phase.name === 'finished') check('forward-only', next.state.phase.name === 'finished', 'an end is an end');
    ({ state } = next);
    for (const effect of next.effects) if (state === next.state) perform(effect);
    if (isHostile && random.uniform() < 0.5) {
      const offer = 'offer' in phase ? phase.offer : null;
      const kind = hostileKinds[random.integer(hostileKinds.length)]!;
      if (offer !== null) say(kind, offer.roundHash, `lie ${random.integer(3)}`);
    }
    if (faults.strikes('vanished-client')) crash();
    const rate = isConnected ? 0.03 : 0.08;
    if (state === next.state && !faults.isHealed() && random.uniform() < rate) disturb(state);
  };
  /** What befalls a site: its connection breaks, its work fails, its user stops it, a stage comes again. */
  const disturb = ({ phase }: SessionState): void => {
    const roundHash = 'offer' in phase ? phase.offer.roundHash : 'request' in phase ? phase.request.roundHash : null;
    const chosen = random.uniform();
    if (chosen < 0.5 && isConnected) {
      leave();
      isConnected = false;
      step({ type: 'connection-lost', detail: 'it broke' });
    } else if (chosen < 0.6 && roundHash !== null) step({ type: 'work-failed', roundHash, detail: 'something broke' });
    else if (chosen < 0.7 && roundHash !== null)
      step({ type: 'round-refused', roundHash, refused: violation('stale-round', 'it is over') });
    else if (chosen < 0.9)
      step({ type: 'stage', stage: { roundHash: roundHash ?? ('' as Digest), event: { type: 'open' } } });
    else if (chosen < 0.95) step({ type: 'stop' });
    else step({ type: 'admission-refused', detail: 'its certificate is old' });
  };
  begin();

  return {
    clientId,
    isHostile,
    hear: (event) => {
      if (state === null || !isConnected) return false;
      if (event.type === 'evaluate') step({ ...event, known: prepared.has(event.request.roundHash) });
      else step(event);
      return true;
    },
    unmask: (roundHash) => {
      if (state === null || !isConnected) return false;
      const { phase } = state;
      if (phase.name !== 'masking' || phase.offer.roundHash !== roundHash) return true;
      const { offer } = phase;
      if (!answered.has(roundHash)) {
        if (!journal(offer)) return true;
        answered.add(roundHash);
        contribute(offer.roundParams.roundIndex, roundHash, digestIn(offer));
        step({ type: 'contributed', roundHash });
      }
      say('answer', roundHash, digestIn(offer));
      return true;
    },
    cut: () => {
      if (state === null || !isConnected) return;
      isConnected = false;
      step({ type: 'connection-lost', detail: 'it broke' });
    },
    revive: () => {
      if (state === null) begin();
    },
  };
}
