/** What the log says about documents of identity that are put to use: consortium, certificates, revocations, approval of the plan. */
import type { Happening } from '../../shared/audit/entry.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { readCertificate } from '../../shared/identity/certificate.ts';
import { consortiumHashOf, decodeConsortium } from '../../shared/identity/consortium.ts';
import { openRevocations, type Revocations } from '../../shared/identity/revocations.ts';
import type { CoordinatorStore, FederationRecord } from '../store/store.ts';

/** A consortium vouches for members. */
export const consortiumTaken = (hash: Digest): Happening => ({
  type: 'configuration-changed',
  subject: `consortium/${hash}`,
  payload: { consortium: hash },
});
/** A certificate is in use. */
export const certificateTaken = ({
  clientId,
  serial,
  epoch,
}: {
  readonly clientId: ClientId;
  readonly serial: string;
  readonly epoch: number;
}): Happening => ({ type: 'certificate-taken', subject: serial, payload: { clientId, serial, epoch } });
/** A list of revocations is in use. */
export const revocationsTaken = (
  { number, revoked }: Pick<Revocations, 'number' | 'revoked'>,
  bytes: Uint8Array,
): Happening => ({
  type: 'revocations-taken',
  subject: String(number),
  payload: { number, count: revoked.length, hash: digestOf(bytes) },
});
/** The consortium signed the plan. */
export const approvalTaken = (planHash: Digest): Happening => ({
  type: 'configuration-changed',
  subject: `plan-approval/${planHash}`,
  payload: { planHash },
});

/** What the log is to hold of the documents in a state; of each its newest. */
export async function documentHappenings(
  { documents, clients }: Pick<CoordinatorStore, 'documents' | 'clients'>,
  federation: FederationRecord | null,
): Promise<Happening[]> {
  const bytesOf = async (name: Parameters<typeof documents.get>[0]) => {
    const hex = await documents.get(name);
    return hex === null ? null : fromHex(hex);
  };
  const found: Happening[] = [];
  const bytes = await bytesOf('consortium');
  const consortium = bytes === null ? null : decodeConsortium(bytes);
  if (consortium === null || !consortium.ok) return found;
  found.push(consortiumTaken(consortiumHashOf(consortium.value)));
  for (const { clientId } of await clients()) {
    const certificate = await bytesOf(`certificate/${clientId}`);
    const read = certificate === null ? null : readCertificate(certificate);
    if (read?.ok) found.push(certificateTaken(read.value.member));
  }
  const list = await bytesOf('revocations');
  const revocations = list === null ? null : openRevocations(consortium.value, list);
  if (list !== null && revocations?.ok) found.push(revocationsTaken(revocations.value, list));
  if (federation !== null && (await documents.get('plan-approval')) !== null)
    found.push(approvalTaken(federation.planHash));
  return found;
}
