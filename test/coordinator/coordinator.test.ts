import { strict as assert } from 'node:assert';
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeEvent } from '../../coordinator/commands/describe-event.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { float32Of, fromHex } from '../../shared/core/bytes.ts';
import { type ClientId, parseDigest } from '../../shared/core/ids.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';
import { binaryCounts } from '../helpers/evaluation-counts.ts';
import type { FakeClient } from './fake-client.ts';
import { joinClient } from './fake-client.ts';
import type { World } from './harness.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, until } from './harness.ts';

const counts = (correct: number, total: number) => {
  const { exampleCount: _, ...metrics } = binaryCounts(correct, total);
  return metrics;
};

/** Accepts, uploads and evaluates for every client. */
async function playRound(
  clients: readonly FakeClient[],
  deltaOf: (index: number) => number[],
  evaluates = true,
): Promise<void> {
  const heardOf = (client: FakeClient, event: string): number => client.heard.filter((other) => other === event).length;
  const published = heardOf(clients[0]!, 'result');
  await until(() => clients.every((client) => heardOf(client, 'offer') > published));
  for (const client of clients) assert.deepEqual(await client.accept(), { ok: true, value: { ok: true } });
  for (const [index, client] of clients.entries()) {
    const receipt = await client.upload(Float32Array.from(deltaOf(index)), 10 * (index + 1));
    assert.ok(receipt.ok, JSON.stringify(receipt));
  }
  if (evaluates) {
    await until(() => clients.every(({ evaluations }) => evaluations.length > published));
    for (const client of clients) assert.ok((await client.evaluate(counts(8, 10), 10)).ok);
  }
  await until(() => clients.every((client) => heardOf(client, 'result') > published));
}

const finished = (world: World) => world.events.find((event) => event.type === 'ended');

