/** The keys that one site had: a rotated key is a client of its own, and what its site did before stands under the earlier ones. */
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { replacedClient } from '../../shared/identity/certificate.ts';
import type { CoordinatorStore } from '../store/store.ts';

type Documents = Pick<CoordinatorStore, 'documents'>;

/** Keeps the certificate by which a client took the place of another, if it did: later certificates of its key need not name the other any more. */
export async function keepRotation(
  { documents }: Documents,
  clientId: ClientId,
  certificate: Uint8Array,
): Promise<void> {
  if (replacedClient(certificate) !== null) await documents.put(`rotation/${clientId}`, toHex(certificate));
}

/** The client and those whose keys it replaced, newest first. Only what the old key signed itself counts. */
export async function keysOfSite({ documents }: Documents, clientId: ClientId): Promise<ClientId[]> {
  const keys = [clientId];
  for (;;) {
    const hex = await documents.get(`rotation/${keys.at(-1)!}`);
    const replaced = hex === null ? null : replacedClient(fromHex(hex));
    if (replaced === null || keys.includes(replaced)) return keys;
    keys.push(replaced);
  }
}
