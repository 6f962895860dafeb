import { strict as assert } from 'node:assert';
import { entryOf } from '../../../coordinator/audit/log-store.ts';
import { openAudit } from '../../../coordinator/audit/open-audit.ts';
import { verifyLog } from '../../../coordinator/audit/verify.ts';
import { contributionsOf, lastWithout, roundsInEffect } from '../../../coordinator/library/contributions.ts';
import { checkLineage } from '../../../coordinator/library/lineage.ts';
import { makeRollback } from '../../../coordinator/library/publish.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import { sealWithdrawal, withdrawalAnswerSchema } from '../../../shared/identity/withdrawal.ts';
import type { FakeClient } from '../fake-client.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from '../harness.ts';

const plan = testPlan({ rounds: { count: 3, cohortSize: 3, quorum: 2 }, evaluation: { everyRounds: 0 } });
const ones = Float32Array.of(1, 1, 1);

/** Plays a round that these clients contribute to; the others decline. */
async function playRound(all: readonly FakeClient[], contributing: readonly FakeClient[]): Promise<void> {
  for (const client of all) {
    const { roundHash } = client.offer();
    if (contributing.includes(client)) await client.accept();
    else
      await client.call(
        'decline',
        client.seal('decline', Object.assign({ roundHash }, { code: 'policy-refused', reason: 'x' })),
      );
  }
  for (const client of contributing) assert.ok((await client.upload(ones)).ok);
  await settled();
}

describe('withdrawal', () => {
  afterEach(closeWorlds);

  it('[WDR-1] a site that withdraws hears where its updates are, is shut out for good, and stands in the log', async () => {
    const state = memoryState(seededEntropy(31));
    const world = await startWorld({ plan, state });
    const clients = [await joinClient(world, 11), await joinClient(world, 12), await joinClient(world, 13)] as const;
    await playRound(clients, clients.slice(0, 2));
    await playRound(clients, clients);
    const { federationId } = world.coordinator;
    const [, , leaving] = clients;
    const sealed = sealWithdrawal(leaving.identity, federationId, 1);
    const answer = await world.transport.withdraw(sealed);
    assert.equal(answer.status, 200);
    assert.deepEqual(withdrawalAnswerSchema.parse(answer.body), {
      status: 'withdrawn',
      direct: [2],
      all: [2],
      phases: [],
      latest: 2,
      erased: [],
    });
    assert.deepEqual((await world.transport.withdraw(sealed)).body, answer.body);
    const refused = await leaving.accept();
    assert.equal(!refused.ok && refused.error.code, 'revoked-client');
    leaving.leave();
    await assert.rejects(leaving.connect(), /revoked-client/);
    const types = (await state.store.log.rows(0)).map((row) => entryOf(row).type);
    assert.equal(types.filter((type) => type === 'client-withdrew').length, 1);
    const forged = { ...sealed, signature: sealWithdrawal(clients[0].identity, federationId, 1).signature! };
    for (const wrong of [forged, {}, sealWithdrawal(clients[0].identity, 'ab'.repeat(32) as never, 1)])
      assert.equal((await world.transport.withdraw(wrong)).status, 403);
    assert.equal((await state.store.client(clients[0].identity.clientId))?.status, 'approved');
  });

  it('[WDR-2] an operator goes back to the last version without the site, and the federation is rebuilt from there', async () => {
    const state = memoryState(seededEntropy(32));
    const first = await startWorld({ plan, state });
    const clients = [await joinClient(first, 11), await joinClient(first, 12), await joinClient(first, 13)] as const;
    await playRound(clients, clients.slice(0, 2));
    await playRound(clients, clients);
    await playRound(clients, clients.slice(0, 2));
    assert.equal((await first.coordinator.ended).status, 'completed');
    const { clientId } = clients[2].identity;
    await first.transport.withdraw(sealWithdrawal(clients[2].identity, first.coordinator.federationId, 1));
    await first.coordinator.close();

    const { identity, store } = state;
    const federation = (await store.federation())!;
    const lineageOf = async () =>
      checkLineage(await store.versions(), { coordinatorKey: identity.publicKey, federation });
    const before = await lineageOf();
    assert.deepEqual(contributionsOf(before, clientId, plan), { direct: [2], all: [2, 3] });
    const target = lastWithout(before, clientId);
    const keys = ['ab'.repeat(32) as never, clientId];
    assert.deepEqual(contributionsOf(before, keys, plan), { direct: [2], all: [2, 3] }, 'a site with two keys');
    assert.equal(lastWithout(before, keys).row.version, 1);
    assert.equal(target.row.version, 1);
    assert.throws(() => lastWithout(before, 'ab'.repeat(32) as never), { code: 'not-contributed' });
    const audit = await openAudit(state, null, first.clock);
    const lineage = { identity, plan, record: federation, publishedMs: 5 };
    await audit.store.addVersion(makeRollback(lineage, { latest: before[3]!.row, target }));
    assert.equal(roundsInEffect(await store.versions(), identity.publicKey), 1);
    const rolledBack = await lineageOf();
    assert.deepEqual(contributionsOf(rolledBack, clientId, plan).all, [2, 3]);
    assert.throws(() => lastWithout(rolledBack, clientId), { code: 'nothing-to-roll-back' });
    // Version 4 is version 1 again: a client of both is taken out of both, and nothing of the third comes back.
    assert.equal(lastWithout(rolledBack, clients[0].identity.clientId).row.version, 0);
    await assert.rejects(audit.store.addVersion(target.row), { code: 'round-closed' });

    const second = await startWorld({ plan, state, entropy: seededEntropy(33) });
    const staying = clients.slice(0, 2);
    for (const client of staying) await client.connect(second);
    await second.clock.advance(60_000);
    await playRound(staying, staying);
    await playRound(staying, staying);
    assert.equal((await second.coordinator.ended).status, 'completed');
    const after = await lineageOf();
    assert.equal(after.length, 7);
    assert.equal(after[6]!.record.contributors.includes(clientId), false);
    assert.deepEqual(contributionsOf(after, clientId, plan), { direct: [2], all: [2, 3] });
    assert.throws(() => lastWithout(after, clientId), { code: 'nothing-to-roll-back' });
    const verdict = verifyLog({
      federation,
      coordinatorKey: toHex(identity.publicKey),
      rows: await store.log.rows(0),
      checkpoints: await store.log.checkpoints(),
      versions: await store.versions(),
    });
    assert.deepEqual(verdict.faults, []);
  });
});
