/** What a malicious or broken client may send: each is refused with its reason, counted in the version record, and the round goes on. */
import { strict as assert } from 'node:assert';
import { memoryState } from '../../coordinator/store/state.ts';
import type { UpdateRecord } from '../../coordinator/store/store.ts';
import { bytesOf, float32Of } from '../../shared/core/bytes.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { Result } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../shared/crypto/identity.ts';
import { encodeMessage } from '../../shared/protocol/codec.ts';
import type { Update } from '../../shared/protocol/messages.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';
import type { Violation, ViolationCode } from '../../shared/protocol/violations.ts';
import { binaryCounts } from '../helpers/evaluation-counts.ts';
import type { FakeClient } from './fake-client.ts';
import { joinClient } from './fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, until } from './harness.ts';

const dim = 3;
const good = Float32Array.of(1, 2, 3);
const stranger = identityFromSeed(new Uint8Array(32).fill(9), engineCrypto);

type Attack = (attacker: FakeClient, nowMs: number) => Promise<Result<unknown, Violation>>;
const announce = (client: FakeClient, changes: Partial<Update>) =>
  client.call('update', client.seal('update', { ...client.announcement(good), ...changes }));
const digestsOf = (bytes: Uint8Array) => {
  const digests = chunkDigests(bytes);
  return { chunkDigests: digests, vecRoot: vectorRoot(chunkBytesMax, digests) };
};
const commit = (client: FakeClient) => client.plain('commit', { roundHash: client.offer().roundHash });
const chunk = (client: FakeClient, bytes: Uint8Array, index = 0) =>
  client.plain('upload-chunk', { roundHash: client.offer().roundHash, index }, bytes);
const other = 'ee'.repeat(32) as never;

/** Attacks by name of the rule that they break, with the code that they get. Names of SPEC.md and of the security tests. */
const attacks: readonly (readonly [string, ViolationCode, Attack])[] = [
  ['nan-inf-delta: NaN', 'non-finite', (client) => client.upload(Float32Array.of(1, Number.NaN, 3))],
  ['nan-inf-delta: infinity', 'non-finite', (client) => client.upload(Float32Array.of(Number.NEGATIVE_INFINITY, 0, 0))],
  ['wrong-length: a shorter delta of as many chunks', 'wrong-length', (client) => client.upload(Float32Array.of(1, 2))],
  ['wrong-length: a longer delta of as many chunks', 'wrong-length', (client) => client.upload(new Float32Array(4))],
  ['wrong-length: no chunk at all', 'layout-mismatch', (client) => announce(client, digestsOf(new Uint8Array(0)))],
  [
    'oversize-payload: more chunks than the layout has',
    'update-too-large',
    (client) => announce(client, digestsOf(new Uint8Array(chunkBytesMax + 1))),
  ],
  ['a root that is not that of the digests', 'root-mismatch', (client) => announce(client, { vecRoot: other })],
  ['a weight of nothing', 'bad-weight', (client) => announce(client, { exampleCount: 0 })],
  ['a negative time', 'bad-metrics', (client) => announce(client, { seconds: -1 })],
  ['an update of another round', 'stale-round', (client) => announce(client, { roundHash: other })],
  ['a chunk that was not announced', 'unknown-upload', (client) => chunk(client, bytesOf(good))],
  [
    'chunk-resume: a chunk of other bytes',
    'chunk-mismatch',
    async (client) => {
      await announce(client, {});
      return chunk(client, bytesOf(Float32Array.of(9, 9, 9)));
    },
  ],
  [
    'a chunk beyond the last',
    'wrong-length',
    async (client) => {
      await announce(client, {});
      return chunk(client, bytesOf(good), 1);
    },
  ],
  [
    'a chunk without bytes',
    'bad-frame',
    (client) => client.plain('upload-chunk', { roundHash: client.offer().roundHash, index: 0 }),
  ],
  [
    'a commit before the chunks',
    'missing-chunks',
    async (client) => {
      await announce(client, {});
      return commit(client);
    },
  ],
  ['a commit of nothing', 'unknown-upload', commit],
  [
    'double-submit-conflict',
    'conflicting-update',
    async (client) => {
      await client.upload(good);
      return client.upload(Float32Array.of(9, 9, 9));
    },
  ],
  [
    'impersonation: another name',
    'wrong-sender',
    (client) => client.call('update', client.seal('update', client.announcement(good), { identity: stranger })),
  ],
  [
    'impersonation: the right name, another key',
    'wrong-signature',
    (client) =>
      client.call(
        'update',
        client.seal('update', client.announcement(good), {
          identity: { ...stranger, clientId: client.identity.clientId },
        }),
      ),
  ],
  [
    'stale-timestamp: too old',
    'stale-time',
    (client, nowMs) =>
      client.call('update', client.seal('update', client.announcement(good), { timeMs: nowMs - 120_001 })),
  ],
  [
    'stale-timestamp: from the future',
    'stale-time',
    (client, nowMs) =>
      client.call('update', client.seal('update', client.announcement(good), { timeMs: nowMs + 120_001 })),
  ],
  [
    'seq-rollback',
    'replayed-sequence',
    (client) => client.call('update', client.seal('update', client.announcement(good), { sequence: 1n })),
  ],
  [
    'a sequence number beyond what is stored',
    'replayed-sequence',
    (client) => client.call('update', client.seal('update', client.announcement(good), { sequence: 2n ** 60n })),
  ],
  [
    'another session',
    'bad-envelope',
    (client) =>
      client.call('update', client.seal('update', client.announcement(good), { sessionId: '00'.repeat(16) as never })),
  ],
  [
    'an envelope of another kind',
    'bad-envelope',
    (client) => client.call('update', client.seal('accept', { roundHash: client.offer().roundHash })),
  ],
  ['garbage', 'bad-frame', (client) => client.call('update', Uint8Array.of(0xc1, 0xff))],
  [
    'a plain message with a key too many',
    'bad-frame',
    (client) => client.call('commit', encodeMessage({ roundHash: client.offer().roundHash, force: true })),
  ],
  [
    'progress of another round',
    'stale-round',
    (client) => client.plain('progress', { roundHash: other, stepsDone: 1, stepCount: 2 }),
  ],
];

