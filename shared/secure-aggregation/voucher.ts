/**
 * Certificates of a federation without a consortium: the coordinator vouches for the key and organisation of every client that it enrolled.
 * A coordinator that lies can then invent clients, so such rounds are masked against an honest-but-curious coordinator, not a malicious one.
 */
import type { ClientId, FederationId } from '../core/ids.ts';
import { refuse, succeed } from '../core/result.ts';
import { clientIdOf, type Identity, keyBytes } from '../crypto/identity.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { bytes, decodeCanonical, encodeCanonical, raw } from '../protocol/canonical.ts';
import { clientId, federationId, structure, text } from '../protocol/canonical-compound.ts';
import { violation } from '../protocol/violations.ts';
import type { JudgeCertificate } from './members.ts';

const voucher = structure({ federationId, clientId, organisation: text(1000) });
const certificate = structure({ voucher: bytes(2048), signature: raw(keyBytes.signature) });

/** The certificate of a client. */
export function vouchFor(
  coordinator: Identity,
  facts: { readonly federationId: FederationId; readonly clientId: ClientId; readonly organisation: string },
): Uint8Array {
  const encoded = encodeCanonical(voucher, facts);
  return encodeCanonical(certificate, { voucher: encoded, signature: coordinator.sign('VOUCHER', encoded) });
}

/** Judges certificates under the coordinator's key: each is of this federation and of the key that it comes with. */
export function judgeVouchers(coordinatorKey: Uint8Array, federation: FederationId): JudgeCertificate {
  return (encoded, publicKey) => {
    const fault = (detail: string) => refuse(violation('unknown-client', `certificate: ${detail}`));
    const opened = decodeCanonical(certificate, encoded, 'certificate');
    if (!opened.ok) return opened;
    if (!verifyStrict(coordinatorKey, 'VOUCHER', opened.value.voucher, opened.value.signature))
      return fault('the coordinator did not sign it');
    const facts = decodeCanonical(voucher, opened.value.voucher, 'certificate');
    if (!facts.ok) return facts;
    if (facts.value.federationId !== federation) return fault('it is of another federation');
    if (facts.value.clientId !== clientIdOf(publicKey)) return fault('it is of another key');
    return succeed(facts.value.organisation);
  };
}
