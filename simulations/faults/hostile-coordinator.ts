/**
 * A coordinator of a world that does not follow the protocol: it runs the honest machine, and tells clients something else. It has the key
 * under which clients take its word, but no client's key and no certificate of its own making.
 */
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import { agreementPublicKey } from '../../shared/crypto/key-agreement.ts';
import { decodeCanonical, encodeCanonical } from '../../shared/protocol/canonical.ts';
import { bitmapOf, placesOf } from '../../shared/secure-aggregation/bitmap.ts';
import {
  type Agree,
  advertFormat,
  type Delivery,
  dealersHashOf,
  type Outcome,
  type Quorum,
  type Roster,
  survivorsHashOf,
} from '../../shared/secure-aggregation/messages.ts';
import type { ClientAttemptEvent, SentKind } from '../checkers/attempts.ts';

/**
 * `split-view` shows two sets of survivors, in a group under their own hash or under that of the others; `asks-again` repeats a round whose shares it has; `own-keys` puts its key in place of a member's;
 * `strangers` names survivors that dealt nothing; `replays` sends what it sent in an earlier attempt; `misroutes` gives the boxes of one
 * client to another; `aims-groups` changes a nonce, and with it the groups.
 */
export const hostileCoordinatorNames = [
  'split-view',
  'asks-again',
  'own-keys',
  'strangers',
  'replays',
  'misroutes',
  'aims-groups',
] as const;
/** Name of a hostile coordinator. */
export type HostileCoordinatorName = (typeof hostileCoordinatorNames)[number];
/** Those that have nothing to do in a complete graph. */
export const ofGroups: readonly HostileCoordinatorName[] = ['aims-groups'];

/** A message of the coordinator to one client. */
export interface Downward {
  readonly to: ClientId;
  readonly event: ClientAttemptEvent;
}

/** A coordinator that bends what it sends. */
export interface HostileCoordinator {
  readonly name: HostileCoordinatorName;
  /** Whether it acts as if a message of the client with this index had never come. */
  drops(index: number, kind: SentKind): boolean;
  /** What is sent in place of an honest message. */
  bend(message: Downward): ClientAttemptEvent;
  /** Hears every consent, also those that the honest machine refuses: the quorum that it shows to whoever consented to something else. */
  answerConsent(consent: Agree, signature: Uint8Array, isRefused: boolean): Quorum | null;
}

/** A roster on which one member has another key, for masks or for boxes: one whose secret the coordinator knows. */
export function withOwnKey(roster: Roster, victim: number, which: 'maskKey' | 'boxKey' = 'maskKey'): Roster {
  const entries = roster.entries.map((entry, place) => {
    const advert = decodeCanonical(advertFormat, entry.advert, 'M1');
    if (place !== victim || !advert.ok) return entry;
    const key = agreementPublicKey(new Uint8Array(32).fill(7));
    return { ...entry, advert: encodeCanonical(advertFormat, { ...advert.value, [which]: key }) };
  });
  return { entries };
}

/** Survivors with one place more, or less. */
function otherSurvivors(survivors: Uint8Array, clientCount: number, place: number, isIn: boolean): Uint8Array {
  const places = (placesOf(survivors, clientCount) ?? []).filter((one) => one !== place);
  return bitmapOf(isIn ? [...places, place] : places, clientCount);
}

/** An outcome in which the reader's group has another survivor, or one less: half of the time its hash stays that of the true ones. */
function otherOutcome(
  outcome: Outcome,
  delivery: Delivery | undefined,
  hasStranger: boolean,
  random: SeededRandom,
): Outcome {
  const { own } = outcome;
  if (own === null || delivery === undefined) return outcome;
  const size = 8 * delivery.dealers.length;
  const dealers = placesOf(delivery.dealers, size) ?? [];
  const present = placesOf(own.survivors, size) ?? [];
  const reader = dealers.find((place) => !delivery.boxes.some(({ dealer }) => dealer === place));
  const absent = [...Array(size).keys()].find((place) => !dealers.includes(place));
  const chosen = hasStranger ? absent : present.findLast((place) => place !== reader);
  if (chosen === undefined) return outcome;
  const bent = { ...own, survivors: otherSurvivors(own.survivors, size, chosen, hasStranger) };
  const dealersHash = dealersHashOf(delivery.rosterHash, delivery.dealers);
  const [hash, bentHash] = [survivorsHashOf(dealersHash, own), survivorsHashOf(dealersHash, bent)];
  const isConsistent = random.uniform() < 0.5;
  const groups = isConsistent ? outcome.groups.map((one) => (one === hash ? bentHash : one)) : outcome.groups;
  return { ...outcome, groups, own: bent };
}

