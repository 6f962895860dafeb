/**
 * A client of a world: production's machine with a driver under virtual time. Signing and journalling answer after a moment, so that other
 * events may come in between. Its journal is a disk: it outlives a crash, the attempt does not.
 */
import { bytesOf, concatBytes } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { MaskToApply } from '../../shared/secure-aggregation/client-state.ts';
import type { GroupedClientEffect } from '../../shared/secure-aggregation/grouped-client.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../shared/secure-aggregation/mask.ts';
import {
  type ClientAttempt,
  type ClientAttemptEvent,
  type ClientAttemptStep,
  graphOf,
  isGrouped,
  isLegalForClient,
  type SentKind,
  standingOf,
} from '../checkers/attempts.ts';
import type { ClientChecker } from '../checkers/client-checker.ts';
import type { Faults } from '../faults/faults.ts';
import type { HostileClient } from '../faults/hostile-client.ts';
import { stepClient } from './machines.ts';
import { certificateOf, judgeWorldCertificate, worldEntropy, worldVector } from './people.ts';
import { clientStrays } from './strays.ts';
import type { World } from './world.ts';

/** What the coordinator tells to begin an attempt. */
export interface AttemptTerms {
  readonly roundIndex: number;
  readonly roundHash: Digest;
}

/** A message on its way up; of M3 with the vector. */
export interface Upward {
  readonly kind: SentKind;
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
  readonly vector: Uint8Array;
}

/** A client of a world. */
export interface ClientActor {
  readonly index: number;
  readonly identity: Identity;
  readonly hostile: HostileClient | null;
  /** False where nobody is there. */
  join(terms: AttemptTerms): boolean;
  hear(roundHash: Digest, event: ClientAttemptEvent): boolean;
  /** Comes back at once where it crashed. */
  revive(): void;
  readonly isUp: () => boolean;
}

/** The bytes of a masked vector. */
function vectorBytes({ coordinates, tail }: MaskedVector): Uint8Array {
  return concatBytes(bytesOf(coordinates as Uint32Array), bytesOf(tail));
}

interface Attempt {
  readonly terms: AttemptTerms;
  readonly buffers: Set<Uint8Array>;
  state: ClientAttempt;
  vector: Uint8Array;
}

/** How long a client waits for a whole attempt by its own clock. */
const patienceMs = 17_000;
const restartMs = 1_500;

