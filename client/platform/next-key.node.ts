/** The key that is to replace a site's own, in its state folder: `next.key`, mode 0600, until the consortium has signed its certificate. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex, utf8 } from '../../shared/core/bytes.ts';
import { readSeed, replaceFile } from './node.node.ts';

const nextOf = (stateFolder: string): string => join(stateFolder, 'next.key');

/** The seed of the next key; made on first use, and the same until it is taken into use. @throws StoreError. */
export function nextSeed(stateFolder: string): Promise<Uint8Array> {
  return readSeed(nextOf(stateFolder));
}

/** Puts the next key in the place of the site's own, which is overwritten. Nobody may run on the state. @throws StoreError. */
export async function useNextSeed(stateFolder: string): Promise<void> {
  const seed = await nextSeed(stateFolder);
  await replaceFile(join(stateFolder, 'identity.key'), utf8(`${toHex(seed)}\n`));
  seed.fill(0);
  await rm(nextOf(stateFolder), { force: true });
}
