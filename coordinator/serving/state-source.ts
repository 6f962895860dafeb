/** The versions of a federation in the state folder of its coordinator, which may run beside: what it publishes is served from the next look on. */
import { UsageError } from '../../shared/core/errors.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { type CheckedVersion, checkLineage } from '../library/lineage.ts';
import { documentOfVersion, factsOfVersion } from '../library/version-document.ts';
import { openExistingState } from '../store/state.ts';
import type { AdapterSource, ServedAdapter, ServedVersion } from './catalogue.ts';
import { lineageFacts } from './lineage-facts.ts';

/** What {@link stateSource} needs. */
export interface StateSourceOptions {
  readonly folder: string;
  /** Null for the name of the plan, in small letters with hyphens. */
  readonly name: string | null;
  readonly base: BaseDescription;
}

/** Opens the state. Looking @throws StoreError `version-damaged`. @throws UsageError `no-federation`, `wrong-base`. */
export async function stateSource({ folder, name, base }: StateSourceOptions): Promise<AdapterSource> {
  const { store, blobs, identity, record, close } = await openExistingState(folder);
  const coordinatorKey = identity.publicKey;
  if (record.baseDigest !== base.digest) {
    await close();
    throw new UsageError(
      'wrong-base',
      `the federation in ${folder} trains on the base with digest ${record.baseDigest}, found the ${base.family} with digest ${base.digest}; give its folder as --base`,
    );
  }
  const called = name ?? nameOf(parsePlan(JSON.parse(record.plan), folder).name);
  let known: { readonly latest: string; readonly adapter: ServedAdapter } | null = null;
  const versionOf = (versions: readonly CheckedVersion[], version: CheckedVersion): ServedVersion => {
    const source = { record, versions, base };
    return {
      key: `${record.federationId} ${version.record.versionIndex}`,
      version: `${version.record.versionIndex}`,
      modelHash: version.record.modelHash,
      lineage: lineageFacts(version.record, coordinatorKey),
      facts: () => {
        const { plan, adapter, layout } = factsOfVersion(source, version);
        return { adapter, task: plan.task, dim: layout.dim };
      },
      read: async () => (await documentOfVersion(source, version, { blobs, coordinatorKey })).document,
    };
  };
  return {
    look: async () => {
      const latest = await store.latestVersion();
      const stamp = `${latest?.version} ${latest?.signature}`;
      if (known?.latest === stamp) return [known.adapter];
      const versions = checkLineage(await store.versions(), { coordinatorKey, federation: record });
      if (versions.length === 0) throw new UsageError('no-version', `${folder} holds no published version yet`);
      const adapter = { name: called, versions: versions.map((version) => versionOf(versions, version)) };
      known = { latest: stamp, adapter };
      return [adapter];
    },
    close,
  };
}

function nameOf(title: string): string {
  const plain = title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 60);
  return plain === '' ? 'federation' : plain;
}
