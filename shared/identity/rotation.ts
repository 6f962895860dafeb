/**
 * The site's side of a rotation: a certificate for its new key, signed by the key that it replaces. One administrator of the consortium signs it
 * (`tributary consortium rotate`); `judgeMember` says when such a certificate is good.
 */
import { equalBytes, toHex } from '../core/bytes.ts';
import { UsageError } from '../core/errors.ts';
import type { Entropy } from '../core/ports.ts';
import { clientIdOf, type Identity } from '../crypto/identity.ts';
import { encodeCertificate, encodeMember, readCertificate, signRotation } from './certificate.ts';
import type { Serial } from './formats.ts';

/** What {@link proposeRotation} needs. */
export interface RotationOptions {
  /** The key that is replaced. */
  readonly previous: Identity;
  /** Its certificate. */
  readonly certificate: Uint8Array;
  /** The new key, 32 bytes. */
  readonly nextKey: Uint8Array;
  readonly nowMs: number;
  readonly entropy: Entropy;
  /** Days for which the new certificate is good, at most 366. */
  readonly days: number;
}

const dayMs = 24 * 3_600_000;

/** The certificate of the new key, without a signature of the consortium. @throws UsageError `wrong-certificate`. */
export function proposeRotation({ previous, certificate, nextKey, nowMs, entropy, days }: RotationOptions): Uint8Array {
  const read = readCertificate(certificate);
  if (!read.ok || !equalBytes(read.value.member.publicKey, previous.publicKey))
    throw new UsageError('wrong-certificate', 'the certificate is not that of the key of this site');
  const old = read.value.member;
  // An hour earlier, because clocks differ, but never before the certificate that it replaces.
  const notBeforeMs = Math.max(old.notBeforeMs, nowMs - 3_600_000);
  const member = encodeMember({
    ...old,
    clientId: clientIdOf(nextKey),
    publicKey: nextKey,
    notBeforeMs,
    notAfterMs: notBeforeMs + days * dayMs,
    serial: toHex(entropy.bytes(16)) as Serial,
    epoch: old.epoch + 1,
  });
  const rotation = { previous: certificate, signature: signRotation(previous, member) };
  return encodeCertificate({ member, signatures: [], rotation });
}