/** A hostile coordinator of this name. */
export function hostileCoordinator(name: HostileCoordinatorName, random: SeededRandom): HostileCoordinator {
  const earlier = new Map<ClientAttemptEvent['type'], ClientAttemptEvent>();
  /** What clients were told last. */
  const deliveries = new Map<ClientId, Delivery>();
  /** By roster the first client that is told of survivors of its group: the one that is misled. */
  const misled = new Map<Digest, ClientId>();
  let lastDelivery: ClientAttemptEvent | null = null;
  let rosterSize = 0;
  let order: readonly ClientId[] = [];
  const placeOf = (client: ClientId): number => order.indexOf(client);
  let victim = 0;

  const bend = ({ to, event }: Downward): ClientAttemptEvent => {
    if (event.type === 'delivery') deliveries.set(to, event.delivery);
    if (event.type === 'outcome' && event.outcome.own !== null && !misled.has(event.outcome.rosterHash))
      misled.set(event.outcome.rosterHash, to);
    if (event.type === 'roster') {
      rosterSize = event.roster.entries.length;
      victim = rosterSize - 1;
      order = event.roster.entries.map(({ advert }) => {
        const decoded = decodeCanonical(advertFormat, advert, 'M1');
        return decoded.ok ? decoded.value.clientId : ('' as ClientId);
      });
    }
    switch (name) {
      case 'asks-again':
        return event;
      case 'own-keys': {
        if (event.type !== 'roster') return event;
        return { type: 'roster', roster: withOwnKey(event.roster, placeOf(to) === victim ? 0 : victim) };
      }
      case 'split-view': {
        // The last place is the victim: the first hears that it vanished, everybody else that it did not.
        if (event.type === 'survivors' && placeOf(to) === 0) {
          const survivors = otherSurvivors(event.survivors.survivors, rosterSize, victim, false);
          return { type: 'survivors', survivors: { ...event.survivors, survivors } };
        }
        if (event.type === 'outcome' && misled.get(event.outcome.rosterHash) === to)
          return { type: 'outcome', outcome: otherOutcome(event.outcome, deliveries.get(to), false, random) };
        return event;
      }
      case 'strangers': {
        if (event.type === 'outcome')
          return { type: 'outcome', outcome: otherOutcome(event.outcome, deliveries.get(to), true, random) };
        if (event.type !== 'survivors') return event;
        const present = placesOf(event.survivors.survivors, rosterSize) ?? [];
        const stranger = [...Array(rosterSize).keys()].find((place) => !present.includes(place));
        if (stranger === undefined) return event;
        const survivors = otherSurvivors(event.survivors.survivors, rosterSize, stranger, true);
        return { type: 'survivors', survivors: { ...event.survivors, survivors } };
      }
      case 'replays': {
        const old = earlier.get(event.type);
        earlier.set(event.type, event);
        return old !== undefined && random.uniform() < 0.5 ? old : event;
      }
      case 'misroutes': {
        if (event.type !== 'delivery') return event;
        const other = lastDelivery ?? event;
        lastDelivery = event;
        return other;
      }
      case 'aims-groups': {
        if (event.type !== 'drawn') return event;
        const { nonces } = event.drawn;
        const aimed = nonces.map((nonce, place) => (place === victim ? new Uint8Array(nonce.length) : nonce));
        return { type: 'drawn', drawn: { ...event.drawn, nonces: aimed } };
      }
      default:
        return name satisfies never;
    }
  };
  return {
    name,
    bend,
    // Somebody must have dealt nothing before somebody who dealt nothing can be said to survive.
    drops: (index, kind) => name === 'strangers' && kind === 'SHARES' && index === 0,
    answerConsent: ({ place, survivorsHash }, signature, isRefused) => {
      if (!isRefused || name !== 'split-view') return null;
      return { survivorsHash, signatures: [{ place, signature }] };
    },
  };
}
