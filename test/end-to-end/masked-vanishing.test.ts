/** Clients that vanish from a masked round in each of their states, over whole clients and a whole coordinator (security specification, section 2.6). */
import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { losingCalls, platformIn, runClient } from './memory-federation.ts';

const dim = 7;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
type Kind = 'ADVERT' | 'SHARES' | 'MASKED' | 'AGREE' | 'UNMASK';
/** When a client is gone: while it trains, before it says something, or after the last that it says. */
type Moment = 'training' | Kind | 'end';

/** The world as a client sees it; `say` hears what it would say, and may take it away. */
function worldOf(world: World, say: (kind: string) => boolean): World {
  return losingCalls(world, ({ kind }) => say(kind));
}

/**
 * Masked rounds of clients with the deltas 0.01, 0.02, 0.04, …, of which some vanish in the first: a hundred times the sum of each version.
 * Who `comesBack` is started again at once on what it keeps: its key and its journal.
 */
async function federate(vanishing: readonly (Moment | null)[], { comesBack = false, roundCount = 1 } = {}) {
  const changes = {
    rounds: { count: roundCount, cohortSize: vanishing.length, quorum: 3, voidsMax: 1 },
    evaluation: { everyRounds: 0 },
    secureAggregation: { mode: 'on' },
  };
  const world = await startWorld({
    plan: { ...testPlan(changes), base: { digest: fixedBaseDigest(fixedBase) } },
    ...fixedStart(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  const isOver = (): boolean => world.events.some(({ type }) => type === 'published' || type === 'void');
  /** What those who came back said while the first round went on. */
  const saidAgain: string[] = [];
  const start = async (index: number, isFirst = true): Promise<void> => {
    const moment = vanishing[index] ?? null;
    let isGone = false;
    const vanish = (): true => {
      isGone = true;
      setImmediate(() => {
        running.stop();
        if (comesBack && isFirst) start(index, false).catch(assert.fail);
      });
      return true;
    };
    const seen = worldOf(world, (kind) => {
      if (isGone) return true;
      if (!isFirst && !isOver()) saidAgain.push(kind);
      if (!isFirst || moment === null) return false;
      if (kind === moment) return vanish();
      // What it says last arrives, and it hears no answer.
      if (kind === 'UNMASK' && moment === 'end') vanish();
      return false;
    });
    const delta = async (_roundIndex: number, _start: Float32Array, signal: AbortSignal) => {
      if (isFirst && moment === 'training') {
        vanish();
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('it is gone'))));
      }
      return new Float32Array(dim).fill(2 ** index / 100);
    };
    const learner = fixedLearner({ dim, delta });
    const running = await runClient(seen, { platform: platforms[index]!, learner, policy });
    clients.push(running);
  };
  const platforms = vanishing.map((_, index) => platformIn(world, 500 + index));
  for (const index of vanishing.keys()) await start(index);
  for (let turn = 0; turn < 60 * roundCount && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const opened = world.events.find((event) => event.type === 'masking' && event.stage === 'opened');
  const versions = await world.coordinator.library();
  const sums: number[] = [];
  let before = 0;
  for (const { row, record } of versions.slice(1)) {
    const [value = 0] = float32Of(await world.coordinator.adapter(row));
    sums.push(Math.round(100 * (value - before) * record.contributors.length));
    before = value;
  }
  return { sums, opened, saidAgain };
}

/** Every state of a client, by what it would say next, and whether its update is in the sum when it is lost there. */
const states = [
  ['training', 'training', false],
  ['READY', 'ADVERT', false],
  ['ADVERTISED', 'SHARES', false],
  ['SHARED', 'MASKED', false],
  ['MASKED', 'AGREE', true],
  ['AGREED', 'UNMASK', true],
  ['REVEALED', 'end', true],
] as const;

describe('clients that vanish from a masked round', () => {
  afterEach(closeWorlds);

  for (const [state, moment, isIn] of states) {
    it(`[VAN-1] client-crash each state: one of four in ${state}: the sum is of ${isIn ? 'all, the vanished one too' : 'the others'}`, async () => {
      assert.deepEqual((await federate([moment, null, null, null])).sums, [isIn ? 15 : 14]);
    });
  }

  for (const [state, moment, isIn] of states.filter(([, , isIn], index) => isIn || index === 2)) {
    it(`[VAN-4] client-crash each state: started again in ${state} it says nothing more in that attempt, and is in the next round`, async () => {
      const { sums, saidAgain } = await federate([moment, null, null, null], { comesBack: true, roundCount: 2 });
      assert.deepEqual([sums, saidAgain], [[isIn ? 15 : 14, 15], []]);
    });
  }

  it('[VAN-5] client-crash each state: started again while the others train it trains again, and takes part', async () => {
    const { sums, saidAgain } = await federate(['training', null, null, null], { comesBack: true });
    assert.deepEqual([sums, saidAgain], [[15], ['ADVERT', 'SHARES', 'MASKED', 'AGREE', 'UNMASK']]);
  });

  it('[VAN-2] more than the threshold allows: nothing is opened, and the round is void', async () => {
    for (const kind of ['SHARES', 'MASKED', 'UNMASK'] as const) {
      const { sums, opened } = await federate([kind, kind, null, null]);
      assert.deepEqual([sums, opened], [[], undefined], kind);
    }
  });

  it('[VAN-3] two of seven in different stages', async () => {
    assert.deepEqual((await federate(['SHARES', 'AGREE', null, null, null, null, null])).sums, [127 - 1]);
  });
});
