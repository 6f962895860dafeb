/** What versions say of themselves by name, for the rounds after them. */
import { fromHex } from '../../shared/core/bytes.ts';
import { openVersionRecord, type VersionRecord } from '../../shared/protocol/version-record.ts';
import type { VersionRow } from '../store/store.ts';
import { placesOf, recordsOf } from './places.ts';

/**
 * The newest record of the adapter in effect that says what `read` looks for: of a version that is an earlier one again, the earlier one's.
 * Of a plan of phases only the phase in effect is asked: what an earlier one measured, of other rows, says nothing about it, even where it begins
 * with the very same adapter. `rows` are oldest first, at least one.
 */
export function saidOfLatest<Value>(
  rows: readonly VersionRow[],
  coordinatorKey: Uint8Array,
  read: (record: VersionRecord) => Value | null,
): Value | null {
  const latest = rows.at(-1);
  const places = placesOf(recordsOf(rows, coordinatorKey));
  for (const [version, row] of [...rows.entries()].toReversed()) {
    if (row.modelHash !== latest?.modelHash || places[version] !== places.at(-1)) continue;
    const opened = openVersionRecord(coordinatorKey, {
      record: fromHex(row.record),
      signature: fromHex(row.signature),
    });
    const value = opened.ok ? read(opened.value) : null;
    if (value !== null) return value;
  }
  return null;
}
