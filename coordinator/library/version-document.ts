/** A published version as an adapter document, with its signed record as lineage. */
import { type AdapterDocument, createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import type { BlobStore } from '../../shared/core/ports.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { type AdapterLayout, layoutOf } from '../../shared/update/layout.ts';
import type { FederationRecord } from '../store/store.ts';
import { type CheckedVersion, readAdapter } from './lineage.ts';
import { placesOf, planOfVersion } from './places.ts';

/** What versions of a federation are read with. */
export interface VersionSource {
  readonly record: Pick<FederationRecord, 'plan' | 'tensors'>;
  /** All versions, oldest first. */
  readonly versions: readonly CheckedVersion[];
  readonly base: BaseDescription;
}

/** What a version is, without its values. */
export interface VersionFacts {
  readonly plan: Plan;
  readonly adapter: Plan['adapter'];
  readonly layout: AdapterLayout;
}

/** The plan under which `version` was made, and what its values are of. */
export function factsOfVersion({ record, versions, base }: VersionSource, version: CheckedVersion): VersionFacts {
  const whole = parsePlan(JSON.parse(record.plan), 'the plan of the federation');
  const place = placesOf(versions.map(({ record: own }) => own))[version.record.versionIndex]!;
  const plan = planOfVersion(
    whole,
    place,
    versions.map(({ row }) => row),
  );
  const { published } = planAdapters(plan, base);
  const layout = whole.phases === undefined ? layoutOf(record.tensors) : published.layout;
  return { plan, adapter: published.adapter.configuration, layout };
}

/** The document of `version`. @throws StoreError as `readAdapter` does. */
export async function documentOfVersion(
  source: VersionSource,
  version: CheckedVersion,
  { blobs, coordinatorKey }: { readonly blobs: BlobStore; readonly coordinatorKey: Uint8Array },
): Promise<{ readonly document: AdapterDocument; readonly plan: Plan }> {
  const parameters = float32Of(await readAdapter(version, blobs));
  const { plan, adapter, layout } = factsOfVersion(source, version);
  const { record, signature } = version.row;
  const lineage = { record, signature, coordinatorKey: toHex(coordinatorKey) };
  const document = createAdapterDocument({ base: source.base, adapter, task: plan.task, layout, parameters, lineage });
  return { document, plan };
}
