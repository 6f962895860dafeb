/** Checks published versions as a stranger would: signatures, the chain of parents, and the bytes of an adapter against what was signed. */
import { fromHex } from '../../shared/core/bytes.ts';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { BlobStore } from '../../shared/core/ports.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import type { VersionRecord } from '../../shared/protocol/version-record.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';
import { modelHashOf } from '../../shared/update/model-hash.ts';
import type { FederationRecord, VersionRow } from '../store/store.ts';
import { placesOf, planHashesOf, recordsOf } from './places.ts';

/** A stored version whose record is signed and whose parent is the version before it. */
export interface CheckedVersion {
  readonly row: VersionRow;
  readonly record: VersionRecord;
}

const damaged = (version: number, what: string): StoreError =>
  new StoreError('version-damaged', `version ${version} is damaged: ${what}; restore the state folder from a backup`);

/**
 * Opens all `rows`, oldest first: every record is signed by `coordinatorKey`, belongs to the federation, is what its row says, and names the
 * version before it as its parent. Where the plan has phases, each is under the plan of its phase, which follows from what was published
 * before, and of one layout with the others of its phase.
 * @throws StoreError `version-damaged` at the first version that does not hold.
 */
export function checkLineage(
  rows: readonly VersionRow[],
  { coordinatorKey, federation }: { readonly coordinatorKey: Uint8Array; readonly federation: FederationRecord },
): CheckedVersion[] {
  const checked: CheckedVersion[] = [];
  const expected = expectationsOf(rows, coordinatorKey, federation);
  for (const [index, row] of rows.entries()) {
    const opened = openVersionRecord(coordinatorKey, {
      record: fromHex(row.record),
      signature: fromHex(row.signature),
    });
    if (!opened.ok) throw damaged(row.version, opened.error.detail);
    const record = opened.value;
    const pairs = [
      ['its number', row.version, index],
      ['its signed number', record.versionIndex, index],
      ['its round', record.round?.roundIndex ?? -1, row.roundIndex],
      ['its adapter', record.adapterDigest, row.adapter],
      ['its model hash', record.modelHash, row.modelHash],
      ['its parent', record.parentModelHash, checked.at(-1)?.record.modelHash ?? null],
      ['its federation', record.federationId, federation.federationId],
      ['its base', record.baseDigest, federation.baseDigest],
      ['its plan', record.planHash, expected[index]!.planHash],
      ['its layout', record.layoutHash, expected[index]!.layoutHash ?? record.layoutHash],
    ] as const;
    for (const [what, found, expected] of pairs) {
      if (found !== expected) throw damaged(row.version, `${what} is ${found}, expected ${expected}`);
    }
    checked.push({ row, record });
  }
  return checked;
}

/** By version: the hash of its plan, and that of its layout, which is known but for the first version of a later phase. */
function expectationsOf(
  rows: readonly VersionRow[],
  coordinatorKey: Uint8Array,
  { planHash, layoutHash, plan }: FederationRecord,
): { readonly planHash: Digest; readonly layoutHash: Digest | null }[] {
  if (!plan.includes('"phases"')) return rows.map(() => ({ planHash, layoutHash }));
  const document = parsePlan(JSON.parse(plan), 'the plan of the federation');
  const records = recordsOf(rows, coordinatorKey);
  const places = placesOf(records);
  const layouts = new Map<object, Digest>();
  return planHashesOf(document, places, rows).map((hash, version) => {
    const place = places[version]!;
    const known = place.index === 0 ? layoutHash : (layouts.get(place) ?? null);
    layouts.set(place, known ?? records[version]!.layoutHash);
    return { planHash: hash, layoutHash: known };
  });
}

/** The bytes of a checked version: those whose digest and model hash were signed. @throws StoreError when they are missing or damaged. */
export async function readAdapter({ row, record }: CheckedVersion, blobs: BlobStore): Promise<Uint8Array> {
  const bytes = await blobs.get(record.adapterDigest);
  if (modelHashOf(record.baseDigest, bytes) === record.modelHash) return bytes;
  throw damaged(row.version, 'base and adapter do not have the signed model hash');
}
