/**
 * The files of a base as a client holds them: fetched once, checked by their digests, and read from where the cache keeps them, so that a
 * large base is never in memory beside the model that is made of it.
 */

import { releaseBytes } from '../shared/core/bytes.ts';
import { type ByteSource, digestOfSource } from '../shared/model/byte-source.ts';
import type { BaseFiles } from '../shared/model/load.ts';
import type { BlobReference, Offer } from '../shared/protocol/messages.ts';
import type { ContentCache, OpenContent } from './platform/ports.ts';

/** Files that are open until they are let go of. */
export interface OpenBase {
  readonly files: BaseFiles;
  close(): void;
}

/** Smaller files are simply held: settings, tokenizers, test models. */
const openBytesMin = 1024 * 1024;

/**
 * Fetches what is missing of a base and opens it.
 * @param fetch the checked bytes of a file, which it has put into the cache; nobody else uses them.
 * @throws what `fetch` and the cache throw.
 */
export async function openBaseFiles(
  base: Offer['base'],
  {
    cache,
    fetch,
  }: {
    readonly cache: ContentCache;
    readonly fetch: (name: string, blob: BlobReference) => Promise<Uint8Array>;
  },
): Promise<OpenBase> {
  const files = new Map<string, Uint8Array | ByteSource>();
  const opened: OpenContent[] = [];
  const close = (): void => {
    for (const content of opened.splice(0)) content.close();
  };
  const open = async ({ digest, size }: BlobReference): Promise<OpenContent | null> => {
    const content = size < openBytesMin ? null : ((await cache.open?.(digest)) ?? null);
    if (content !== null) opened.push(content);
    return content;
  };
  try {
    for (const { name, blob } of base) {
      const kept = await open(blob);
      if (kept !== null && kept.size === blob.size && digestOfSource(kept) === blob.digest) {
        files.set(name, kept);
        continue;
      }
      const bytes = await fetch(name, blob);
      // Fetched just now and checked; a cache that did not keep it is no reason to fail.
      const fresh = await open(blob);
      const isKept = fresh?.size === blob.size;
      files.set(name, isKept ? fresh : bytes);
      // Else the collector takes its time, and the model would stand beside its own file.
      if (isKept) releaseBytes(bytes);
    }
    return { files, close };
  } catch (thrown) {
    close();
    throw thrown;
  }
}
