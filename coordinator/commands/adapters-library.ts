/** The published versions of a state folder, checked, for the commands that look at them. */
import { UsageError } from '../../shared/core/errors.ts';
import { type CheckedVersion, checkLineage } from '../library/lineage.ts';
import { phaseNamesOf } from '../library/places.ts';
import type { CoordinatorState } from '../store/state.ts';
import { openExistingState } from '../store/state.ts';
import type { FederationRecord } from '../store/store.ts';

/** A library. */
export interface Library extends CoordinatorState {
  readonly record: FederationRecord;
  /** All versions, oldest first, with checked signatures and parents. */
  readonly versions: readonly CheckedVersion[];
  /** The name of every version's phase, null in a plan without phases. */
  readonly phaseNames: readonly (string | null)[];
}

/** Opens the library of a state folder for `action`. @throws UsageError; StoreError `version-damaged`. */
export async function withLibrary<Value>(folder: string, action: (library: Library) => Promise<Value>): Promise<Value> {
  const state = await openExistingState(folder);
  try {
    const rows = await state.store.versions();
    const coordinatorKey = state.identity.publicKey;
    const versions = checkLineage(rows, { coordinatorKey, federation: state.record });
    const phaseNames = phaseNamesOf(
      state.record,
      versions.map(({ record }) => record),
    );
    return await action({ ...state, versions, phaseNames });
  } finally {
    await state.close();
  }
}

/** The version that `text` names, the latest without it. @throws UsageError `no-such-version`. */
export function pick(versions: readonly CheckedVersion[], text: string | undefined): CheckedVersion {
  const found = text === undefined ? versions.at(-1) : /^\d+$/.test(text) ? versions[Number(text)] : undefined;
  if (found !== undefined) return found;
  const range = versions.length === 0 ? 'there is none yet' : `there are 0 to ${versions.length - 1}`;
  throw new UsageError('no-such-version', `there is no version ${text ?? ''}; ${range}`);
}

/** A version as JSON. */
export const documentOf = ({ row, record }: CheckedVersion) => ({
  version: record.versionIndex,
  roundIndex: record.round?.roundIndex ?? null,
  published: new Date(record.createdAtMs).toISOString(),
  modelHash: record.modelHash,
  parentModelHash: record.parentModelHash,
  adapterDigest: record.adapterDigest,
  federationId: record.federationId,
  baseDigest: record.baseDigest,
  planHash: record.planHash,
  layoutHash: record.layoutHash,
  roundHash: record.round?.roundHash ?? null,
  transcriptHash: record.round?.transcriptHash ?? null,
  aggregationRule: record.aggregationRule,
  contributors: record.contributors,
  cohort: record.cohort,
  rejections: record.rejections,
  totalWeight: record.totalWeight,
  metrics: record.metrics,
  measures: record.measures,
  privacy: record.privacy,
  signature: row.signature,
});
/** {@link documentOf} a version. */
export type VersionDocument = ReturnType<typeof documentOf>;
