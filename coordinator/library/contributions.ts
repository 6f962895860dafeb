/** Which versions hold what a client contributed, and the way back to the last one that does not. */
import { UsageError } from '../../shared/core/errors.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { VersionRow } from '../store/store.ts';
import type { CheckedVersion } from './lineage.ts';
import { measureOf, phaseMeasure, recordsOf, rolledBackTo } from './places.ts';

/** The version that a version is again, or null for one that a round made. */
function rollbackOf({ record }: Pick<CheckedVersion, 'record'>): number | null {
  return measureOf(record, rolledBackTo);
}

/** Versions with an update of a client, and those that build on them; both ascending. */
export interface Contributions {
  readonly direct: readonly number[];
  /** Every version whose values depend on an update of the client. */
  readonly all: readonly number[];
}

/** Where the updates of a client went. Follows rollbacks: a version that is an earlier one again holds what that one holds. */
export function contributionsOf(versions: readonly CheckedVersion[], clientId: ClientId): Contributions {
  const holds: boolean[] = [];
  const direct: number[] = [];
  for (const [version, one] of versions.entries()) {
    const again = rollbackOf(one);
    const isDirect = one.record.contributors.includes(clientId);
    if (isDirect) direct.push(version);
    holds.push(isDirect || (again !== null ? holds[again]! : version > 0 && holds[version - 1]!));
  }
  return { direct, all: [...holds.keys()].filter((version) => holds[version]) };
}

/** The last version before the first update of a client. @throws UsageError `not-contributed`. */
export function lastWithout(versions: readonly CheckedVersion[], clientId: ClientId): CheckedVersion {
  const { direct } = contributionsOf(versions, clientId);
  const [first] = direct;
  if (first === undefined) throw new UsageError('not-contributed', `no version holds an update of client ${clientId}`);
  return versions[first - 1]!;
}

/** Published rounds of the phase in hand whose values are still in the latest version: what a federation goes on counting from. */
export function roundsInEffect(rows: readonly VersionRow[], coordinatorKey: Uint8Array): number {
  const counts: number[] = [];
  for (const [version, record] of recordsOf(rows, coordinatorKey).entries()) {
    const again = measureOf(record, rolledBackTo);
    const isFirst = version === 0 || measureOf(record, phaseMeasure) !== null;
    counts.push(again !== null ? counts[again]! : isFirst ? 0 : counts[version - 1]! + 1);
  }
  return counts.at(-1) ?? 0;
}
