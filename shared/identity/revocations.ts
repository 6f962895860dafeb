/**
 * The consortium's list of revoked certificates: signed by its quorum, its number only grows, and a list that is older than a day is not enough
 * for a round: a coordinator that holds a newer one back gains a day at most.
 */
import type { Digest } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { decodeCanonical, encodeCanonical, u53, type ValueOf } from '../protocol/canonical.ts';
import { ascending } from '../protocol/canonical-compound.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { type Consortium, consortiumHashOf, openCountersigned } from './consortium.ts';
import { digest, identifierOfSerial, type Serial, structure } from './formats.ts';

/** Certificates on one list: all of a consortium of the largest size, several times over. */
const revokedMax = 1024;
/** Age of a list beyond which rounds are refused. */
const revocationsAgeMsMax = 24 * 3_600_000;
/** By how much a list may seem to be from the future: clocks of administrators differ. */
const aheadMsMax = 10 * 60_000;

const revocationsFormat = structure({
  consortium: digest,
  /** One more with every list. */
  number: u53,
  issuedMs: u53,
  revoked: ascending(structure({ serial: identifierOfSerial, fromMs: u53 }), revokedMax, ({ serial }) => serial),
});
/** A list of revocations. */
export type Revocations = ValueOf<typeof revocationsFormat>;

/** Bytes of a list: what is signed. */
export function encodeRevocations(list: Revocations): Uint8Array {
  return encodeCanonical(revocationsFormat, list);
}

/** The list of bytes; nothing is judged. */
export function readRevocations(body: Uint8Array): Result<Revocations, Violation> {
  return decodeCanonical(revocationsFormat, body, 'revocations');
}

/** The list of a consortium, signed by its quorum: else `bad-frame` or `bad-certificate`. Whether it is fresh is {@link judgeAge}. */
export function openRevocations(consortium: Consortium, encoded: Uint8Array): Result<Revocations, Violation> {
  const body = openCountersigned(consortium, 'REVOCATIONS', encoded);
  if (!body.ok) return body;
  const list = readRevocations(body.value);
  if (!list.ok) return list;
  const expected: Digest = consortiumHashOf(consortium);
  return list.value.consortium === expected
    ? succeed(list.value)
    : refuse(violation('bad-certificate', 'the list of revocations is of another consortium'));
}

/** Why a list is not enough for a round, or null. `numberMin` is that of the newest list that was seen. */
export function judgeAge(
  list: Revocations,
  { nowMs, numberMin }: { readonly nowMs: number; readonly numberMin: number },
): Violation | null {
  if (list.number < numberMin)
    return violation('stale-revocations', `list ${list.number} of revocations was shown after list ${numberMin}`);
  const ageMs = nowMs - list.issuedMs;
  if (ageMs > revocationsAgeMsMax || ageMs < -aheadMsMax) {
    const hours = Math.round(ageMs / 3_600_000);
    return violation('stale-revocations', `list ${list.number} of revocations is ${hours} hours old, allowed are 24`);
  }
  return null;
}

/** Whether a certificate is revoked at a time. */
export function isRevoked(list: Revocations | null, serial: Serial, nowMs: number): boolean {
  return list?.revoked.some((one) => one.serial === serial && one.fromMs <= nowMs) ?? false;
}