describe('coordinator', () => {
  const folders: string[] = [];
  afterEach(closeWorlds);
  after(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
  const newFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'tributary-coordinator-'));
    folders.push(folder);
    return folder;
  };

  it('[CRD-1] runs a federation to its end: signed versions with lineage, pooled metrics, a result for everybody', async () => {
    const world = await startWorld();
    const clients = [await joinClient(world, 11), await joinClient(world, 12)];
    await playRound(clients, (index) => [index, 1, 0]);
    await playRound(clients, () => [1, 0, 0]);
    assert.deepEqual(await world.coordinator.ended, {
      status: 'completed',
      detail: '2 of 2 rounds published, all clients that were asked contributed',
    });
    const versions = await world.coordinator.versions();
    assert.deepEqual(
      versions.map(({ version, roundIndex }) => [version, roundIndex]),
      [
        [0, -1],
        [1, 0],
        [2, 1],
      ],
    );
    // Weights 10 and 20: (10 * 0 + 20 * 1) / 30, then plus 1.
    const values = [...float32Of(await world.coordinator.adapter(versions[2]!))];
    assert.deepEqual(values, [Math.fround(Math.fround(2 / 3) + 1), 1, 0]);
    const code = parseEnrolmentCode(await world.coordinator.invite({ organisation: 'x', url: 'http://h' }));
    const record = openVersionRecord(code.coordinatorKey, {
      record: fromHex(versions[2]!.record),
      signature: fromHex(versions[2]!.signature),
    });
    assert.ok(record.ok);
    assert.equal(record.value.parentModelHash, versions[1]!.modelHash);
    assert.deepEqual(record.value.contributors, clients.map(({ identity }) => identity.clientId).sort());
    assert.equal(record.value.metrics?.accuracy, 0.8);
    assert.equal(clients[0]!.results[1]?.newModelHash, versions[2]!.modelHash);
    assert.deepEqual(clients[1]!.heard, [
      'welcome',
      'offer',
      'evaluate',
      'result',
      'offer',
      'evaluate',
      'result',
      'finished',
    ]);
  });

  it('[CRD-2] a bad update is refused with its reason and counted, and the round goes on', async () => {
    const world = await startWorld({ plan: testPlan({ rounds: { count: 1 } }) });
    const clients = [await joinClient(world, 11), await joinClient(world, 12)];
    for (const client of clients) await client.accept();
    const refused = await clients[0]!.upload(Float32Array.of(1, Number.NaN, 3));
    assert.equal(!refused.ok && refused.error.code, 'non-finite');
    const short = await clients[0]!.upload(Float32Array.of(1, 2));
    assert.equal(!short.ok && short.error.code, 'wrong-length');
    const first = await clients[0]!.upload(Float32Array.of(1, 2, 3));
    assert.equal(!first.ok && first.error.code, 'conflicting-update');
  });

  it('[CRD-3] repeated frames get their first answer; the same commit gives the same receipt; an old sequence number is refused', async () => {
    const world = await startWorld();
    const [client] = [await joinClient(world, 11), await joinClient(world, 12)];
    const frame = client.seal('accept', { roundHash: client.offer().roundHash });
    assert.ok((await client.call('accept', frame)).ok);
    assert.ok((await client.call('accept', frame)).ok);
    const receipt = await client.upload(Float32Array.of(1, 2, 3));
    const again = await client.plain('commit', { roundHash: client.offer().roundHash });
    assert.deepEqual(again, receipt);
    for (let count = 0; count < 4; count++) await client.accept();
    const replayed = await client.call('accept', frame);
    assert.equal(!replayed.ok && replayed.error.code, 'replayed-sequence');
  });

  it('[CRD-4] another body from the same client is a conflict and is counted in the version', async () => {
    const world = await startWorld({ plan: testPlan({ rounds: { count: 1 }, evaluation: { everyRounds: 0 } }) });
    const clients = [await joinClient(world, 11), await joinClient(world, 12)];
    for (const client of clients) await client.accept();
    await clients[0]!.upload(Float32Array.of(1, 2, 3));
    const second = await clients[0]!.upload(Float32Array.of(9, 9, 9));
    assert.equal(!second.ok && second.error.code, 'conflicting-update');
    await clients[1]!.upload(Float32Array.of(1, 2, 3));
    await settled();
    assert.equal(finished(world)?.type, 'ended');
    const [, version] = await world.coordinator.versions();
    const { coordinatorKey } = parseEnrolmentCode(
      await world.coordinator.invite({ organisation: 'x', url: 'http://h' }),
    );
    const record = openVersionRecord(coordinatorKey, {
      record: fromHex(version!.record),
      signature: fromHex(version!.signature),
    });
    assert.deepEqual(record.ok && record.value.rejections, [{ code: 'conflicting-update', count: 1 }]);
    assert.deepEqual([...float32Of(await world.coordinator.adapter(version!))], [1, 2, 3]);
  });

  it('[CRD-5] a late client does not hold the round: completed with 2 of 3', async () => {
    const plan = testPlan({ rounds: { count: 1, cohortSize: 3 }, evaluation: { everyRounds: 0 } });
    const world = await startWorld({ plan });
    const clients = [await joinClient(world, 11), await joinClient(world, 12), await joinClient(world, 13)];
    for (const client of clients) await client.accept();
    await clients[0]!.upload(Float32Array.of(3, 0, 0), 10);
    await clients[2]!.upload(Float32Array.of(0, 3, 0), 20);
    await world.clock.advance(60_000);
    const late = await clients[1]!.upload(Float32Array.of(9, 9, 9));
    assert.equal(!late.ok && late.error.code, 'stale-round');
    assert.deepEqual(await world.coordinator.ended, {
      status: 'completed',
      detail: '1 of 1 rounds published, 1 with fewer clients than asked (fewest 2 of 3)',
    });
    const [, version] = await world.coordinator.versions();
    assert.deepEqual([...float32Of(await world.coordinator.adapter(version!))], [1, 2, 0]);
  });

  it('[CRD-6] chunk-resume: chunks of a large delta may come in any order, again and corrupt; only what is missing is asked for', async () => {
    const dim = 150_000;
    const world = await startWorld({
      dim,
      plan: testPlan({ rounds: { count: 1, cohortSize: 1, quorum: 1 }, evaluation: { everyRounds: 0 } }),
    });
    const client = await joinClient(world, 11);
    await client.accept();
    const delta = Float32Array.from({ length: dim }, (_, index) => index / 7);
    const bytes = new Uint8Array(delta.buffer);
    const { roundHash } = client.offer();
    const update = client.announcement(delta);
    const announced = await client.call('update', client.seal('update', update));
    assert.deepEqual(announced.ok && announced.value.missing, [0, 1, 2]);
    const part = (index: number) => bytes.subarray(index * 262_144, (index + 1) * 262_144);
    const wrong = await client.plain('upload-chunk', { roundHash, index: 1 }, part(0));
    assert.equal(!wrong.ok && wrong.error.code, 'chunk-mismatch');
    assert.ok((await client.plain('upload-chunk', { roundHash, index: 2 }, part(2))).ok);
    const early = await client.plain('commit', { roundHash });
    assert.equal(!early.ok && early.error.code, 'missing-chunks');
    client.leave();
    await client.connect();
    const resumed = await client.call('update', client.seal('update', update));
    assert.deepEqual(resumed.ok && resumed.value.missing, [0, 1]);
    for (const index of [1, 0, 1])
      assert.ok((await client.plain('upload-chunk', { roundHash, index }, part(index))).ok);
    assert.ok((await client.plain('commit', { roundHash })).ok);
    await settled();
    const [, version] = await world.coordinator.versions();
    assert.deepEqual(float32Of(await world.coordinator.adapter(version!)), delta);
  });

  it('[CRD-7] a killed coordinator goes on with the next round number from the last version; deltas are deleted', async () => {
    const stateFolder = newFolder();
    const plan = testPlan({ rounds: { count: 2 }, evaluation: { everyRounds: 0 }, aggregation: { rule: 'fedyogi' } });
    const first = await startWorld({ plan, stateFolder });
    const clients = [await joinClient(first, 11), await joinClient(first, 12)];
    await playRound(clients, () => [1, 0, 0], false);
    await until(() => clients[0]!.heard.filter((event) => event === 'offer').length === 2);
    assert.ok((await clients[0]!.upload(Float32Array.of(5, 5, 5))).ok);
    // Killed: nothing is closed, and what the disk holds is all that is left. The open round is not published.
    const left = newFolder();
    cpSync(stateFolder, left, { recursive: true });
    const second = await startWorld({ plan, stateFolder: left, entropy: seededEntropy(2) });
    assert.equal((await second.coordinator.versions()).length, 2);
    const again = [await joinClient(second, 21), await joinClient(second, 22)];
    await playRound(again, () => [1, 0, 0], false);
    assert.equal(again[0]!.offer().roundParams.roundIndex, 2);
    assert.match((await second.coordinator.ended).detail, /2 of 2 rounds published, .*1 void/);
    assert.equal((await second.coordinator.versions()).length, 3);
    const blobs = readdirSync(join(left, 'blobs', 'sha256'), { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    // Base file, plan, three adapters, two states of the optimiser.
    assert.equal(blobs.length, 7);
    assert.equal(statSync(join(left, 'identity.key')).mode & 0o777, 0o600);
  });

  it('[CRD-8] the state of another plan or base is refused', async () => {
    const stateFolder = newFolder();
    const world = await startWorld({ stateFolder });
    await world.coordinator.close();
    await assert.rejects(startWorld({ stateFolder, plan: testPlan({ rounds: { count: 9 } }) }), {
      code: 'plan-mismatch',
    });
    await assert.rejects(startWorld({ baseDigest: 'cc'.repeat(32) as never }), { code: 'base-mismatch' });
  });

  it('[CRD-9] a client that comes after the end is told so', async () => {
    const world = await startWorld();
    world.coordinator.stop();
    await world.coordinator.ended;
    const client = await joinClient(world, 11);
    assert.deepEqual(client.heard, ['welcome', 'finished']);
  });

  it('[CRD-10] only what is offered can be fetched, chunk by chunk', async () => {
    const world = await startWorld({ plan: testPlan({ rounds: { cohortSize: 1, quorum: 1 } }) });
    const client = await joinClient(world, 11);
    const { digest } = client.offer().base[0]!.blob;
    const manifest = await client.plain('fetch-manifest', { digest });
    assert.equal(manifest.ok && manifest.value.size, 2);
    assert.ok((await client.plain('fetch-chunk', { digest, index: 0 })).ok);
    const beyond = await client.plain('fetch-chunk', { digest, index: 1 });
    assert.equal(!beyond.ok && beyond.error.code, 'blob-unknown');
    await client.upload(Float32Array.of(1, 2, 3));
    const other = await client.plain('fetch-manifest', {
      digest: client.announcement(Float32Array.of(1, 2, 3)).chunkDigests[0]!,
    });
    assert.equal(!other.ok && other.error.code, 'blob-unknown');
  });

  it('[CRD-30] a plan that says all asks more than one masked sum holds of nobody in silence: refused where they are enrolled already, told where they come later', async () => {
    const state = memoryState(seededEntropy(3));
    for (let index = 0; index < 129; index++) {
      const hash = parseDigest(index.toString(16).padStart(64, '0'));
      const whom = { approval: 'automatic' as const, expiresMs: 9, redeemedBy: null, organisation: `${index}` };
      await state.store.addInvite({ tokenHash: hash, ...whom });
      const clientId = hash as string as ClientId;
      await state.store.redeemInvite(hash, { clientId, publicKey: '00', name: '', enrolledMs: 1 }, 1);
    }
    const masked = (secureAggregation: object) =>
      testPlan({ rounds: { quorum: 3, cohortSize: 'all' }, secureAggregation });
    const start = (plan: ReturnType<typeof masked>) =>
      startWorld({ plan, state: { ...state, close: async () => undefined } });
    await assert.rejects(start(masked({ mode: 'on' })), {
      code: 'bad-plan',
      message:
        /129 clients are enrolled, and rounds\.cohortSize is all, .* at most 128; set secureAggregation\.groupSize to 64,/,
    });
    assert.equal(await state.store.federation(), null, 'nothing is begun');
    const { coordinator } = await start(masked({ mode: 'on', groupSize: 64 }));
    assert.equal((await coordinator.versions()).length, 1);
    const event = { type: 'round-started' as const, roundIndex: 2, roundHash: 'a' as never, asked: 128 };
    assert.match(
      describeEvent({ ...event, beyond: 4 }, '.', false) ?? '',
      /round 2: 128 clients asked, drawn from 132: .* secureAggregation\.groupSize asks all/,
    );
    assert.equal(describeEvent({ ...event, beyond: 0 }, '.', false), null);
  });
});
