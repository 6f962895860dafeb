/**
 * Bases by name: `hf:owner/name@revision` in place of a folder. What a base needs, and nothing else, is fetched once into the cache, pinned to
 * a commit, checked against the hub's checksums, and checked again at every use.
 *
 * The environment: `HF_TOKEN` opens private repositories, `HF_ENDPOINT` names another hub, `HF_HUB_OFFLINE=1` forbids the network,
 * `TRIBUTARY_CACHE` moves the cache.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cacheFolder } from '../core/cache-folder.node.ts';
import { TransportError, UsageError } from '../core/errors.ts';
import { lockFolder } from '../core/folder-lock.node.ts';
import { type Environment, type Hub, hubAccessOf, openHub } from './hub/client.node.ts';
import { downloadFile } from './hub/download.node.ts';
import { type WantedFile, wantedFirst, wantedShards } from './hub/listing.ts';
import { type HubReference, isCommit, isHubReference, parseHubReference, writeHubReference } from './hub/reference.ts';
import { type KeptFile, type Snapshots, snapshotsOf, storeError } from './hub/snapshot.node.ts';
import { indexName } from './shards.ts';

/** What fetching tells of itself; every command's context is one. */
export interface HubListener {
  log(line: string): void;
  progress(options: { readonly label: string; readonly unit: 'bytes'; readonly total: number }): {
    update(done: number): void;
    finish(): void;
  };
  readonly signal: AbortSignal;
}

/** What only tests change. */
export interface HubSettings {
  /** Default the variables of the process. */
  readonly environment?: Environment;
  /** Waits between attempts. */
  readonly wait?: (ms: number) => Promise<void>;
}

/**
 * The folder of a base: `reference` itself, or where its files are when it names a repository on a hub.
 * @throws UsageError, FormatError or TransportError with what to do; the reason of the listener's signal.
 */
export async function resolveBaseFolder(
  reference: string,
  listener: HubListener,
  { environment = process.env, wait = (ms) => pause(ms) }: HubSettings = {},
): Promise<string> {
  if (!isHubReference(reference)) return reference;
  const wanted = parseHubReference(reference);
  const access = hubAccessOf(environment);
  const snapshots = snapshotsOf(cacheFolder(environment), access.endpoint, wanted);
  const isOffline = /^(1|true|yes|on)$/i.test(environment.HF_HUB_OFFLINE ?? '');
  let hub: Promise<Hub> | null = null;
  const connect = (): Promise<Hub> => (hub ??= openHub(access, listener.signal));
  const commit = await commitOf(wanted, { snapshots, listener, connect, isOffline });
  const pinned: HubReference = { ...wanted, revision: commit };
  if (await isWhole(pinned, snapshots, listener)) return snapshots.folderOf(commit);
  if (isOffline) throw notThere(pinned);
  const release = lockFolder(snapshots.folder, 'download');
  try {
    await fetchSnapshot(pinned, { snapshots, listener, hub: await connect(), wait });
  } finally {
    release();
  }
  return snapshots.folderOf(commit);
}

interface LookUp {
  readonly snapshots: Snapshots;
  readonly listener: HubListener;
  readonly connect: () => Promise<Hub>;
  readonly isOffline: boolean;
}

/** The commit that a revision means: as the hub says, or as it said last where it cannot be asked. */
async function commitOf(wanted: HubReference, { snapshots, listener, connect, isOffline }: LookUp): Promise<string> {
  const { revision } = wanted;
  if (isCommit(revision)) return revision;
  if (!isOffline) {
    try {
      const commit = await (await connect()).commitOf(wanted);
      await snapshots.remember(revision, commit);
      return commit;
    } catch (thrown) {
      const known = thrown instanceof TransportError ? await snapshots.commitOf(revision) : null;
      if (known === null) throw thrown;
      listener.log(`${(thrown as TransportError).message}; going on with what "${revision}" was last`);
      return known;
    }
  }
  const known = await snapshots.commitOf(revision);
  if (known === null) throw notThere(wanted);
  return known;
}

/** Whether all files of a commit are in the cache and what they were; those that are not any more have to be fetched again. */
async function isWhole(pinned: HubReference, snapshots: Snapshots, { log, signal }: HubListener): Promise<boolean> {
  const { revision: commit } = pinned;
  const files = await snapshots.manifest(commit);
  if (files === null) return false;
  const damaged = await snapshots.damaged(commit, files, signal);
  if (damaged.length > 0) {
    log(`${snapshots.folderOf(commit)}: ${damaged.join(', ')} changed since the download`);
    return false;
  }
  log(`${writeHubReference(pinned)}, from the cache`);
  return true;
}

interface Fetching {
  readonly snapshots: Snapshots;
  readonly listener: HubListener;
  readonly hub: Hub;
  readonly wait: (ms: number) => Promise<void>;
}

async function fetchSnapshot(pinned: HubReference, { snapshots, listener, hub, wait }: Fetching): Promise<void> {
  const { log, signal } = listener;
  const where = writeHubReference(pinned);
  const folder = snapshots.folderOf(pinned.revision);
  const listed = await hub.list(pinned);
  const kept: KeptFile[] = [];
  const fetchAll = async (files: readonly WantedFile[]): Promise<void> => {
    const total = files.reduce((sum, { size }) => sum + size, 0);
    const line = listener.progress({ label: where, unit: 'bytes', total });
    let before = 0;
    try {
      for (const file of files) {
        const onProgress = (bytes: number): void => line.update(before + bytes);
        kept.push(await downloadFile({ hub, reference: pinned, file, folder, signal, wait, onProgress }));
        before += file.size;
      }
    } finally {
      line.finish();
    }
  };
  const first = wantedFirst(listed, where);
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw storeError('write', folder, cause);
  });
  log(`${where}: fetching into ${folder}`);
  await fetchAll(first);
  if (first.some(({ name }) => name === indexName)) {
    const index = await readFile(join(folder, indexName));
    await fetchAll(wantedShards(index, listed, where));
  }
  await snapshots.complete(pinned.revision, kept);
}

function notThere(reference: HubReference): UsageError {
  return new UsageError(
    'not-in-cache',
    `${writeHubReference(reference)} is not in the cache, or changed since its download, and HF_HUB_OFFLINE forbids fetching it; run once without it`,
  );
}
