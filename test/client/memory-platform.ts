/** A client's surroundings in memory: what would be on a disk survives as long as the object, so that a client can be "restarted" on it. */
import type { ContentCache, Journal, JournalEntry, Platform } from '../../client/platform/ports.ts';
import { emptyJournal } from '../../client/platform/ports.ts';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { manualClock, seededEntropy } from '../coordinator/harness.ts';

/** A platform that tests look into and break. */
export interface MemoryPlatform extends Platform {
  readonly clock: ReturnType<typeof manualClock>;
  /** What is durable now. */
  readonly entry: () => JournalEntry;
  readonly content: Map<Digest, Uint8Array>;
  /** What this client keeps for itself. */
  readonly personalParts: ReadonlyMap<string, Uint8Array>;
  /** Checkpoints, receipts and proofs of misconduct. */
  readonly evidenceFiles: ReadonlyMap<string, Uint8Array>;
  /** Makes the next and all later writes of the journal or the cache fail. */
  readonly breakDisk: (what: 'journal' | 'cache') => void;
}

/** A platform with the key of `seed`; HTTP requests go to `requestJson`. */
export function memoryPlatform(
  seed: number,
  requestJson: Platform['requestJson'] = () => Promise.reject(new Error('no request is expected')),
  clock: ReturnType<typeof manualClock> = manualClock(),
): MemoryPlatform {
  const broken = new Set<'journal' | 'cache'>();
  const content = new Map<Digest, Uint8Array>();
  let entry: JournalEntry = emptyJournal;
  const check = (what: 'journal' | 'cache'): void => {
    if (broken.has(what)) throw new StoreError(`${what}-not-written`, 'no space left on the disk');
  };
  const journal: Journal = {
    read: async () => entry,
    write: async (next) => {
      check('journal');
      entry = next;
    },
  };
  const cache: ContentCache = {
    get: async (digest) => content.get(digest) ?? null,
    put: async (digest, bytes) => {
      check('cache');
      content.set(digest, bytes);
    },
  };
  const personal = new Map<string, Uint8Array>();
  const evidence = new Map<string, Uint8Array>();
  return {
    clock,
    entropy: seededEntropy(seed),
    journal,
    cache,
    personal: {
      read: async (name) => personal.get(name) ?? null,
      write: async (name, bytes) => void personal.set(name, bytes.slice()),
    },
    personalParts: personal,
    evidence: {
      read: async (name) => evidence.get(name) ?? null,
      write: async (name, bytes) => void evidence.set(name, bytes.slice()),
    },
    evidenceFiles: evidence,
    claim: async () => () => undefined,
    identitySeed: async () => seededEntropy(seed + 1000).bytes(32),
    requestJson,
    entry: () => entry,
    content,
    breakDisk: (what) => void broken.add(what),
  };
}
