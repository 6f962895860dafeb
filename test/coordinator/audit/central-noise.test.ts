/** Seeds of central noise that a coordinator keeps for an auditor, and forgets where a round makes no version. */
import { strict as assert } from 'node:assert';
import { memoryState } from '../../../coordinator/store/state.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from '../harness.ts';

const plan = parsePlan(
  {
    ...testPlan({
      aggregation: { weighting: 'equal' },
      evaluation: { everyRounds: 0 },
      audit: { retainUpdates: true },
    }),
    privacy: { unit: 'client', mechanism: 'central', clipNorm: 1, noiseMultiplier: 1, epsilon: 50 },
  },
  'the test',
);

describe('kept noise', () => {
  afterEach(closeWorlds);

  it('[KNO-1] log-secrecy: a round has a seed while it is open; once it is void there is none, whenever the coordinator ended', async () => {
    const state = memoryState(seededEntropy(81));
    const world = await startWorld({ plan, state });
    const clients = [await joinClient(world, 11), await joinClient(world, 12)];
    const seedOf = () => state.store.documents.get('noise/0');
    const seed = await seedOf();
    assert.match(seed ?? '', /^[0-9a-f]{64}$/);
    for (const client of clients) {
      const declined = { roundHash: client.offer().roundHash, code: 'policy-refused', reason: 'x' };
      await client.call('decline', client.seal('decline', declined));
    }
    await settled();
    assert.equal((await state.store.rounds())[0]?.status, 'void');
    assert.equal(await seedOf(), '');
    assert.ok((await state.store.log.find('noise-committed', '0')) !== null, 'the log keeps the hash');
    assert.ok(!JSON.stringify(await state.store.log.rows(0)).includes(seed!));

    await world.coordinator.close();
    await state.store.documents.put('noise/0', seed!);
    await startWorld({ plan, state, entropy: seededEntropy(82) });
    assert.equal(await seedOf(), '');
  });
});