describe('hostile updates', () => {
  afterEach(closeWorlds);

  for (const [name, code, attack] of attacks) {
    it(`[HST-1] ${name}: ${code}, counted, and the round is published by the others`, async () => {
      const plan = testPlan({ rounds: { count: 1, cohortSize: 3, quorum: 2 }, evaluation: { everyRounds: 0 } });
      const world = await startWorld({ plan, dim });
      const attacker = await joinClient(world, 11);
      const honest = [await joinClient(world, 12), await joinClient(world, 13)];
      for (const client of [attacker, ...honest]) assert.ok((await client.accept()).ok);
      const refused = await attack(attacker, world.clock.nowMs());
      assert.equal(refused.ok ? 'accepted' : refused.error.code, code);
      for (const client of honest) assert.ok((await client.upload(Float32Array.of(3, 0, 0))).ok);
      await settled();
      await world.clock.advance(60_000);
      const { status } = await world.coordinator.ended;
      assert.equal(status, 'completed');
      const { record } = (await world.coordinator.library())[1]!;
      assert.deepEqual(record.rejections, [{ code, count: 1 }]);
      const counted = record.contributors.includes(attacker.identity.clientId);
      // Whoever delivered a good update first and misbehaved afterwards still counts, with the first one.
      assert.equal(counted, name === 'double-submit-conflict');
      const [, version] = await world.coordinator.versions();
      const expected = counted ? [Math.fround(7 / 3), Math.fround(2 / 3), 1] : [3, 0, 0];
      assert.deepEqual([...float32Of(await world.coordinator.adapter(version!))], expected);
      assert.deepEqual(
        world.events.flatMap((event) => (event.type === 'rejected' ? [[event.clientId, event.code]] : [])),
        [[attacker.identity.clientId, code]],
      );
    });
  }

  it('[HST-2] identical-resubmit: the same frame and the same commit get the same answers, and count once', async () => {
    const world = await startWorld({ plan: testPlan({ rounds: { count: 1 }, evaluation: { everyRounds: 0 } }) });
    const clients = [await joinClient(world, 11), await joinClient(world, 12)] as const;
    for (const client of clients) await client.accept();
    const frame = clients[0].seal('update', clients[0].announcement(good));
    const first = await clients[0].call('update', frame);
    assert.deepEqual(await clients[0].call('update', frame), first);
    await chunk(clients[0], bytesOf(good));
    await chunk(clients[0], bytesOf(good));
    const receipt = await commit(clients[0]);
    assert.ok(receipt.ok);
    assert.deepEqual(await commit(clients[0]), receipt);
    assert.deepEqual(await clients[0].upload(good), receipt);
    await clients[1].upload(good);
    await settled();
    const { record } = (await world.coordinator.library())[1]!;
    assert.equal(record.totalWeight, 20);
    assert.deepEqual(record.rejections, []);
  });

  it('[HST-3] a client that was not asked is turned away', async () => {
    const plan = testPlan({ rounds: { count: 1, cohortSize: 1, quorum: 1 }, evaluation: { everyRounds: 0 } });
    const world = await startWorld({ plan });
    const [asked, spare] = [await joinClient(world, 11), await joinClient(world, 12)];
    const roundHash = asked.offer().roundHash;
    assert.equal(spare.heard.includes('offer'), false);
    const forged = asked.seal('update', asked.announcement(good), { identity: spare.identity, sequence: 1n });
    const refused = await spare.call('update', forged);
    assert.equal(!refused.ok && refused.error.code, 'not-in-cohort');
    const committed = await spare.plain('commit', { roundHash });
    assert.equal(!committed.ok && committed.error.code, 'unknown-upload');
  });

  it('[HST-4] evaluations that contradict themselves, or are of another adapter, are refused and not pooled', async () => {
    const world = await startWorld({ plan: testPlan({ rounds: { count: 1 } }) });
    const clients = [await joinClient(world, 11), await joinClient(world, 12)] as const;
    for (const client of clients) await client.accept();
    for (const client of clients) await client.upload(good);
    await settled();
    const { exampleCount: _, ...metrics } = binaryCounts(8, 10);
    const lying = await clients[0].evaluate({ ...metrics, rightCount: 9 }, 10);
    assert.equal(!lying.ok && lying.error.code, 'bad-metrics');
    const [request] = clients[0].evaluations;
    const elsewhere = { roundHash: request!.roundHash, modelHash: other, exampleCount: 10, metrics };
    const strayed = await clients[0].call('evaluation', clients[0].seal('evaluation', elsewhere));
    assert.equal(!strayed.ok && strayed.error.code, 'stale-round');
    assert.ok((await clients[0].evaluate(metrics, 10)).ok);
    // A second report of the same client is heard but changes nothing.
    await clients[0].evaluate({ ...metrics, lossSum: 500 }, 10);
    assert.ok((await clients[1].evaluate(null, 0)).ok);
    await settled();
    const { record } = (await world.coordinator.library())[1]!;
    const { accuracy, loss, exampleCount, auroc } = record.metrics!;
    assert.deepEqual([accuracy, loss, exampleCount, auroc], [0.8, 0.5, 10, null]);
    assert.deepEqual(record.rejections, [
      { code: 'bad-metrics', count: 1 },
      { code: 'stale-round', count: 1 },
    ]);
  });

  it('[HST-5] the order of arrival does not change one bit of the result', async () => {
    const orders = [
      [0, 1, 2, 3, 4],
      [4, 3, 2, 1, 0],
      [2, 0, 4, 1, 3],
    ];
    const random = seededEntropy(77);
    const deltas = orders[0]!.map(() => Float32Array.from(random.bytes(3), (byte) => (byte - 128) / 7));
    const hashes = new Set<string>();
    for (const order of orders) {
      const plan = testPlan({
        rounds: { count: 1, cohortSize: 5, quorum: 5 },
        evaluation: { everyRounds: 0 },
        aggregation: { rule: 'fedadam' },
      });
      const world = await startWorld({ plan });
      const clients: FakeClient[] = [];
      for (const index of orders[0]!) clients.push(await joinClient(world, 20 + index));
      for (const client of clients) await client.accept();
      for (const index of order) assert.ok((await clients[index]!.upload(deltas[index]!, 3 ** (index + 1))).ok);
      await world.coordinator.ended;
      hashes.add((await world.coordinator.versions())[1]!.modelHash);
    }
    assert.equal(hashes.size, 1);
  });

  it('[HST-6] an update that becomes durable after its round was closed does not count, is told so every time, and is not kept', async () => {
    const state = memoryState(seededEntropy(1));
    const disk = Promise.withResolvers<void>();
    const slowStore = {
      ...state.store,
      addUpdate: async (update: UpdateRecord) => {
        const stored = await state.store.addUpdate(update);
        if (update.exampleCount === 77) await disk.promise;
        return stored;
      },
    };
    const plan = testPlan({ rounds: { count: 2, cohortSize: 3, quorum: 2 }, evaluation: { everyRounds: 0 } });
    const world = await startWorld({ plan, state: { ...state, store: slowStore } });
    const clients = [await joinClient(world, 11), await joinClient(world, 12), await joinClient(world, 13)] as const;
    for (const client of clients) await client.accept();
    for (const client of clients.slice(0, 2)) assert.ok((await client.upload(good)).ok);
    const late = Float32Array.of(7, 7, 7);
    const first = clients[2].upload(late, 77);
    await settled();
    await world.clock.advance(60_000);
    const again = commit(clients[2]);
    disk.resolve();
    const answers = [await first, await again].map((answer) => !answer.ok && answer.error.code);
    assert.deepEqual(answers, ['late-update', 'late-update']);
    await settled();
    const { record } = (await world.coordinator.library())[1]!;
    const contributors = clients.slice(0, 2).map(({ identity }) => identity.clientId);
    assert.deepEqual(record.contributors, contributors.sort());
    assert.equal(record.survivorCount, 2);
    assert.deepEqual(record.rejections, [{ code: 'late-update', count: 2 }]);
    assert.equal(await state.blobs.has(clients[2].announcement(late).vecRoot), false);
    assert.equal(await state.blobs.has(clients[0].announcement(good).vecRoot), false);
  });

  it('[HST-8] seq-rollback, nonce-reuse: a coordinator that was started anew on its state takes nothing that was said to the one before', async () => {
    const state = memoryState(seededEntropy(1));
    const before = await startWorld({ state });
    const clients = [await joinClient(before, 11), await joinClient(before, 12)] as const;
    const [client] = clients;
    const frame = client.seal('accept', { roundHash: client.offer().roundHash });
    assert.ok((await client.call('accept', frame)).ok);
    await before.coordinator.close();
    const world = await startWorld({ state });
    for (const one of clients) await one.connect(world);
    const { roundHash } = client.offer();
    for (const said of [frame, client.seal('accept', { roundHash }, { sequence: 1n })]) {
      const refused = await client.call('accept', said);
      assert.equal(!refused.ok && refused.error.code, 'replayed-sequence');
    }
    assert.ok((await client.accept()).ok);
  });

  it('[HST-7] a decline that crosses the end of its round is no offence', async () => {
    const world = await startWorld({ plan: testPlan() });
    const clients = [await joinClient(world, 11), await joinClient(world, 12)] as const;
    const { roundHash } = clients[0].offer();
    const body = { roundHash, code: 'policy-refused', reason: 'not here' } as const;
    for (const client of clients) {
      const answer = await client.call('decline', client.seal('decline', body));
      assert.deepEqual(answer, { ok: true, value: { ok: true } });
    }
    await until(() => world.events.some(({ type }) => type === 'void'), 'a void round');
    const seen = world.events.map(({ type }) => type);
    assert.equal(seen.filter((type) => type === 'client-declined').length, 1);
    assert.ok(seen.includes('void') && !seen.includes('rejected'));
  });
});
