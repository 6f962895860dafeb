/**
 * Certificates of membership: the consortium says that a key is a client of an organisation, for at most a year. A new key is either signed by
 * the whole quorum, or by the key that it replaces and one key of the consortium; the old one is revoked a day later.
 */
import { equalBytes } from '../core/bytes.ts';
import type { ClientId, Digest } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { clientIdOf, type Identity } from '../crypto/identity.ts';
import { isSoundPublicKey, verifyStrict } from '../crypto/verify.ts';
import { bytes, decodeCanonical, encodeCanonical, raw, u32, u53, type ValueOf } from '../protocol/canonical.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import type { JudgeCertificate } from '../secure-aggregation/members.ts';
import { type Consortium, consortiumHashOf, countSignatures, signaturesFormat } from './consortium.ts';
import { clientId, digest, identifierOfSerial, maybe, structure, text } from './formats.ts';
import type { Revocations } from './revocations.ts';
import { isRevoked } from './revocations.ts';

/** Longest validity of a certificate in milliseconds: a year and a leap day. */
export const certificateLifetimeMsMax = 366 * 24 * 3_600_000;
/** How long a key and its successor are both good. */
export const rotationOverlapMs = 24 * 3_600_000;

const memberFormat = structure({
  consortium: digest,
  clientId,
  publicKey: raw(32),
  organisation: text(200),
  notBeforeMs: u53,
  notAfterMs: u53,
  serial: identifierOfSerial,
  /** 0 for the first key of a site, one more with every rotation. */
  epoch: u32,
});
/** What a certificate says. */
export type Member = ValueOf<typeof memberFormat>;

const certificateFormat = structure({
  member: bytes(512),
  signatures: signaturesFormat,
  /** The certificate of the key that this one replaces, and that key's signature. */
  rotation: maybe(structure({ previous: bytes(2048), signature: raw(64) })),
});
/** A certificate, perhaps without all of its signatures yet. */
export type Certificate = ValueOf<typeof certificateFormat>;

/** Bytes of a member: what is signed. */
export function encodeMember(member: Member): Uint8Array {
  return encodeCanonical(memberFormat, member);
}

/** Bytes of a certificate. */
export function encodeCertificate(certificate: Certificate): Uint8Array {
  return encodeCanonical(certificateFormat, certificate);
}

/** A certificate and what it says; nothing is judged. */
export function readCertificate(
  encoded: Uint8Array,
): Result<{ readonly certificate: Certificate; readonly member: Member }, Violation> {
  const certificate = decodeCanonical(certificateFormat, encoded, 'certificate');
  if (!certificate.ok) return certificate;
  const member = decodeCanonical(memberFormat, certificate.value.member, 'certificate');
  return member.ok ? succeed({ certificate: certificate.value, member: member.value }) : member;
}

/** The signature of the key that is replaced over the member that replaces it. */
export function signRotation(previous: Identity, member: Uint8Array): Uint8Array {
  return previous.sign('ROTATE', member);
}

/**
 * The client whose place the member of a certificate takes, as that client's key signed it; null for none. What stands beside a member that a quorum signed
 * could be by anybody: so the id is that of the key which signed, whatever the certificate says that is said to be replaced.
 */
export function replacedClient(encoded: Uint8Array): ClientId | null {
  const read = readCertificate(encoded);
  const rotation = read.ok ? read.value.certificate.rotation : null;
  const previous = rotation === null ? null : readCertificate(rotation.previous);
  if (!read.ok || rotation === null || !previous?.ok) return null;
  const { publicKey } = previous.value.member;
  const isSigned = verifyStrict(publicKey, 'ROTATE', read.value.certificate.member, rotation.signature);
  return isSigned ? clientIdOf(publicKey) : null;
}

/** What certificates are judged by. */
export interface CertificateFacts {
  readonly consortium: Consortium;
  /** The newest list, null where there is none yet. */
  readonly revocations: Revocations | null;
  readonly nowMs: number;
}

