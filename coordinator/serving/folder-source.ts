/**
 * Adapters in folders: one that holds an adapter, or one whose folders do, each under its own name. Of an adapter only the manifest is read
 * until it is asked for; whoever writes another adapter into the folder publishes it.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { readAdapterFolder, readManifest } from '../../shared/adapters/adapter-folder.node.ts';
import type { AdapterManifest } from '../../shared/adapters/adapter-manifest.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';
import type { AdapterSource, ServedAdapter, ServedBase, ServedVersion } from './catalogue.ts';
import { servedNames } from './catalogue.ts';
import { lineageFacts } from './lineage-facts.ts';

/** What {@link folderSource} needs. */
export interface FolderSourceOptions {
  readonly folder: string;
  /** Null for the name of the folder. */
  readonly name: string | null;
  readonly base: ServedBase;
  /** Told about adapters that cannot be served beside others that can. */
  readonly onFault: (sentence: string) => void;
}

/** Digits of a model hash that name a version. */
const versionDigits = 12;

interface Known {
  /** Changes with the manifest, which is written last. */
  readonly stamp: string;
  readonly adapter: ServedAdapter | null;
}

/** A source over `folder`. Looking @throws UsageError and FormatError where there is no adapter, or the only one cannot be served. */
export function folderSource({ folder, name, base, onFault }: FolderSourceOptions): AdapterSource {
  const known = new Map<string, Known>();
  const stampOf = async (path: string): Promise<string | null> => {
    const found = await stat(join(path, 'adapter.json')).catch(() => null);
    return found === null ? null : `${found.mtimeMs} ${found.size} ${found.ino}`;
  };
  const lookAt = async (path: string, called: string, stamp: string): Promise<ServedAdapter> => {
    const before = known.get(path);
    if (before?.stamp === stamp && before.adapter !== null) return before.adapter;
    if (!servedNames.test(called))
      throw new UsageError(
        'bad-name',
        `${path}: a name has letters, digits, ., - and _, found ${called}; give NAME=FOLDER`,
      );
    const manifest = await readManifest(path, base);
    const adapter = { name: called, versions: [versionIn(path, stamp, manifest)] };
    known.set(path, { stamp, adapter });
    return adapter;
  };
  const below = async (): Promise<readonly ServedAdapter[]> => {
    const names = await readdir(folder).catch((cause: unknown) => {
      throw new UsageError('unreadable-file', `${folder} cannot be read: ${errorMessage(cause)}`, { cause });
    });
    const found: ServedAdapter[] = [];
    for (const called of names.sort()) {
      const path = join(folder, called);
      const stamp = await stampOf(path);
      if (stamp === null) continue;
      try {
        found.push(await lookAt(path, called, stamp));
      } catch (thrown) {
        // Told once for each state of the folder.
        if (known.get(path)?.stamp !== stamp) onFault(errorMessage(thrown));
        known.set(path, { stamp, adapter: null });
      }
    }
    if (found.length === 0)
      throw new UsageError(
        'no-adapter',
        `${folder} holds no adapter that can be served: expected adapter.json in it, or in folders of it`,
      );
    return found;
  };
  return {
    look: async () => {
      const stamp = await stampOf(folder);
      if (stamp === null && name === null) return below();
      return [await lookAt(folder, name ?? basename(resolve(folder)), stamp ?? '')];
    },
    close: async () => undefined,
  };

  function versionIn(path: string, stamp: string, manifest: AdapterManifest): ServedVersion {
    const { modelHash, adapter, task, layout } = manifest;
    return {
      key: `${path} ${stamp}`,
      version: modelHash.slice(0, versionDigits),
      modelHash,
      lineage: lineageIn(manifest),
      facts: () => ({ adapter, task, dim: layout.dim }),
      read: async () => {
        const document = await readAdapterFolder(path, { base });
        if (document.modelHash === modelHash) return document;
        throw new UsageError('version-replaced', `${path} holds another adapter by now; ask again for the latest`);
      },
    };
  }
}

function lineageIn({ lineage }: AdapterManifest): ServedVersion['lineage'] {
  if (lineage === null) return null;
  const key = fromHex(lineage.coordinatorKey);
  const opened = openVersionRecord(key, { record: fromHex(lineage.record), signature: fromHex(lineage.signature) });
  return opened.ok ? lineageFacts(opened.value, key) : null;
}
