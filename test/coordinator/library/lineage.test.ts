import { strict as assert } from 'node:assert';
import { checkLineage, readAdapter } from '../../../coordinator/library/lineage.ts';
import { makeInitialVersion } from '../../../coordinator/library/publish.ts';
import type { CoordinatorState } from '../../../coordinator/store/state.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import type { FederationRecord, VersionRow } from '../../../coordinator/store/store.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from '../harness.ts';

describe('lineage of versions', () => {
  afterEach(closeWorlds);
  let state: CoordinatorState;
  let rows: readonly VersionRow[];
  let federation: FederationRecord;
  before(async () => {
    state = memoryState(seededEntropy(1));
    const plan = testPlan({ rounds: { cohortSize: 1, quorum: 1 }, evaluation: { everyRounds: 0 } });
    const world = await startWorld({ plan, state });
    const client = await joinClient(world, 11);
    for (let round = 0; round < 2; round++) {
      await client.accept();
      await client.upload(Float32Array.of(1, 2, round));
      await settled();
    }
    rows = await world.coordinator.versions();
    federation = (await state.store.federation())!;
  });
  const check = (changed: readonly VersionRow[], coordinatorKey = state.identity.publicKey, of = federation) =>
    checkLineage(changed, { coordinatorKey, federation: of });
  const damaged = (index: number, changes: Partial<VersionRow>) => () =>
    check(rows.with(index, { ...rows[index]!, ...changes }));

  it('[LIN-1] that is whole is accepted, and every adapter has the bytes that were signed', async () => {
    const checked = check(rows);
    assert.deepEqual(
      checked.map(({ record }) => record.versionIndex),
      [0, 1, 2],
    );
    assert.equal(checked[0]!.record.parentModelHash, null);
    for (const [index, { record }] of checked.entries())
      if (index > 0) assert.equal(record.parentModelHash, checked[index - 1]!.record.modelHash);
    for (const version of checked) assert.equal((await readAdapter(version, state.blobs)).length, 12);
  });

  it('[LIN-2] with another key, a changed record or signature, or a row that says something else, names the version', () => {
    assert.throws(() => check(rows, seededIdentity()), { code: 'version-damaged', message: /version 0/ });
    const record = rows[1]!.record;
    assert.throws(damaged(1, { record: `ff${record.slice(2)}` }), {
      code: 'version-damaged',
      message: /version 1/,
    });
    assert.throws(damaged(1, { signature: '00'.repeat(64) }), { code: 'version-damaged' });
    for (const changes of [
      { roundIndex: 7 },
      { adapter: rows[2]!.adapter },
      { modelHash: rows[2]!.modelHash },
      { version: 5 },
    ])
      assert.throws(damaged(1, changes), { code: 'version-damaged' }, JSON.stringify(changes));
  });

  it('[LIN-3] with a version missing, twice, in another order or of another federation is refused', () => {
    const [zero, one, two] = rows as [VersionRow, VersionRow, VersionRow];
    for (const wrong of [
      [zero, two],
      [one, two],
      [zero, one, one],
      [zero, two, one],
    ])
      assert.throws(() => check(wrong), { code: 'version-damaged' });
    const other = 'dd'.repeat(32) as never;
    for (const changes of [{ federationId: other }, { planHash: other }, { baseDigest: other }, { layoutHash: other }])
      assert.throws(() => check(rows, state.identity.publicKey, { ...federation, ...changes }), {
        code: 'version-damaged',
      });
  });

  it('[LIN-4] a version that grew on another parent is refused, though the coordinator signed both', () => {
    const { identity } = state;
    const plan = testPlan();
    const lineage = { identity, plan, record: federation, publishedMs: 1 };
    const fork = makeInitialVersion(lineage, rows[1]!.adapter, rows[1]!.modelHash);
    assert.throws(() => check([fork, ...rows.slice(1)]), { message: /version 1 .*its parent/ });
  });

  it('[LIN-5] an adapter whose bytes are gone or do not have the signed model hash is not given out', async () => {
    const [, version] = check(rows);
    await assert.rejects(readAdapter(version!, memoryState(seededEntropy(2)).blobs), { code: 'blob-missing' });
    const record = { ...version!.record, baseDigest: 'dd'.repeat(32) as never };
    await assert.rejects(readAdapter({ ...version!, record }, state.blobs), { code: 'version-damaged' });
  });

  function seededIdentity(): Uint8Array {
    const { publicKey } = memoryState(seededEntropy(9)).identity;
    assert.notEqual(toHex(publicKey), toHex(state.identity.publicKey));
    return publicKey;
  }
});
