/** Which versions hold what a client contributed, and the way back to the last one that does not. */
import { UsageError } from '../../shared/core/errors.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { sourcesOf } from '../../shared/plan/phases.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { VersionRow } from '../store/store.ts';
import type { CheckedVersion } from './lineage.ts';
import { measureOf, phaseMeasure, placesOf, recordsOf, rolledBackTo, type VersionPlace } from './places.ts';

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

/**
 * Where the updates of a client, or of all keys of a site, went under the plan of their federation. Follows rollbacks: a version that is an earlier one again holds what that
 * one holds. The version that begins a phase holds what the versions hold that the phase takes its values from.
 */
export function contributionsOf(
  versions: readonly CheckedVersion[],
  clients: ClientId | readonly ClientId[],
  plan: Plan,
): Contributions {
  const keys = [clients].flat();
  const { phases = [] } = plan;
  const places = placesOf(versions.map(({ record }) => record));
  const holds: boolean[] = [];
  /** Whether the version that begins a phase is made of one that holds an update. */
  const begins = ({ index, results }: VersionPlace): boolean =>
    sourcesOf(plan, index).some(({ phase }) => holds[results[phases.findIndex(({ name }) => name === phase)]!]);
  const direct: number[] = [];
  for (const [version, one] of versions.entries()) {
    const again = rollbackOf(one);
    const isDirect = keys.some((clientId) => one.record.contributors.includes(clientId));
    if (isDirect) direct.push(version);
    const isFirst = measureOf(one.record, phaseMeasure) !== null;
    const before = version > 0 && holds[version - 1]!;
    holds.push(isDirect || (again !== null ? holds[again]! : isFirst ? begins(places[version]!) : before));
  }
  return { direct, all: [...holds.keys()].filter((version) => holds[version]) };
}

/** The versions that the latest one goes on from, and itself, oldest first: without what was taken back. */
function inEffect(versions: readonly CheckedVersion[]): CheckedVersion[] {
  const chain: CheckedVersion[] = [];
  for (let version = versions.length - 1; version >= 0; ) {
    const one = versions[version]!;
    chain.unshift(one);
    version = rollbackOf(one) ?? version - 1;
  }
  return chain;
}

/**
 * The last version before the first update of a client, or of any key of a site, among those that are in effect: what an earlier rollback took back stays so.
 * @throws UsageError `not-contributed`, `nothing-to-roll-back`.
 */
export function lastWithout(
  versions: readonly CheckedVersion[],
  clients: ClientId | readonly ClientId[],
): CheckedVersion {
  const keys = [clients].flat();
  const holds = ({ record }: CheckedVersion): boolean => keys.some((key) => record.contributors.includes(key));
  if (!versions.some(holds))
    throw new UsageError('not-contributed', `no version holds an update of client ${keys.join(', ')}`);
  const chain = inEffect(versions);
  const first = chain.findIndex(holds);
  if (first > 0) return chain[first - 1]!;
  const latest = versions.length - 1;
  throw new UsageError(
    'nothing-to-roll-back',
    `version ${latest}, the latest, holds no update of this client any more`,
  );
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
