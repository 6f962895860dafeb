/**
 * How many clients it takes (security specification, section 2.3). With n clients on the roster, in the active profile both the shares that
 * open a secret and the signatures that make a quorum are ⌊2n/3⌋ + 1: two quorums always share an honest client, and fewer than a third of
 * the clients, even together with the coordinator, open nothing that the others would not (Bonawitz 2017, section 6).
 */
import { assert } from '../core/assert.ts';

/** `active`: the coordinator may deviate. `semi-honest`: it follows the protocol; a client takes part only where its own policy allows it. */
export type Profile = 'active' | 'semi-honest';

/** Most clients of a complete graph; beyond it a round is divided into groups. */
export const completeGraphMax = 128;
/** Most clients of a round with groups: a roster of so many, with certificates of the usual size, stays below a message. */
export const groupedClientsMax = 1000;
/** Fewest members that a plan may give a group: fewer hide nobody once one of them vanishes. */
export const groupSizeMin = 5;
/** Most members that a plan may give a group: what is left over joins groups, which stay below twice the size and so within a complete graph. */
export const groupSizeMax = completeGraphMax / 2;
/** Fewest clients among which one can hide at all. */
export const clientCountFloor = 3;

/** Least numbers of a roster of n clients. */
export interface Thresholds {
  /** Shares that open a secret; also the fewest survivors. */
  readonly shares: number;
  /** Signatures over the same survivors before anything is opened; 0 in the semi-honest profile. */
  readonly quorum: number;
  /** Clients that may vanish from the roster to the end. */
  readonly vanishedMax: number;
  /** Clients that may collude with the coordinator. */
  readonly colludersMax: number;
}

/** Most members of a group of at least `size`: groups differ by one, and there are as many as there can be. */
export function groupMembersMax(size: number): number {
  return 2 * size - 1;
}

/** Thresholds of a roster of `clientCount` clients, 3 to 128. */
export function thresholdsOf(clientCount: number, profile: Profile): Thresholds {
  assert(
    Number.isInteger(clientCount) && clientCount >= clientCountFloor && clientCount <= completeGraphMax,
    `a roster has ${clientCountFloor} to ${completeGraphMax} clients, found ${clientCount}`,
  );
  const shares = profile === 'active' ? twoThirdsOf(clientCount) : Math.floor(clientCount / 2) + 1;
  const colludersMax = profile === 'active' ? Math.ceil(clientCount / 3) - 1 : shares - 1;
  return {
    shares,
    quorum: profile === 'active' ? shares : 0,
    vanishedMax: clientCount - shares,
    colludersMax,
  };
}

/** Signatures over the same outcome before a group of a roster of `clientCount` clients, however many, opens anything; 0 in the semi-honest profile. */
export function quorumOf(clientCount: number, profile: Profile): number {
  return profile === 'active' ? twoThirdsOf(clientCount) : 0;
}

function twoThirdsOf(clientCount: number): number {
  return Math.floor((2 * clientCount) / 3) + 1;
}