/** A client that is up. */
export function createClientActor(
  world: Pick<World, 'clock' | 'machines' | 'coverage' | 'grouping' | 'sendUp'>,
  self: { readonly index: number; readonly identity: Identity; readonly hostile: HostileClient | null },
  { faults, random, checker }: { faults: Faults; random: SeededRandom; checker: ClientChecker },
): ClientActor {
  const { clock, machines, coverage, grouping } = world;
  const { index, identity, hostile } = self;
  const { clientId } = identity;
  const journal = new Map<number, Digest>();
  const speed = faults.strikes('clock-skew') ? 10 ** (2.3 * faults.degree() - 2) : 1;
  /** The last event of every type that came, to come again. */
  const history = new Map<ClientAttemptEvent['type'], ClientAttemptEvent>();
  let attempt: Attempt | null = null;
  let attemptCount = 0;
  let isUp = true;

  /** Notes every buffer with secrets that the phase holds. */
  const note = ({ buffers, state }: Attempt): void => {
    const waiting = standingOf(state);
    if (waiting === null) return;
    if ('secrets' in waiting) for (const secret of Object.values(waiting.secrets)) buffers.add(secret);
    const shares = 'own' in waiting ? [waiting.own] : 'held' in waiting ? [...waiting.held.values()] : [];
    for (const pair of shares) if (pair !== null) buffers.add(pair.mask).add(pair.self);
  };
  const crash = (): void => {
    attempt = null;
    isUp = false;
    clock.after(restartMs, () => {
      isUp = true;
    });
  };
  const later = (into: Attempt, event: ClientAttemptEvent): void => {
    clock.after(1 + faults.degree() * 4, () => {
      if (attempt === into) step(into, event);
    });
  };
  const mask = (into: Attempt, masks: readonly MaskToApply[]): ClientAttemptEvent => {
    const masked = worldVector(index, into.terms.roundIndex);
    for (const { seed, sign } of masks) {
      applyMask(masked, seed, sign, 1);
      wipeSeed(seed);
    }
    into.vector = vectorBytes(masked);
    const vecRoot = digestOf(into.vector);
    return { type: 'vector-masked', vecRoot, chunkDigests: [vecRoot] };
  };
  const send = (into: Attempt, kind: SentKind, body: Uint8Array, signature: Uint8Array): void => {
    const { roundIndex, roundHash } = into.terms;
    checker.signed({ clientId, roundIndex, kind, body, signature });
    const vector = kind === 'MASKED' ? into.vector : new Uint8Array(0);
    world.sendUp(index, roundHash, { kind, body, signature, vector });
  };
  const perform = (into: Attempt, effect: GroupedClientEffect): void => {
    switch (effect.type) {
      case 'sign':
        later(into, { type: 'signed', signature: identity.sign(effect.kind, effect.body) });
        break;
      case 'send': {
        const { kind, body, signature } = effect;
        if (hostile === null) send(into, kind, body, signature);
        else
          for (const bent of hostile.outgoing({ kind, body, state: graphOf(into.state), random }))
            send(into, kind, bent, identity.sign(kind, bent));
        break;
      }
      case 'mask-vector':
        later(into, mask(into, effect.masks));
        break;
      case 'journal': {
        const { roundIndex } = into.terms;
        const isFirst = !journal.has(roundIndex);
        journal.set(roundIndex, effect.survivorsHash);
        if (faults.strikes('vanished-client')) crash();
        else later(into, { type: 'journaled', isFirst });
        break;
      }
      case 'report':
      case 'aborted':
        break;
      default:
        effect satisfies never;
    }
  };
  const step = (into: Attempt, event: ClientAttemptEvent): void => {
    const before = into.state;
    const pairs = isGrouped(before) ? coverage.groupedClient : coverage.client;
    pairs.add(`${before.phase.name} x ${event.type}`);
    history.set(event.type, event);
    note(into);
    const next = stepClient(machines, before, event);
    if (hostile === null) checker.stepped(clientId, before, event, next);
    into.state = next.state;
    note(into);
    const { name } = next.state.phase;
    const isShown = graphOf(next.state)?.phase.name === 'unmasked';
    if (hostile === null && (isShown || name === 'finished' || name === 'aborted'))
      checker.wiped(clientId, into.buffers);
    for (const effect of next.effects) if (attempt === into) perform(into, effect);
    if (faults.strikes('vanished-client')) crash();
    if (attempt === into && random.uniform() < 0.3) stray(into);
  };
  /** Sometimes an answer or a message comes again, when nobody waits for it any more. */
  const stray = (into: Attempt): void => {
    const made = clientStrays[random.integer(clientStrays.length)]!;
    const event = history.get(made.type) ?? made;
    // Whoever uses a site may stop what it does; everything else comes when nobody waits for it.
    const isStop = made.type === 'abandon' && !faults.isHealed() && random.uniform() < 0.05;
    if (isStop || !isLegalForClient(into.state, event)) step(into, isStop ? made : event);
  };

  return {
    index,
    identity,
    hostile,
    join: (terms) => {
      if (!isUp) return false;
      if (attempt?.terms.roundHash === terms.roundHash) return true;
      if (attempt !== null) step(attempt, { type: 'abandon', reason: violation('stale-round', 'another attempt') });
      const entropy = worldEntropy(index, `${terms.roundHash} ${++attemptCount}`);
      const certificateHash = digestOf(certificateOf(index));
      const setting = {
        roundHash: terms.roundHash,
        profile: 'active',
        clientCountMin: 3,
        clientCountMax: 128,
        organisationCountMin: 3,
        clientId,
        certificateHash,
        checkpoint: { size: 0, root: '00'.repeat(32) as Digest },
        judgeCertificate: judgeWorldCertificate,
        entropy,
      } as const;
      const started: ClientAttemptStep =
        grouping === null ? machines.startAttempt(setting) : machines.startGroupedAttempt({ ...setting, grouping });
      const begun: Attempt = { terms, buffers: new Set(), state: started.state, vector: new Uint8Array(0) };
      attempt = begun;
      for (const effect of started.effects) perform(begun, effect);
      clock.after(patienceMs * (faults.isHealed() ? 1 : speed), () => {
        if (attempt === begun) step(begun, { type: 'abandon', reason: violation('stale-round', 'nothing more came') });
      });
      return true;
    },
    hear: (roundHash, event) => {
      if (!isUp) return false;
      if (attempt === null || attempt.terms.roundHash !== roundHash) return true;
      step(attempt, event);
      return true;
    },
    revive: () => {
      isUp = true;
    },
    isUp: () => isUp,
  };
}
