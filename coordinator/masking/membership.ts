/** Who clients of masked rounds are: the certificates that rosters show, and who judges them. */
import { fromHex } from '../../shared/core/bytes.ts';
import type { FederationId } from '../../shared/core/ids.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { type CertificateFacts, judgeCertificates } from '../../shared/identity/certificate.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import { judgeVouchers, vouchFor } from '../../shared/secure-aggregation/voucher.ts';
import type { ClientRecord } from '../store/store.ts';

/** Certificates of the clients of one federation. */
export interface Membership {
  /** The certificate of a client: `brought` where it has one of its own. */
  certificateOf(client: ClientRecord, brought: Uint8Array): Uint8Array;
  readonly judge: JudgeCertificate;
}

/** Members of a federation without a consortium: its coordinator vouches for everybody that it enrolled. */
function vouchedMembership(identity: Identity, federationId: FederationId): Membership {
  return {
    certificateOf: ({ clientId, organisation }) => vouchFor(identity, { federationId, clientId, organisation }),
    judge: judgeVouchers(identity.publicKey, federationId),
  };
}

/**
 * Members of a federation: those whom the consortium certified where there is one, else those for whom the coordinator vouches. `facts` are asked
 * for anew each time, because a consortium may be set after the coordinator was started, and its list of revocations changes.
 */
export function membershipOf(
  identity: Identity,
  federationId: FederationId,
  facts: () => CertificateFacts | null,
): Membership {
  const vouched = vouchedMembership(identity, federationId);
  return {
    certificateOf: (client, brought) => (facts() === null ? vouched.certificateOf(client, brought) : brought),
    judge: (certificate, publicKey) => {
      const known = facts();
      return known === null
        ? vouched.judge(certificate, publicKey)
        : judgeCertificates(() => known)(certificate, publicKey);
    },
  };
}

/** Key and certificate of a client as a roster shows them. */
export function rosterFacts(membership: Membership, client: ClientRecord, brought: Uint8Array) {
  return { publicKey: fromHex(client.publicKey), certificate: membership.certificateOf(client, brought) };
}
