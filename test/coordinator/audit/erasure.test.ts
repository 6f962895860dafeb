import { strict as assert } from 'node:assert';
import { eraseWithdrawn, roundsErasedFor, withdrawnAmong } from '../../../coordinator/audit/erasure.ts';
import { entryOf } from '../../../coordinator/audit/log-store.ts';
import { openReplays } from '../../../coordinator/audit/replay-state.ts';
import { verifyLog } from '../../../coordinator/audit/verify.ts';
import type { CoordinatorState } from '../../../coordinator/store/state.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { bytesOf, toHex } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { sealWithdrawal, withdrawalAnswerSchema } from '../../../shared/identity/withdrawal.ts';
import { rotationOf } from '../../helpers/rotation.ts';
import type { FakeClient } from '../fake-client.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, type World } from '../harness.ts';

const plan = testPlan({
  rounds: { count: 4, cohortSize: 3, quorum: 2 },
  evaluation: { everyRounds: 0 },
  audit: { retainUpdates: true },
});

/** Plays a round; every client that has a value sends it in all places, the others decline. */
async function playRound(clients: readonly FakeClient[], values: readonly (number | null)[]): Promise<void> {
  for (const [index, client] of clients.entries()) {
    const { roundHash } = client.offer();
    if (values[index] !== null) await client.accept();
    else
      await client.call('decline', client.seal('decline', { roundHash, ...{ code: 'policy-refused', reason: 'x' } }));
  }
  for (const [index, client] of clients.entries()) {
    const value = values[index] ?? null;
    if (value !== null) assert.ok((await client.upload(new Float32Array(3).fill(value))).ok);
  }
  await settled();
}

async function withdraw(world: World, { identity }: FakeClient) {
  const answer = await world.transport.withdraw(sealWithdrawal(identity, world.coordinator.federationId, 1));
  assert.equal(answer.status, 200);
  return withdrawalAnswerSchema.parse(answer.body);
}

/** For every round the blobs that are there of the updates that its transcript names. */
async function there({ store, blobs }: CoordinatorState): Promise<boolean[][]> {
  const found = new Map<number, boolean[]>();
  for (const { roundIndex, delta } of await store.log.retained())
    found.set(roundIndex, [...(found.get(roundIndex) ?? []), await blobs.has(delta)]);
  return [...found.values()].map((round) => round.sort((left, right) => Number(left) - Number(right)));
}

/** What an auditor finds in a round: the number of updates that it was made again of, or why it was not, and faults. */
async function audit(state: CoordinatorState, roundIndex: number) {
  const record = (await state.store.federation())!;
  const replays = await openReplays({ ...state, record }, { backend: 'cpu' });
  const { made, obstacle, faults } = await replays.replay(roundIndex);
  return [made?.updateCount ?? obstacle?.code, ...faults.map(({ code }) => code)];
}

