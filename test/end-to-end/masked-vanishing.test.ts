/** Clients that vanish from a masked round before each of their messages, over whole clients and a whole coordinator (security specification, section 2.6). */
import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLayout, fixedLearner } from '../client/fixed-learner.ts';
import { closeWorlds, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { losingCalls, platformIn, runClient } from './memory-federation.ts';

const dim = 7;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
type Kind = 'ADVERT' | 'SHARES' | 'MASKED' | 'AGREE' | 'UNMASK';

/** The world as a client sees it that is gone when it would say `kind`; with null it stays. */
function worldOf(world: World, kind: Kind | null, vanish: () => void): World {
  return losingCalls(world, (call) => {
    if (call.kind !== kind) return false;
    vanish();
    return true;
  });
}

/** One round of clients with the deltas 0.01, 0.02, 0.04, …, of which some vanish: a hundred times their sum. */
async function federate(vanishing: readonly (Kind | null)[]) {
  const changes = {
    rounds: { count: 1, cohortSize: vanishing.length, quorum: 3, voidsMax: 1 },
    evaluation: { everyRounds: 0 },
    secureAggregation: { mode: 'on' },
  };
  const world = await startWorld({
    plan: { ...testPlan(changes), base: { digest: fixedBaseDigest(fixedBase) } },
    baseFiles: fixedBase,
    baseDigest: fixedBaseDigest(fixedBase),
    layout: fixedLayout(dim),
    initialAdapter: new Float32Array(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (const [index, kind] of vanishing.entries()) {
    const seen = worldOf(world, kind, () => setImmediate(() => clients[index]!.stop()));
    const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(2 ** index / 100) });
    clients.push(await runClient(seen, { platform: platformIn(world, 500 + index), learner, policy }));
  }
  for (let turn = 0; turn < 60 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const [, version] = await world.coordinator.library();
  const opened = world.events.find((event) => event.type === 'masking' && event.stage === 'opened');
  if (version === undefined) return { sum: null, opened };
  const [value = 0] = float32Of(await world.coordinator.adapter(version.row));
  return { sum: Math.round(100 * value * version.record.contributors.length), opened };
}

describe('clients that vanish from a masked round', () => {
  afterEach(closeWorlds);

  for (const [kind, sum] of [
    ['ADVERT', 14],
    ['SHARES', 14],
    ['MASKED', 14],
    ['AGREE', 15],
    ['UNMASK', 15],
  ] as const)
    it(`[VAN-1] client-crash each state: one of four before ${kind}: the sum is of ${sum === 15 ? 'all, the vanished one too' : 'the others'}`, async () => {
      assert.equal((await federate([kind, null, null, null])).sum, sum);
    });

  it('[VAN-2] more than the threshold allows: nothing is opened, and the round is void', async () => {
    for (const kind of ['SHARES', 'MASKED', 'UNMASK'] as const) {
      const { sum, opened } = await federate([kind, kind, null, null]);
      assert.equal(sum, null, kind);
      assert.equal(opened, undefined, kind);
    }
  });

  it('[VAN-3] two of seven in different stages', async () => {
    assert.equal((await federate(['SHARES', 'AGREE', null, null, null, null, null])).sum, 127 - 1);
  });
});
