/**
 * How a roster is divided into groups, each a complete graph of its own (security specification, section 4.3). Every member commits to a nonce
 * in its M1 and opens it once the roster is fixed; the seed hangs on all of them, so that whoever has one honest nonce among the others cannot aim
 * it. Everybody divides for itself: the coordinator only hands the nonces on.
 *
 * Members of one organisation are dealt to different groups as far as there are groups: a group has as many organisations as can be, and an
 * organisation that colludes has as few members in one group as can be. Which ones is the seed's choice.
 */
import { assert } from '../core/assert.ts';
import { concatBytes, fromHex, utf8 } from '../core/bytes.ts';
import type { ClientId, Digest } from '../core/ids.ts';
import { type Result, refuse, succeed } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { type Members, organisationsOf } from './members.ts';
import { groupSizeMax, groupSizeMin } from './threshold.ts';

/** How a round is divided. */
export interface Grouping {
  /** Least members of a group, {@link groupSizeMin} to {@link groupSizeMax}. */
  readonly size: number;
  /** Fewest members whose vectors a group's sum must have, beside its threshold. */
  readonly clientCountMin: number;
}

/** One group of a roster. */
export interface Group {
  /** Its members by their places in the group, bound to round, roster, seed and group: a signature is good for one group. */
  readonly members: Members;
  /** Their places on the roster, ascending: the place in the group is the index. */
  readonly places: readonly number[];
}

const twoBytes = (value: number): Uint8Array => Uint8Array.of(value & 255, value >> 8);

/** What M1 says of a nonce that is opened later. */
export function drawCommitmentOf(roundHash: Digest, clientId: ClientId, nonce: Uint8Array): Digest {
  return digestOf(utf8('TRIB-DRAW'), fromHex(roundHash), fromHex(clientId), nonce);
}

/** The seed of a division: `nonces` of all members in the order of their places. */
export function drawSeedOf(rosterHash: Digest, nonces: readonly Uint8Array[]): Digest {
  return digestOf(utf8('TRIB-SEED'), fromHex(rosterHash), ...nonces);
}

/**
 * The groups of a roster: ⌊n / size⌋ of them, at least one, whose sizes differ by at most one. Places are put in the order of
 * h("TRIB-ORG" ‖ seed ‖ organisation), those of one organisation in that of h("TRIB-PLACE" ‖ seed ‖ u16 place); the k-th of them joins group k mod the number
 * of groups. Refused, `bad-roster`, where a group has too few organisations. Cost: one hash a member.
 */
export function divide(
  whole: Members,
  seed: Digest,
  { size, organisationCountMin }: Pick<Grouping, 'size'> & { readonly organisationCountMin: number },
): Result<readonly Group[], Violation> {
  const { members, rosterHash } = whole;
  assert(size >= groupSizeMin && size <= groupSizeMax, `groups have ${groupSizeMin} to ${groupSizeMax} members`);
  const groupCount = Math.max(1, Math.floor(members.length / size));
  const organisations = new Map(
    [...organisationsOf(members)].map((name) => [name, digestOf(utf8('TRIB-ORG'), fromHex(seed), utf8(name))]),
  );
  const order = members
    .map(({ place, organisation }) => {
      const own = digestOf(utf8('TRIB-PLACE'), fromHex(seed), twoBytes(place));
      return { place, key: `${organisations.get(organisation)}${own}` };
    })
    .sort((left, right) => (left.key < right.key ? -1 : 1));
  const groups: Group[] = [];
  for (let group = 0; group < groupCount; group++) {
    const places = order
      .filter((_, index) => index % groupCount === group)
      .map(({ place }) => place)
      .sort((left, right) => left - right);
    const own = places.map((place, index) => ({ ...members[place]!, place: index }));
    const found = organisationsOf(own).size;
    if (found < organisationCountMin) {
      const detail = `group ${group} has members of ${found} organisations, expected ${organisationCountMin}`;
      return refuse(violation('bad-roster', detail));
    }
    groups.push({ places, members: { rosterHash: groupHashOf(rosterHash, seed, group), members: own } });
  }
  return succeed(groups);
}

/** What stands for the roster in the messages and keys of a group. */
function groupHashOf(rosterHash: Digest, seed: Digest, group: number): Digest {
  return digestOf(concatBytes(utf8('TRIB-GROUP'), fromHex(rosterHash), fromHex(seed), twoBytes(group)));
}
