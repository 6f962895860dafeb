/** The keys that one site had: a rotated key is a client of its own, and what its site did before stands under the earlier ones. */
import { fromHex } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { verifyStrict } from '../../shared/crypto/verify.ts';
import { readCertificate } from '../../shared/identity/certificate.ts';
import type { CoordinatorStore } from '../store/store.ts';

/**
 * The client and those whose keys it replaced, newest first. Only what the old key signed itself counts: the certificate that a new one brings along
 * stands beside what a quorum signed, and could be that of anybody.
 */
export async function keysOfSite(
  { documents }: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
): Promise<ClientId[]> {
  const keys = [clientId];
  for (;;) {
    const hex = await documents.get(`certificate/${keys.at(-1)!}`);
    const read = hex === null ? null : readCertificate(fromHex(hex));
    if (!read?.ok || read.value.certificate.rotation === null) return keys;
    const { member, rotation } = read.value.certificate;
    const previous = readCertificate(rotation.previous);
    if (!previous.ok) return keys;
    const { clientId: replaced, publicKey } = previous.value.member;
    if (keys.includes(replaced) || !verifyStrict(publicKey, 'ROTATE', member, rotation.signature)) return keys;
    keys.push(replaced);
  }
}