describe('erasure', () => {
  afterEach(closeWorlds);
  let state: CoordinatorState;
  let world: World;
  let clients: readonly [FakeClient, FakeClient, FakeClient];
  beforeEach(async () => {
    state = memoryState(seededEntropy(81));
    world = await startWorld({ plan, state });
    clients = [await joinClient(world, 11), await joinClient(world, 12), await joinClient(world, 13)];
  });

  it('[ERS-1] who withdraws takes the raw updates of its rounds along; other rounds stay whole, and an auditor hears why, not of tampering', async () => {
    await playRound(clients, [1, 2, null]);
    // Equal to one of the round before, which keeps it.
    await playRound(clients, [1, 4, 5]);
    await playRound(clients, [6, 7, null]);
    assert.deepEqual(await audit(state, 1), [3]);
    const answer = await withdraw(world, clients[2]);
    assert.deepEqual(answer.erased, [1]);
    assert.deepEqual(await withdraw(world, clients[2]), answer, 'asked again');
    assert.deepEqual(await there(state), [
      [true, true],
      [false, false, true],
      [true, true],
    ]);
    assert.deepEqual(await audit(state, 0), [2]);
    assert.deepEqual(await audit(state, 1), ['updates-erased']);
    assert.deepEqual(await audit(state, 2), [2]);
    const federation = (await state.store.federation())!;
    const document = {
      federation,
      coordinatorKey: toHex(state.identity.publicKey),
      rows: await state.store.log.rows(0),
      checkpoints: await state.store.log.checkpoints(),
      versions: await state.store.versions(),
    };
    assert.deepEqual(verifyLog(document).faults, []);
  });

  it('[ERS-2] an update that is gone without a withdrawal that its client signed is a fault, and so is a transcript that was changed behind one', async () => {
    await playRound(clients, [1, 2, 3]);
    const transcript = (await state.store.log.transcript(0))!;
    const { clientId } = clients[2].identity;
    const { delta } = transcript.updates.find((update) => update.clientId === clientId)!;
    const signed = async (signer: FakeClient, federation = world.coordinator.federationId) => {
      const { withdrawal, signature } = sealWithdrawal(signer.identity, federation, 1);
      await state.store.documents.put(`withdrawal/${clientId}`, `${withdrawal}${signature}`);
    };
    await signed(clients[2]);
    assert.deepEqual(await audit(state, 0), [3], 'nothing is gone yet');
    await state.blobs.delete(delta);
    await signed(clients[0]);
    assert.deepEqual(await audit(state, 0), [3, 'blob-missing']);
    await signed(clients[2], 'ab'.repeat(32) as never);
    assert.deepEqual(await audit(state, 0), [3, 'blob-missing']);
    await signed(clients[2]);
    assert.deepEqual(await audit(state, 0), ['updates-erased']);
    const [first, ...rest] = transcript.updates;
    await state.store.log.keepTranscript({ ...transcript, updates: [{ ...first!, exampleCount: 500 }, ...rest] });
    assert.deepEqual(await audit(state, 0), ['updates-erased', 'unsigned-update']);
    await state.store.log.keepTranscript({ ...transcript, updates: rest });
    assert.deepEqual(await audit(state, 0), ['updates-erased', 'aggregate-tamper', 'aggregate-tamper']);
  });

  it('[ERS-3] who withdraws while its round is open: the round counts what it sent, and keeps no raw update', async () => {
    await playRound(clients, [1, 2, 3]);
    await state.store.documents.put('noise/1', 'cd'.repeat(32));
    for (const client of clients) await client.accept();
    for (const client of clients.slice(1)) assert.ok((await client.upload(Float32Array.of(4, 5, 6))).ok);
    assert.deepEqual((await withdraw(world, clients[2])).erased, [0]);
    assert.ok((await clients[0].upload(Float32Array.of(7, 8, 9))).ok);
    await settled();
    const versions = await world.coordinator.library();
    assert.equal(versions[2]!.record.contributors.includes(clients[2].identity.clientId), true);
    assert.deepEqual(await there(state), [
      [false, false, false],
      [false, false, false],
    ]);
    assert.equal(await state.store.documents.get('noise/1'), '');
    assert.deepEqual(await audit(state, 1), ['updates-erased']);
    assert.deepEqual((await withdraw(world, clients[2])).erased, [0, 1]);
  });

  it('[ERS-4] a coordinator that ended before it had erased all goes on when it starts', async () => {
    await playRound(clients, [1, 2, 3]);
    await playRound(clients, [4, 5, null]);
    const { identity } = clients[2];
    const { withdrawal, signature } = sealWithdrawal(identity, world.coordinator.federationId, 1);
    await state.store.documents.put(`withdrawal/${identity.clientId}`, `${withdrawal}${signature}`);
    await state.store.documents.put('noise/0', 'ab'.repeat(32));
    await state.store.documents.put('noise/1', 'cd'.repeat(32));
    await world.coordinator.close();
    await startWorld({ plan, state, entropy: seededEntropy(82) });
    assert.deepEqual(await there(state), [
      [false, false, false],
      [true, true],
    ]);
    assert.equal(await state.store.documents.get('noise/0'), '');
    assert.equal(await state.store.documents.get('noise/1'), 'cd'.repeat(32));
  });

  it('[ERS-6] who withdraws after its key was rotated takes along what it sent with the old one, and leaves with both', async () => {
    const [, { identity: next }, { identity: old }] = clients;
    const keep = (bytes: Uint8Array) => state.store.documents.put(`rotation/${next.clientId}`, toHex(bytes));
    await keep(rotationOf(old, next));
    await playRound(clients, [1, null, 3]);
    await playRound(clients, [4, 5, null]);
    const { direct, all, erased } = await withdraw(world, clients[1]);
    assert.deepEqual({ direct, all, erased }, { direct: [1, 2], all: [1, 2], erased: [0, 1] });
    assert.deepEqual(await there(state), [
      [false, false],
      [false, false],
    ]);
    for (const roundIndex of [0, 1]) assert.deepEqual(await audit(state, roundIndex), ['updates-erased']);
    for (const { clientId } of [old, next]) assert.equal((await state.store.client(clientId))?.status, 'revoked');
    const types = (await state.store.log.rows(0)).map((row) => entryOf(row).type);
    assert.equal(types.filter((type) => type === 'client-withdrew').length, 2);
    // A coordinator that makes a rotation up explains no update that is gone.
    await keep(rotationOf(old, next, clients[0].identity));
    assert.deepEqual(await audit(state, 0), [2, 'blob-missing']);
  });

  it('[ERS-7] an update that was sent again in a round that ends void, or is erased, stays in the round that keeps it', async () => {
    await playRound(clients, [1, 2, null]);
    for (const client of clients) await client.accept();
    assert.ok((await clients[0].upload(new Float32Array(3).fill(1))).ok);
    await world.clock.advance(60_000);
    await settled();
    assert.equal((await world.coordinator.rounds()).at(-1)!.status, 'void');
    assert.deepEqual(await audit(state, 0), [2]);
    await world.clock.advance(10_000);
    await settled();
    for (const client of clients) assert.ok((await client.accept()).ok);
    assert.ok((await clients[2].upload(new Float32Array(3).fill(3))).ok);
    assert.deepEqual((await withdraw(world, clients[2])).erased, []);
    assert.ok((await clients[0].upload(new Float32Array(3).fill(1))).ok);
    assert.ok((await clients[1].upload(new Float32Array(3).fill(9))).ok);
    await settled();
    assert.deepEqual(await audit(state, 2), ['updates-erased']);
    assert.deepEqual(await audit(state, 0), [2]);
  });

  it('[ERS-5] masked vectors stay, and so does an equal update of a round that is open', async () => {
    const bare = memoryState(seededEntropy(83));
    const { store, blobs } = bare;
    const id = (digit: string): ClientId => digit.repeat(64) as ClientId;
    const [left, right] = [id('a'), id('b')];
    const put = (value: number): Promise<Digest> => blobs.put(bytesOf(Float32Array.of(value)));
    const keep = async (roundIndex: number, roundParams: string | null, values: readonly number[]) => {
      const updates = [];
      for (const [index, value] of values.entries()) {
        const names = { bodyHash: id('c') as never, receipt: id('d') as never };
        const clientId = [left, right][index]!;
        updates.push({ roundIndex, clientId, delta: await put(value), exampleCount: 1, ...names });
      }
      await store.log.keepTranscript({ roundIndex, updates, evidence: [], roundParams, messages: [] });
      return updates;
    };
    await keep(0, 'aa', [1, 2]);
    const [, second] = await keep(1, null, [3, 4]);
    await store.openRound(2, id('e') as never, 2);
    await store.addUpdate({ ...second!, roundIndex: 2 });
    await store.documents.put(`withdrawal/${left}`, 'aa');
    await eraseWithdrawn({ store, blobs });
    assert.deepEqual(await there(bare), [
      [true, true],
      [false, true],
    ]);
    assert.deepEqual(await roundsErasedFor(store, [left]), [1]);
    assert.deepEqual(await withdrawnAmong(store, [left, right]), new Set([left]));
  });
});
