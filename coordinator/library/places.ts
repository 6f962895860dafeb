/**
 * To which phase of its plan every version belongs, read off the versions alone: the first version of a later phase says so in its signed measures.
 * A version that is an earlier one again belongs where that one does, so that a federation that was rolled back goes on in the phase of its target.
 */
import { assert } from '../../shared/core/assert.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { type PhasePlace, planOfPhase } from '../../shared/plan/phases.ts';
import { type Plan, parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import { openVersionRecord, type VersionRecord } from '../../shared/protocol/version-record.ts';
import type { FederationRecord, VersionRow } from '../store/store.ts';

/** Names of the measures by which a version says that it is an earlier one again, that it begins a phase, and with which round. */
export const rolledBackTo = 'rolled-back-to';
/** As above. */
export const phaseMeasure = 'phase';
/** As above. */
export const firstRoundMeasure = 'phase-first-round';

type Measured = Pick<VersionRecord, 'measures' | 'layoutHash'>;

/** The value of a measure, or null without it. */
export function measureOf({ measures }: Pick<Measured, 'measures'>, name: string): number | null {
  return measures.find((measure) => measure.name === name)?.value ?? null;
}

/** Where a version stands: its phase, and the last version of every phase before. */
export interface VersionPlace {
  readonly index: number;
  readonly firstRound: number;
  readonly results: readonly number[];
}

/** The places of versions, oldest first. */
export function placesOf(records: readonly Pick<Measured, 'measures'>[]): VersionPlace[] {
  const places: VersionPlace[] = [];
  for (const record of records) {
    const before = places.at(-1) ?? { index: 0, firstRound: 0, results: [] };
    const again = measureOf(record, rolledBackTo);
    const index = measureOf(record, phaseMeasure);
    if (again !== null) places.push(places[again] ?? before);
    else if (index === null) places.push(before);
    else {
      const firstRound = measureOf(record, firstRoundMeasure) ?? 0;
      places.push({ index, firstRound, results: [...before.results, places.length - 1] });
    }
  }
  return places;
}

/** The place in the words of a plan. */
export function planPlaceOf(
  { phases = [] }: Plan,
  { index, firstRound, results }: VersionPlace,
  rows: readonly Pick<VersionRow, 'modelHash'>[],
): PhasePlace {
  return {
    index,
    firstRound,
    results: results.map((version, phase) => {
      const [named, row] = [phases[phase], rows[version]];
      assert(named !== undefined && row !== undefined, 'a phase begins after those before it');
      return { phase: named.name, content: row.modelHash };
    }),
  };
}

/** The plan under which a version was made: the federation's, or that of the version's phase. */
export function planOfVersion(
  document: Plan,
  place: VersionPlace,
  rows: readonly Pick<VersionRow, 'modelHash'>[],
): Plan {
  return document.phases === undefined ? document : planOfPhase(document, planPlaceOf(document, place, rows));
}

/** Hashes of the plans under which versions were made, one by one. */
export function planHashesOf(
  document: Plan,
  places: readonly VersionPlace[],
  rows: readonly Pick<VersionRow, 'modelHash'>[],
): Digest[] {
  const known = new Map<VersionPlace, Digest>();
  return places.map((place) => {
    const hash = known.get(place) ?? planHashOf(planOfVersion(document, place, rows));
    known.set(place, hash);
    return hash;
  });
}

/** The phases of versions by name; null for every one where the plan has none. */
export function phaseNamesOf(
  { plan }: Pick<FederationRecord, 'plan'>,
  records: readonly Pick<Measured, 'measures'>[],
): (string | null)[] {
  if (!plan.includes('"phases"')) return records.map(() => null);
  const { phases = [] } = parsePlan(JSON.parse(plan), 'the plan of the federation');
  return placesOf(records).map(({ index }) => phases[index]?.name ?? null);
}

/** The records of rows; nothing is measured in one whose signature does not hold. */
export function recordsOf(rows: readonly VersionRow[], coordinatorKey: Uint8Array): Measured[] {
  return rows.map(({ record, signature }) => {
    const opened = openVersionRecord(coordinatorKey, { record: fromHex(record), signature: fromHex(signature) });
    return opened.ok ? opened.value : { measures: [], layoutHash: '' as Digest };
  });
}
