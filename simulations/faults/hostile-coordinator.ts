/**
 * A coordinator of a world that does not follow the protocol: it runs the honest machine, and tells clients something else. It has the key
 * under which clients take its word, but no client's key and no certificate of its own making.
 */
import type { ClientId } from '../../shared/core/ids.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import { agreementPublicKey } from '../../shared/crypto/key-agreement.ts';
import { decodeCanonical, encodeCanonical } from '../../shared/protocol/canonical.ts';
import { bitmapOf, placesOf } from '../../shared/secure-aggregation/bitmap.ts';
import type { ClientEvent, SignedKind } from '../../shared/secure-aggregation/client-state.ts';
import { type Agree, advertFormat, type Quorum, type Roster } from '../../shared/secure-aggregation/messages.ts';

/**
 * `split-view` shows two sets of survivors; `asks-again` repeats a round whose shares it has; `own-keys` puts its key in place of a member's;
 * `strangers` names survivors that dealt nothing; `replays` sends what it sent in an earlier attempt; `misroutes` gives the boxes of one
 * client to another.
 */
export const hostileCoordinatorNames = [
  'split-view',
  'asks-again',
  'own-keys',
  'strangers',
  'replays',
  'misroutes',
] as const;
/** Name of a hostile coordinator. */
export type HostileCoordinatorName = (typeof hostileCoordinatorNames)[number];

/** A message of the coordinator to one client. */
export interface Downward {
  readonly to: ClientId;
  readonly event: ClientEvent;
}

/** A coordinator that bends what it sends. */
export interface HostileCoordinator {
  readonly name: HostileCoordinatorName;
  /** Whether it acts as if a message of the client with this index had never come. */
  drops(index: number, kind: SignedKind): boolean;
  /** What is sent in place of an honest message. */
  bend(message: Downward): ClientEvent;
  /** Hears every consent, also those that the honest machine refuses: the quorum that it shows to whoever consented to something else. */
  answerConsent(consent: Agree, signature: Uint8Array, isRefused: boolean): Quorum | null;
}

/** A roster on which one member has another key for masks: one whose secret the coordinator knows. */
export function withOwnKey(roster: Roster, victim: number): Roster {
  const entries = roster.entries.map((entry, place) => {
    const advert = decodeCanonical(advertFormat, entry.advert, 'M1');
    if (place !== victim || !advert.ok) return entry;
    const maskKey = agreementPublicKey(new Uint8Array(32).fill(7));
    return { ...entry, advert: encodeCanonical(advertFormat, { ...advert.value, maskKey }) };
  });
  return { entries };
}

/** Survivors with one place more, or less. */
function otherSurvivors(survivors: Uint8Array, clientCount: number, place: number, isIn: boolean): Uint8Array {
  const places = (placesOf(survivors, clientCount) ?? []).filter((one) => one !== place);
  return bitmapOf(isIn ? [...places, place] : places, clientCount);
}

/** A hostile coordinator of this name. */
export function hostileCoordinator(name: HostileCoordinatorName, random: SeededRandom): HostileCoordinator {
  const earlier = new Map<ClientEvent['type'], ClientEvent>();
  let lastDelivery: ClientEvent | null = null;
  let rosterSize = 0;
  let order: readonly ClientId[] = [];
  const placeOf = (client: ClientId): number => order.indexOf(client);
  let victim = 0;

  const bend = ({ to, event }: Downward): ClientEvent => {
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
        return event;
      }
      case 'strangers': {
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
