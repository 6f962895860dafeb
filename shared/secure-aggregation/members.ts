/**
 * Judges a roster: what a client must see before it deals shares to anybody on it (security specification, message R1). Everybody on it has
 * signed keys for this very round, is a member, and appears once; there are enough clients of enough organisations.
 */
import { forkAmong } from '../audit/checkpoint.ts';
import { equalBytes } from '../core/bytes.ts';
import type { ClientId, Digest } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import { clientIdOf } from '../crypto/identity.ts';
import { isSoundAgreementKey } from '../crypto/key-agreement.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical } from '../protocol/canonical.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { type Advert, advertFormat, type Roster, type RosterEntry, rosterHashOf } from './messages.ts';
import { completeGraphMax, groupedClientsMax } from './threshold.ts';

/** A client on a roster, its keys proven to be its own. */
export interface Member {
  /** Its index on the roster. */
  readonly place: number;
  readonly clientId: ClientId;
  readonly publicKey: Uint8Array;
  readonly organisation: string;
  readonly advert: Advert;
}

/** A judged roster. */
export interface Members {
  readonly rosterHash: Digest;
  readonly members: readonly Member[];
}

/** Says which organisation a certificate makes a key a member of, now; or why it does not. */
export type JudgeCertificate = (certificate: Uint8Array, publicKey: Uint8Array) => Result<string, Violation>;

/** What a roster is held to. */
export interface RosterDemands {
  readonly roundHash: Digest;
  /** Bounds of the round and of the site's own policy, whichever is stricter. */
  readonly clientCountMin: number;
  readonly clientCountMax: number;
  readonly organisationCountMin: number;
  readonly judgeCertificate: JudgeCertificate;
  /** Whether the roster is to be divided into groups. */
  readonly isDivided?: boolean;
}

/** The members of a roster, or the first thing that is wrong with it. Costs one verification a client. */
export function judgeRoster(roster: Roster, demands: RosterDemands): Result<Members, Violation> {
  const { entries } = roster;
  const { roundHash, clientCountMin, organisationCountMin } = demands;
  const clientCountMax = Math.min(demands.clientCountMax, demands.isDivided ? groupedClientsMax : completeGraphMax);
  const fault = (detail: string) => refuse(violation('bad-roster', detail));
  if (entries.length < clientCountMin || entries.length > clientCountMax)
    return fault(`expected ${clientCountMin} to ${clientCountMax} clients, found ${entries.length}`);
  const members: Member[] = [];
  for (const [place, entry] of entries.entries()) {
    const member = judgeEntry(entry, place, demands);
    if (!member.ok) return member;
    const before = members.at(-1);
    if (before !== undefined && before.clientId >= member.value.clientId)
      return fault(`the entries are not in the order of client ids at place ${place}`);
    members.push(member.value);
  }
  for (const key of ['boxKey', 'maskKey'] as const) {
    if (new Set(members.map(({ advert }) => advert[key].join())).size < members.length)
      return fault(`two clients have the same ${key}`);
  }
  const fork = forkAmong(members.map(({ advert }) => advert.checkpoint));
  if (fork !== null)
    return refuse(
      violation(
        'log-fork',
        `of the first ${fork[0].size} entries of the log two clients saw ${fork[0].root} and ${fork[1].root}`,
      ),
    );
  const organisationCount = organisationsOf(members).size;
  if (organisationCount < organisationCountMin)
    return fault(`expected clients of ${organisationCountMin} organisations, found ${organisationCount}`);
  return succeed({ rosterHash: rosterHashOf(roundHash, roster), members });
}

/** The organisations of some members. */
export function organisationsOf(members: readonly Member[]): ReadonlySet<string> {
  return new Set(members.map(({ organisation }) => organisation));
}

/** One client with its keys: its signature is its own, over this round, and its certificate is good. */
export function judgeEntry(
  { advert, signature, publicKey, certificate }: RosterEntry,
  place: number,
  {
    roundHash,
    judgeCertificate,
    isDivided = false,
  }: Pick<RosterDemands, 'roundHash' | 'judgeCertificate' | 'isDivided'>,
): Result<Member, Violation> {
  const fault = (detail: string) => refuse(violation('bad-roster', `place ${place}: ${detail}`));
  const decoded = decodeCanonical(advertFormat, advert, 'M1');
  if (!decoded.ok) return decoded;
  const { clientId, certificateHash } = decoded.value;
  if (decoded.value.roundHash !== roundHash) return fault('the keys are of another round');
  if ((decoded.value.draw !== null) !== isDivided)
    return fault('a nonce is committed to exactly where there are groups');
  if (clientIdOf(publicKey) !== clientId) return fault('the public key is not that of the client');
  if (!verifyStrict(publicKey, 'ADVERT', advert, signature)) return fault('the keys are not signed by the client');
  if (![decoded.value.boxKey, decoded.value.maskKey].every(isSoundAgreementKey)) return fault('a key is of low order');
  if (digestOf(certificate) !== certificateHash) return fault('the certificate is not the one that the client named');
  const organisation = judgeCertificate(certificate, publicKey);
  if (!organisation.ok) return organisation;
  return succeed({ place, clientId, publicKey, organisation: organisation.value, advert: decoded.value });
}

/** Whether an entry is byte for byte what a client sent itself. */
export function isOwnEntry(entry: RosterEntry, own: { readonly advert: Uint8Array; readonly signature: Uint8Array }) {
  return equalBytes(entry.advert, own.advert) && equalBytes(entry.signature, own.signature);
}
