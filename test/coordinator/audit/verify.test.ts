import { strict as assert } from 'node:assert';
import { parseReceipt, readLogFile, writeLogFile } from '../../../coordinator/audit/log-file.ts';
import { keysOf, replayRound } from '../../../coordinator/audit/replay.ts';
import { verifyLog } from '../../../coordinator/audit/verify.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { logProofFormat } from '../../../shared/audit/proof.ts';
import { bytesOf, fromHex, toHex } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { decodeCanonical } from '../../../shared/protocol/canonical.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from '../harness.ts';

const plan = testPlan({
  rounds: { count: 2 },
  evaluation: { everyRounds: 0 },
  audit: { retainUpdates: true },
});

/** Two published rounds of two clients, everything retained, and a receipt of the first client for each. */
async function auditedFederation() {
  const state = memoryState(seededEntropy(78));
  const world = await startWorld({ plan, state });
  const clients = [await joinClient(world, 5), await joinClient(world, 6)];
  const proofs: string[] = [];
  for (const roundIndex of [0, 1]) {
    for (const client of clients) await client.accept();
    const receipts = [];
    for (const [index, client] of clients.entries()) {
      const stored = await client.upload(Float32Array.of(1 + index, 2, 3), 10 * (index + 1));
      assert.ok(stored.ok);
      receipts.push(stored.value.receipt);
    }
    await settled();
    const answer = await clients[0]!.plain('prove', { size: 0, roundIndex, receipt: receipts[0]! });
    assert.ok(answer.ok);
    proofs.push(toHex(answer.value.proof));
  }
  const federation = (await state.store.federation())!;
  const document = {
    federation,
    coordinatorKey: toHex(state.identity.publicKey),
    rows: await state.store.log.rows(0),
    checkpoints: await state.store.log.checkpoints(),
    versions: await state.store.versions(),
  };
  const receipts = proofs.map((proof, index) => ({ source: `receipt ${index}`, proof }));
  return { state, world, document, receipts };
}

const codes = ({ faults }: { readonly faults: readonly { readonly code: string }[] }) => faults.map(({ code }) => code);

