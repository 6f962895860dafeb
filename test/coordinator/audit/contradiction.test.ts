import { strict as assert } from 'node:assert';
import { type Contradiction, contradicted, judgeContradiction } from '../../../coordinator/audit/contradiction.ts';
import { entryOf, payloadOf } from '../../../coordinator/audit/log-store.ts';
import { verifyLog } from '../../../coordinator/audit/verify.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import { encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { maskedFormat } from '../../../shared/secure-aggregation/messages.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan } from '../harness.ts';

const digest = (digits: string) => digits.repeat(32) as Digest;
const [client, stranger] = [1, 2].map((seed) => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto));

/** What a client signs about a masked vector. */
function announced(vecRoot: Digest, changes: object = {}, identity = client!) {
  const body = { rosterHash: digest('a0'), dealersHash: digest('a1'), place: 2, vecRoot, chunkDigests: [vecRoot] };
  const signed = encodeCanonical(maskedFormat, { ...body, ...changes });
  return { signed, signature: identity.sign('MASKED', signed) };
}

describe('evidence of contradictions', () => {
  afterEach(closeWorlds);

  it('[double-submit-conflict] evidence of two signed updates is in the log before the second is refused, once, and an auditor checks it', async () => {
    const state = memoryState(seededEntropy(80));
    const world = await startWorld({ state, plan: testPlan({ evaluation: { everyRounds: 0 } }) });
    const clients = [await joinClient(world, 5), await joinClient(world, 6)];
    for (const one of clients) await one.accept();
    const evidence = async () =>
      (await state.store.log.rows(0)).filter((row) => entryOf(row).type === 'client-contradicted').map(payloadOf);
    assert.ok((await clients[0]!.upload(Float32Array.of(1, 2, 3))).ok);
    assert.ok((await clients[0]!.upload(Float32Array.of(1, 2, 3))).ok);
    assert.deepEqual(await evidence(), [], 'the same again is no contradiction');
    for (const value of [8, 9]) {
      const refused = await clients[0]!.upload(new Float32Array(3).fill(value));
      assert.equal(!refused.ok && refused.error.code, 'conflicting-update');
      const found = await evidence();
      assert.equal(found.length, 1);
      assert.equal(found[0]!.clientId, clients[0]!.identity.clientId);
      assert.equal(judgeContradiction(found[0]!), null);
    }
    assert.ok((await clients[1]!.upload(Float32Array.of(1, 2, 3))).ok);
    const rows = await state.store.log.rows(0);
    const document = {
      federation: (await state.store.federation())!,
      coordinatorKey: toHex(state.identity.publicKey),
      rows,
      checkpoints: [],
      versions: await state.store.versions(),
    };
    assert.deepEqual(verifyLog(document).faults, []);
    // A coordinator that makes it up: the same update twice.
    const [{ first }] = (await evidence()) as [{ readonly first: object }];
    await state.store.log.append(
      [{ type: 'client-contradicted', subject: 'made up', payload: { ...(await evidence())[0], second: first } }],
      0,
    );
    const { faults } = verifyLog({ ...document, rows: await state.store.log.rows(0) });
    assert.deepEqual(
      faults.map(({ code, detail }) => [code, detail]),
      [['bad-evidence', `entry ${rows.length}: both submissions are the same`]],
    );
  });

  it('[CTD-1] proves two masked vectors of one place, and nothing that another signed, that is of two rounds, or the same', () => {
    const [one, two] = [announced(digest('01')), announced(digest('02'))];
    const judge = (changes: Partial<Contradiction>): string | null => {
      const { publicKey } = client!;
      const found = {
        publicKey,
        roundHash: digest('bb'),
        kind: 'MASKED',
        first: one,
        second: two,
        ...changes,
      } as const;
      return judgeContradiction(contradicted(found).payload);
    };
    assert.equal(judge({}), null);
    const unsigned = 'a submission is not one that the client signed';
    assert.equal(judge({ second: announced(digest('02'), {}, stranger) }), unsigned);
    assert.equal(judge({ publicKey: stranger!.publicKey }), unsigned);
    assert.equal(judge({ kind: 'UPDATE' }), unsigned);
    assert.equal(judge({ second: { ...two, signature: one.signature } }), unsigned);
    for (const changes of [{ rosterHash: digest('a9') }, { dealersHash: digest('a9') }, { place: 3 }])
      assert.equal(judge({ second: announced(digest('02'), changes) }), 'the submissions are of different rounds');
    assert.equal(judge({ second: one }), 'both submissions are the same');
    const { payload } = contradicted({
      ...{ publicKey: client!.publicKey, roundHash: digest('bb') },
      ...{ kind: 'MASKED', first: one, second: two },
    });
    assert.equal(judgeContradiction({ ...payload, clientId: stranger!.clientId }), 'the key is not that of the client');
    assert.equal(judgeContradiction({ ...payload, second: 'nothing' }), unsigned);
    assert.equal(judgeContradiction({}), 'the key is not that of the client');
  });
});
