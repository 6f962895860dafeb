/**
 * The state folder of a coordinator: `coordinator.sqlite`, `blobs/`, `identity.key`. One coordinator runs on it at a time; commands such as
 * `tributary invite` open it beside a running one.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../../shared/core/bytes.ts';
import { StoreError, UsageError } from '../../shared/core/errors.ts';
import { lockFolder } from '../../shared/core/folder-lock.node.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { createIdentity } from '../../shared/crypto/identity.ts';
import { openFileBlobs } from './blob-files.ts';
import { createMemoryBlobs } from './blob-memory.ts';
import type { CoordinatorBlobs } from './blobs.ts';
import { keyVariable, openIdentity } from './keys.node.ts';
import type { CoordinatorStore, FederationRecord } from './store.ts';
import { createMemoryStore } from './store-memory.ts';
import { openSqliteStore } from './store-sqlite.ts';

/** Durable state of a coordinator. */
export interface CoordinatorState {
  readonly store: CoordinatorStore;
  readonly blobs: CoordinatorBlobs;
  readonly identity: Identity;
  /** Ends the use of the state; once, however often it is called. Whoever still writes fails, as after the end of the process. */
  close(): Promise<void>;
}

const databaseOf = (stateFolder: string): string => join(stateFolder, 'coordinator.sqlite');

/** State that ends with the process, for tests and simulations. */
export function memoryState(entropy: Entropy): CoordinatorState {
  const store = createMemoryStore();
  return {
    store,
    blobs: createMemoryBlobs(),
    identity: createIdentity(entropy, engineCrypto),
    close: once(() => store.close()),
  };
}

/**
 * Opens, and on first use makes, the state of a coordinator that is to run.
 * @throws UsageError `state-in-use` when another coordinator runs on it; StoreError.
 */
export async function openState(stateFolder: string, entropy: Entropy = systemEntropy): Promise<CoordinatorState> {
  const release = lockFolder(stateFolder, 'coordinator');
  try {
    // A state that is there was made with a key: a new one would shut every client out.
    const state = await open(stateFolder, existsSync(databaseOf(stateFolder)) ? null : entropy);
    return { ...state, close: once(() => state.close().finally(release)) };
  } catch (thrown) {
    release();
    throw thrown;
  }
}

/**
 * Opens the state of a coordinator that ran before, whether it runs now or not.
 * @throws UsageError `no-federation` when the folder holds none; StoreError, `key-missing` and `other-key` among them.
 */
export async function openExistingState(
  stateFolder: string,
): Promise<CoordinatorState & { readonly record: FederationRecord }> {
  const nothing = new UsageError(
    'no-federation',
    `${stateFolder} holds no federation; start one with: tributary coordinator --plan FILE --base DIR --state ${stateFolder}`,
  );
  if (!existsSync(databaseOf(stateFolder))) throw nothing;
  const state = await open(stateFolder, null);
  const record = await state.store.federation();
  if (record !== null) return { ...state, record };
  await state.close();
  throw nothing;
}

/** Versions, checkpoints and what sites pinned are of the key with which the coordinator was started first: with another one nothing holds. */
async function requireOwnKey(stateFolder: string, { store, identity }: CoordinatorState): Promise<void> {
  const started = await store.log.find('coordinator-started', '0');
  const key = /"coordinatorKey":"([0-9a-f]{64})"/.exec(started?.payload ?? '')?.[1];
  if (key === undefined || key === toHex(identity.publicKey)) return;
  throw new StoreError(
    'other-key',
    `the federation of ${stateFolder} was made with another key than the one that is here; set ${keyVariable} to that key, or restore its identity.key`,
  );
}

async function open(stateFolder: string, entropy: Entropy | null): Promise<CoordinatorState> {
  const identity = openIdentity(stateFolder, entropy);
  const blobs = await openFileBlobs(join(stateFolder, 'blobs'));
  const store = openSqliteStore(databaseOf(stateFolder));
  const state = { store, blobs, identity, close: once(() => store.close()) };
  return requireOwnKey(stateFolder, state).then(
    () => state,
    async (thrown: unknown) => {
      await state.close();
      throw thrown;
    },
  );
}

function once(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | null = null;
  return () => (done ??= action());
}