describe('audit verify', () => {
  afterEach(closeWorlds);
  let whole: Awaited<ReturnType<typeof auditedFederation>>;
  beforeEach(async () => {
    whole = await auditedFederation();
  });

  it('[VER-1] an honest log holds, from the state and from its file, with the receipts of clients', () => {
    const { document, receipts } = whole;
    const verdict = verifyLog(document, receipts);
    assert.deepEqual(verdict.faults, []);
    assert.equal(verdict.receiptCount, 2);
    assert.deepEqual(verifyLog(readLogFile(writeLogFile(document), 'file'), receipts), verdict);
    assert.throws(() => readLogFile('{"format":"x"}\n', 'file'), { code: 'bad-log' });
    assert.throws(() => readLogFile('nothing', 'file'), { code: 'bad-log' });
    assert.throws(() => readLogFile('', 'file'), { code: 'bad-log' });
  });

  it('[VER-2] every entry that is changed, left out or put in is seen', () => {
    const { document, receipts } = whole;
    const { rows } = document;
    for (const index of rows.keys()) {
      const row = rows[index]!;
      const changes = [
        rows.toSpliced(index, 1),
        rows.toSpliced(index, 1, { ...row, payload: row.payload.replace('{', '{"a":1,') }),
        rows.toSpliced(index, 0, row),
      ];
      for (const changed of changes)
        assert.notDeepEqual(verifyLog({ ...document, rows: changed }, receipts).faults, [], `entry ${index}`);
    }
  });

  it('[VER-3] log-fork: a coordinator that signs another log is caught by a receipt', async () => {
    const other = await auditedFederation();
    assert.deepEqual(verifyLog(other.document, other.receipts).faults, []);
    const found = verifyLog(
      { ...whole.document, rows: whole.document.rows.slice(0, -4), checkpoints: [] },
      whole.receipts,
    );
    assert.ok(codes(found).includes('log-fork'));
    const cut = verifyLog({ ...whole.document, rows: whole.document.rows.slice(0, 9) });
    assert.ok(codes(cut).includes('log-cut'));
  });

  it('[VER-8] a log that no checkpoint signs to its end is none, and neither is an empty one', () => {
    const { document } = whole;
    assert.equal(verifyLog(document, [], { isClosed: true }).unsignedCount, 0);
    const unsigned = { ...document, checkpoints: [] };
    assert.deepEqual(codes(verifyLog(unsigned, [], { isClosed: true })), ['unsigned-entries']);
    assert.deepEqual(codes(verifyLog(unsigned)), ['unsigned-entries'], 'both rounds ended without a checkpoint');
    // As the coordinator was killed between the entry of its last round and the checkpoint.
    const last = { ...document, checkpoints: document.checkpoints.slice(0, 1) };
    const open = verifyLog(last);
    assert.deepEqual(open.faults, []);
    assert.ok(open.unsignedCount > 0);
    assert.deepEqual(codes(verifyLog(last, [], { isClosed: true })), ['unsigned-entries']);
    assert.ok(codes(verifyLog({ ...document, rows: [], checkpoints: [], versions: [] })).includes('empty-log'));
  });

  it('[VER-9] a receipt proves what its file says, or is named: another round, another update, another federation or coordinator', () => {
    const { document, receipts } = whole;
    const decoded = decodeCanonical(logProofFormat, fromHex(receipts[1]!.proof), 'the receipt');
    assert.ok(decoded.ok);
    const { receipt } = JSON.parse(decoded.value.entries.at(-1)!.payload) as { receipt: string };
    const { federationId } = document.federation;
    const claims = { federationId, coordinatorKey: document.coordinatorKey, roundIndex: 1, receipt };
    const file = (changed: object): string =>
      JSON.stringify({ format: 'tributary-receipt-1', ...claims, proof: receipts[1]!.proof, ...changed });
    const judged = (changed: object) => codes(verifyLog(document, [parseReceipt(file(changed), 'receipt')]));
    assert.deepEqual(judged({}), []);
    assert.deepEqual(judged({ roundIndex: 0 }), ['changed-receipt']);
    assert.deepEqual(judged({ receipt: 'ab'.repeat(32) }), ['changed-receipt']);
    assert.deepEqual(judged({ federationId: 'ab'.repeat(32) }), ['other-federation']);
    assert.deepEqual(judged({ coordinatorKey: 'ab'.repeat(32) }), ['other-federation']);
    assert.throws(() => parseReceipt(file({ roundIndex: 'x' }), 'receipt'), { code: 'bad-receipt' });
  });

  it('[VER-4] a version that was changed or taken away after it was logged is seen', () => {
    const { document } = whole;
    const missing = { ...document, versions: document.versions.slice(0, -1) };
    assert.ok(codes(verifyLog(missing)).includes('version-missing'));
    const versions = document.versions.toSpliced(1, 1, {
      ...document.versions[1]!,
      adapter: 'ab'.repeat(32) as Digest,
    });
    assert.ok(codes(verifyLog({ ...document, versions })).includes('aggregate-tamper'));
  });

  it('[VER-5] aggregate-tamper: a round is made again of retained updates, and another result, delta or weight is seen', async () => {
    const { state, world } = whole;
    const exchange = exchangeOf(plan.aggregation, layoutOf((await state.store.federation())!.tensors));
    const versions = await world.coordinator.library();
    const keys = keysOf(await state.store.clients());
    const transcript = (await state.store.log.transcript(1))!;
    const source = {
      plan,
      exchange,
      transcript,
      versions,
      keys,
      blobs: state.blobs,
      judgeAt: () => () => assert.fail('nothing is masked'),
    };
    const honest = await replayRound(source);
    assert.deepEqual(honest, { roundIndex: 1, version: 2, updateCount: 2, deviation: 0, faults: [] });

    const delta = await state.blobs.put(bytesOf(Float32Array.of(9, 9, 9)));
    const [first, second] = transcript.updates;
    const weighed = { ...transcript, updates: [{ ...first!, exampleCount: 500 }, second!] };
    assert.deepEqual(codes(await replayRound({ ...source, transcript: weighed })), [
      'unsigned-update',
      'aggregate-tamper',
    ]);
    const left = await replayRound({ ...source, transcript: { ...transcript, updates: [second!] } });
    assert.ok(codes(left).includes('aggregate-tamper'));
    const swapped = { ...transcript, updates: [{ ...first!, delta }, second!] };
    assert.ok(codes(await replayRound({ ...source, transcript: swapped })).includes('unsigned-update'));
    const unsigned = await replayRound({
      ...source,
      transcript: { ...transcript, evidence: transcript.evidence.slice(1) },
    });
    assert.deepEqual(codes(unsigned), ['unsigned-update']);
    const tampered = versions.toSpliced(2, 1, {
      ...versions[2]!,
      record: { ...versions[2]!.record, adapterDigest: delta },
    });
    assert.deepEqual(codes(await replayRound({ ...source, versions: tampered })), ['aggregate-tamper']);
    const moved = versions.toSpliced(2, 1, { ...versions[2]!, row: { ...versions[2]!.row, ruleState: delta } });
    assert.deepEqual(codes(await replayRound({ ...source, versions: moved })), ['aggregate-tamper']);
  });

  it('[VER-6] without retention nothing is kept of a published round', async () => {
    const state = memoryState(seededEntropy(79));
    const world = await startWorld({ plan: testPlan({ evaluation: { everyRounds: 0 } }), state });
    const clients = [await joinClient(world, 5), await joinClient(world, 6)];
    for (const client of clients) await client.accept();
    for (const client of clients) assert.ok((await client.upload(Float32Array.of(1, 2, 3))).ok);
    await settled();
    assert.equal((await world.coordinator.versions()).length, 2);
    assert.equal(await state.store.log.transcript(0), null);
  });
});