const fault = (detail: string) => refuse(violation('bad-certificate', detail));

/** The member of a certificate that is good now: else `bad-frame` or `bad-certificate`. Costs one verification per signature. */
export function judgeMember(encoded: Uint8Array, facts: CertificateFacts): Result<Member, Violation> {
  const read = readCertificate(encoded);
  if (!read.ok) return read;
  const { certificate, member } = read.value;
  const { notBeforeMs, notAfterMs } = member;
  const { nowMs, revocations } = facts;
  if (notAfterMs <= notBeforeMs || notAfterMs - notBeforeMs > certificateLifetimeMsMax)
    return fault('it is valid for no time, or for more than a year');
  if (nowMs < notBeforeMs) return fault('it is not valid yet');
  if (nowMs >= notAfterMs) return fault('it has expired');
  if (isRevoked(revocations, member.serial, nowMs)) return fault('it was revoked');
  const unsound = judgeFacts(member, consortiumHashOf(facts.consortium));
  if (unsound !== null) return fault(unsound);
  const count = countSignatures(facts.consortium, 'MEMBER', {
    body: certificate.member,
    signatures: certificate.signatures,
  });
  if (count >= facts.consortium.threshold) return succeed(member);
  return judgeRotation(certificate, member, count, facts);
}

function judgeFacts(member: Member, consortium: Digest): string | null {
  if (member.consortium !== consortium) return 'it is of another consortium';
  if (!isSoundPublicKey(member.publicKey)) return 'its key is no sound Ed25519 key';
  return clientIdOf(member.publicKey) === member.clientId ? null : 'its client id is not that of its key';
}

/** A certificate with fewer signatures is good if the key that it replaces signed it too, and was good when it did. */
function judgeRotation(
  { member: encoded, rotation }: Certificate,
  member: Member,
  count: number,
  facts: CertificateFacts,
): Result<Member, Violation> {
  const { consortium, nowMs, revocations } = facts;
  const missing = `${count} of the consortium's keys signed it, ${consortium.threshold} must`;
  if (rotation === null) return fault(missing);
  if (count === 0) return fault('no key of the consortium signed the rotation');
  const previous = readCertificate(rotation.previous);
  if (!previous.ok) return previous;
  const old = previous.value;
  const isQuorum =
    countSignatures(consortium, 'MEMBER', { body: old.certificate.member, signatures: old.certificate.signatures }) >=
    consortium.threshold;
  if (!isQuorum || judgeFacts(old.member, member.consortium) !== null)
    return fault(
      'the certificate that it replaces is not signed by the consortium; after a rotation the quorum signs the next key',
    );
  const isSuccessor = old.member.organisation === member.organisation && member.epoch === old.member.epoch + 1;
  if (!isSuccessor) return fault('it does not go on from the certificate that it replaces');
  const wasGood = member.notBeforeMs >= old.member.notBeforeMs && member.notBeforeMs < old.member.notAfterMs;
  if (!wasGood) return fault('the certificate that it replaces was not valid when it was replaced');
  if (isRevoked(revocations, old.member.serial, Math.min(nowMs, member.notBeforeMs + rotationOverlapMs - 1)))
    return fault('the certificate that it replaces was revoked before the rotation');
  return verifyStrict(old.member.publicKey, 'ROTATE', encoded, rotation.signature)
    ? succeed(member)
    : fault('the key that it replaces did not sign it');
}

/** Judges certificates of rosters: each is good now and of the key that it comes with. `facts` are asked for anew each time. */
export function judgeCertificates(facts: () => CertificateFacts): JudgeCertificate {
  return (encoded, publicKey) => {
    const member = judgeMember(encoded, facts());
    if (!member.ok) return member;
    return equalBytes(member.value.publicKey, publicKey)
      ? succeed(member.value.organisation)
      : fault('it is of another key');
  };
}
