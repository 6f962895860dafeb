/** The keys that one site had: a rotated key is a client of its own, and what its site did before stands under the earlier ones. */
import { fromHex } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { readCertificate } from '../../shared/identity/certificate.ts';
import type { CoordinatorStore } from '../store/store.ts';

/** The client and those whose keys it replaced, newest first. Certificates that are kept were judged when they were taken in. */
export async function keysOfSite(
  { documents }: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
): Promise<ClientId[]> {
  const keys = [clientId];
  for (;;) {
    const hex = await documents.get(`certificate/${keys.at(-1)!}`);
    const read = hex === null ? null : readCertificate(fromHex(hex));
    const rotation = read?.ok ? read.value.certificate.rotation : null;
    const previous = rotation === null ? null : readCertificate(rotation.previous);
    if (!previous?.ok || keys.includes(previous.value.member.clientId)) return keys;
    keys.push(previous.value.member.clientId);
  }
}
