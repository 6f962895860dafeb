/**
 * A virtual network: what is sent arrives later, in order on every link, unless a fault strikes. Senders repeat what did not arrive, as a
 * transport does, until they give up.
 */
import type { Clock } from '../../shared/core/ports.ts';
import type { Faults } from './faults.ts';

/** Bytes on their way. */
export interface Parcel {
  /** Name of the link, one direction. */
  readonly link: string;
  readonly parts: readonly Uint8Array[];
  /** Hands the parts over; false where nobody is there. */
  readonly deliver: (parts: readonly Uint8Array[]) => boolean;
}

/** A network. */
export interface Network {
  send(parcel: Parcel): void;
  /** Parcels on their way: bounded, because senders give up. */
  readonly inFlight: () => number;
}

const latencyMs = { least: 5, most: 25 };
const repeatMs = 150;
const repeatsMax = 12;

/** Order of the group of Ed25519, little-endian: added to the second half of a signature it gives another one for lax verifiers. */
const groupOrder = [0xedd3f55c, 0x1a631258, 0xd69cf7a2, 0xdef9de14, 0, 0, 0, 0x10].flatMap((word) => [
  (word >>> 24) & 255,
  (word >>> 16) & 255,
  (word >>> 8) & 255,
  word & 255,
]);

/** A signature with the order of the group added to its scalar. */
export function malleate(signature: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(signature);
  let carry = 0;
  for (let index = 0; index < 32; index++) {
    const sum = changed[32 + index]! + groupOrder[index]! + carry;
    changed[32 + index] = sum & 255;
    carry = sum >> 8;
  }
  return changed;
}

/** A network on which faults strike. */
export function createNetwork(clock: Clock, faults: Faults): Network {
  const lastMs = new Map<string, number>();
  let inFlight = 0;

  const corrupt = (parts: readonly Uint8Array[]): readonly Uint8Array[] => {
    const chosen = Math.floor(faults.degree() * parts.length);
    return parts.map((part, index) => {
      if (index !== chosen || part.length === 0) return part;
      if (part.length === 64 && faults.degree() < 0.5) return malleate(part);
      const changed = Uint8Array.from(part);
      const bit = Math.floor(faults.degree() * 8 * part.length);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      return changed;
    });
  };
  const travel = (parcel: Parcel, parts: readonly Uint8Array[], repeats: number): void => {
    const nowMs = clock.nowMs();
    let arrivesMs = nowMs + latencyMs.least + faults.degree() * (latencyMs.most - latencyMs.least);
    if (faults.strikes('delay')) arrivesMs += faults.degree() * 1_500;
    if (!faults.strikes('reordering')) arrivesMs = Math.max(arrivesMs, lastMs.get(parcel.link) ?? 0);
    lastMs.set(parcel.link, Math.max(arrivesMs, lastMs.get(parcel.link) ?? 0));
    const isLost = faults.strikes('loss');
    const isCorrupted = faults.strikes('corruption');
    inFlight++;
    clock.after(arrivesMs - nowMs, () => {
      inFlight--;
      const arrived = !isLost && parcel.deliver(isCorrupted ? corrupt(parts) : parts);
      if ((arrived && !isCorrupted) || repeats >= repeatsMax) return;
      inFlight++;
      clock.after(repeatMs, () => {
        inFlight--;
        travel(parcel, parts, repeats + 1);
      });
    });
  };
  return {
    send: (parcel) => {
      // A sender keeps its own copy: what it does with its buffers afterwards is not seen on the way.
      const parts = parcel.parts.map((part) => Uint8Array.from(part));
      travel(parcel, parts, 0);
      if (faults.strikes('duplication')) travel(parcel, parts, repeatsMax);
    },
    inFlight: () => inFlight,
  };
}
