/**
 * The consortium: the people who say which sites take part, as m keys of which k must sign. Its keys are made and kept away from every
 * coordinator; sites pin its hash when they enrol. What it signs travels as a body with signatures, complete once k of its keys are there.
 */
import { fromHex, toHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import { fingerprint, type Identity } from '../crypto/identity.ts';
import type { SignatureType } from '../crypto/signature-input.ts';
import { isSoundPublicKey, verifyStrict } from '../crypto/verify.ts';
import { bytes, decodeCanonical, encodeCanonical, raw, u8, type ValueOf } from '../protocol/canonical.ts';
import { ascending, structure, text } from '../protocol/canonical-compound.ts';
import { type Violation, violation } from '../protocol/violations.ts';

/** Keys of one consortium: its members' administrators. */
const keysMax = 32;

const consortiumFormat = structure({
  name: text(200),
  /** Keys that must sign. */
  threshold: u8,
  keys: ascending(raw(32), keysMax, toHex),
});
/** Public keys of a consortium, ascending, and how many of them must sign. */
export type Consortium = ValueOf<typeof consortiumFormat>;

/** Bytes of a consortium. */
export function encodeConsortium(consortium: Consortium): Uint8Array {
  return encodeCanonical(consortiumFormat, consortium);
}

/** The consortium of some bytes: else `bad-frame` or `bad-certificate`. */
export function decodeConsortium(encoded: Uint8Array): Result<Consortium, Violation> {
  const decoded = decodeCanonical(consortiumFormat, encoded, 'consortium');
  if (!decoded.ok) return decoded;
  const { threshold, keys } = decoded.value;
  if (threshold < 1 || threshold > keys.length)
    return refuse(violation('bad-certificate', `a consortium of ${keys.length} keys cannot ask for ${threshold}`));
  return keys.every(isSoundPublicKey)
    ? decoded
    : refuse(violation('bad-certificate', 'a key of the consortium is no sound Ed25519 key'));
}

/** Hash of a consortium: what sites pin. */
export function consortiumHashOf(consortium: Consortium): Digest {
  return digestOf(utf8('TRIB-CONSORTIUM'), encodeConsortium(consortium));
}

/** Short form of the hash, for comparing by telephone. */
export function consortiumFingerprint(consortium: Consortium): string {
  return fingerprint(fromHex(consortiumHashOf(consortium)));
}

const signatureFormat = structure({ key: raw(32), signature: raw(64) });
/** Signatures of distinct keys, ascending in key. */
export const signaturesFormat = ascending(signatureFormat, keysMax, ({ key }) => toHex(key));
/** A signature of one key of a consortium. */
export type KeySignature = ValueOf<typeof signatureFormat>;

/** Something that a consortium signs: canonical bytes of its kind, and signatures. */
export const countersignedFormat = structure({ body: bytes(65_536), signatures: signaturesFormat });
/** A body with signatures, perhaps not enough of them yet. */
export type Countersigned = ValueOf<typeof countersignedFormat>;

/** Bytes of something signed. */
export function encodeCountersigned(signed: Countersigned): Uint8Array {
  return encodeCanonical(countersignedFormat, signed);
}

/** `signatures` with one of `identity` over `body`; a second one of the same key changes nothing. */
export function addSignature(
  identity: Identity,
  type: SignatureType,
  { body, signatures }: Countersigned,
): readonly KeySignature[] {
  const own = { key: identity.publicKey, signature: identity.sign(type, body) };
  return [...signatures.filter(({ key }) => toHex(key) !== toHex(own.key)), own].sort((left, right) =>
    toHex(left.key) < toHex(right.key) ? -1 : 1,
  );
}

/** How many keys of the consortium signed `body`; what is no good signature of a key of it does not count. */
export function countSignatures(
  consortium: Consortium,
  type: SignatureType,
  { body, signatures }: Countersigned,
): number {
  const known = new Set(consortium.keys.map(toHex));
  // The format keeps keys distinct.
  return signatures.filter(({ key, signature }) => known.has(toHex(key)) && verifyStrict(key, type, body, signature))
    .length;
}

/** The body, once enough keys signed it: else `bad-frame` or `bad-certificate`. */
export function openCountersigned(
  consortium: Consortium,
  type: SignatureType,
  encoded: Uint8Array,
): Result<Uint8Array, Violation> {
  const decoded = decodeCanonical(countersignedFormat, encoded, type);
  if (!decoded.ok) return decoded;
  const count = countSignatures(consortium, type, decoded.value);
  const { threshold } = consortium;
  return count >= threshold
    ? succeed(decoded.value.body)
    : refuse(violation('bad-certificate', `${count} of the consortium's keys signed it, ${threshold} must`));
}
