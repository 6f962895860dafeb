/** A content cache whose disk may fail: what cannot be kept is fetched again, and the client goes on. */
import { errorMessage, StoreError } from '../../shared/core/errors.ts';
import type { ContentCache } from './ports.ts';

/** `cache`, with its failures told to `onFailure` instead of thrown. */
export function cautiousCache(cache: ContentCache, onFailure: (detail: string) => void): ContentCache {
  const tolerate = (thrown: unknown): null => {
    if (!(thrown instanceof StoreError)) throw thrown;
    onFailure(errorMessage(thrown));
    return null;
  };
  return {
    get: (digest) => cache.get(digest).catch(tolerate),
    open: async (digest) => (await cache.open?.(digest).catch(tolerate)) ?? null,
    put: (digest, bytes) => cache.put(digest, bytes).catch((thrown: unknown) => void tolerate(thrown)),
  };
}
