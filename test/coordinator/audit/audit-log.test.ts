import { strict as assert } from 'node:assert';
import { entryOf, payloadOf } from '../../../coordinator/audit/log-store.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { openCheckpoint } from '../../../shared/audit/checkpoint.ts';
import { findPublication, findReceipt, openLogProof } from '../../../shared/audit/proof.ts';
import { fromHex } from '../../../shared/core/bytes.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from '../harness.ts';

const plan = testPlan({ rounds: { count: 2 }, evaluation: { everyRounds: 0 } });
const noHead = { size: 0, root: '00'.repeat(32) as never };

/** A federation that has published a round of two clients. */
async function publishedRound() {
  const state = memoryState(seededEntropy(77));
  const world = await startWorld({ plan, state });
  const clients = [await joinClient(world, 5), await joinClient(world, 6)];
  const offer = clients[0]!.offer();
  const receipts = [];
  for (const client of clients) await client.accept();
  for (const client of clients) {
    const stored = await client.upload(Float32Array.of(1, 2, 3));
    assert.ok(stored.ok);
    receipts.push(stored.value.receipt);
  }
  await settled();
  const { federationId } = world.coordinator;
  const demands = { coordinatorKey: state.identity.publicKey, federationId };
  return { state, world, clients, offer, receipts, demands };
}

describe('audit log', () => {
  afterEach(closeWorlds);

  it('[AUD-1] holds what happened, in order, and a signed checkpoint of every round', async () => {
    const { state, demands } = await publishedRound();
    const rows = await state.store.log.rows(0);
    assert.deepEqual(
      rows.map((row) => entryOf(row).type),
      [
        'federation-created',
        'round-published',
        'coordinator-started',
        'invite-made',
        'client-enrolled',
        'invite-made',
        'client-enrolled',
        'round-opened',
        'update-stored',
        'update-stored',
        'round-published',
        'round-opened',
      ],
    );
    const checkpoints = await state.store.log.checkpoints();
    assert.equal(checkpoints.length, 1);
    const { checkpoint, signature } = checkpoints[0]!;
    const opened = openCheckpoint({ checkpoint: fromHex(checkpoint), signature: fromHex(signature) }, demands);
    assert.ok(opened.ok && opened.value.size === 11);
  });

  it('[AUD-2] proves to a client that its update and the version are in the log, and that the log goes on', async () => {
    const { clients, offer, receipts, demands } = await publishedRound();
    const { roundHash, roundParams } = offer;
    const ask = async (size: number) => {
      const answer = await clients[0]!.plain('prove', {
        size,
        roundIndex: roundParams.roundIndex,
        receipt: receipts[0]!,
      });
      assert.ok(answer.ok);
      return answer.value.proof;
    };
    const first = openLogProof(await ask(0), { ...demands, known: noHead });
    assert.ok(first.ok, JSON.stringify(first));
    assert.equal(findReceipt(first.value, receipts[0]!)?.payload.clientId, clients[0]!.identity.clientId);
    assert.equal(findReceipt(first.value, receipts[1]!), null);
    assert.equal(findPublication(first.value, roundHash)?.payload.roundIndex, 0);
    const known = first.value.checkpoint;
    await clients[0]!.accept();
    assert.ok((await clients[0]!.upload(Float32Array.of(1, 2, 3))).ok);
    const later = openLogProof(await ask(known.size), { ...demands, known });
    assert.ok(later.ok && later.value.checkpoint.size > known.size);
  });

  it('[AUD-3] log-fork: a log that does not go on from a checkpoint, changed details and changed entries are seen', async () => {
    const { clients, receipts, demands } = await publishedRound();
    const answer = await clients[0]!.plain('prove', { size: 4, roundIndex: 0, receipt: receipts[0]! });
    assert.ok(answer.ok);
    const { proof } = answer.value;
    const other = openLogProof(proof, { ...demands, known: { size: 4, root: 'ab'.repeat(32) as never } });
    assert.equal(!other.ok && other.error.code, 'log-fork');
    const none = openLogProof(proof, { ...demands, known: { size: 400, root: 'ab'.repeat(32) as never } });
    assert.equal(!none.ok && none.error.code, 'log-fork');
    let refused = 0;
    for (let place = 0; place < proof.length; place += 7) {
      const changed = Uint8Array.from(proof);
      changed[place]! ^= 1;
      if (!openLogProof(changed, { ...demands, known: noHead }).ok) refused++;
    }
    assert.equal(refused, Math.ceil(proof.length / 7));
  });

  it('[AUD-4] log-secrecy: neither tokens nor seeds, names, deltas or values stand in the log', async () => {
    const { state, world } = await publishedRound();
    const code = parseEnrolmentCode(
      await world.coordinator.invite({ organisation: 'Clinic of Secrets', url: 'http://localhost:1' }),
    );
    const updates = await state.store.log.rows(0);
    const text = JSON.stringify([updates, await state.store.log.checkpoints(), await state.store.log.retained()]);
    const [published] = (await state.store.versions()).slice(-1);
    for (const secret of [
      Buffer.from(code.token).toString('hex'),
      Buffer.from(seededEntropy(77).bytes(32)).toString('hex'),
      Buffer.from(Float32Array.of(1, 2, 3).buffer).toString('hex'),
      'Clinic of Secrets',
      'site 5',
    ])
      assert.ok(!text.includes(secret), secret);
    assert.ok(text.includes(published!.modelHash));
  });

  it('[AUD-5] a coordinator that starts logs what its state says and its log lacks, once', async () => {
    const { state, world } = await publishedRound();
    await world.coordinator.close();
    const size = (await state.store.log.rows(0)).length;
    await startWorld({ plan, state });
    const added = (await state.store.log.rows(size)).map((row) => entryOf(row).type);
    assert.deepEqual(added, ['coordinator-started']);
  });

  it('[AUD-6] what clients were told of an update names it in the log by its receipt', async () => {
    const { state, receipts, clients } = await publishedRound();
    for (const [index, receipt] of receipts.entries()) {
      const row = await state.store.log.find('update-stored', `0/${receipt}`);
      assert.equal(payloadOf(row!).clientId, clients[index]!.identity.clientId);
    }
  });
});
