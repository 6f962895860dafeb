/**
 * A coordinator that is killed between any two of its steps on durable state, before or after the step took effect. The next one goes on from
 * what is left. Restarts of real processes stand in `test/end-to-end`.
 */
import { strict as assert } from 'node:assert';
import { entryOf, keyOf } from '../../coordinator/audit/log-store.ts';
import type { StagedBlob } from '../../coordinator/store/blobs.ts';
import type { CoordinatorState } from '../../coordinator/store/state.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import { StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { epsilonText, readStatement, spendingOf } from '../../shared/plan/privacy.ts';
import type { FakeClient } from './fake-client.ts';
import { enrolClient } from './fake-client.ts';
import type { World } from './harness.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from './harness.ts';

/** Whether the step at which a coordinator is killed took effect; or its disk is full from that step on, and it is not killed. */
type Moment = 'before' | 'after' | 'full';
/** Steps for which a disk has to have room. */
const writing = /^(open|reopen|add|void|publish|put|write|commit|append|advance|set|save|redeem|begin)/;
type Step = (...parameters: never[]) => unknown;

/**
 * State that does nothing any more from its step number `killAt` on: that step is not done, or done without an answer. Where it is not done, what
 * hangs is the database or the folder of blobs, and the other of the two goes on until the coordinator is killed.
 */
function killable(state: CoordinatorState, killAt: number, moment: Moment) {
  let count = 0;
  const names: string[] = [];
  const never = () => new Promise<never>(() => undefined);
  let hanging: string | null = null;
  const wrap = <Part extends object>(part: Part, of: 'store' | 'blobs'): Part =>
    Object.fromEntries(
      Object.entries(part).map(([name, value]) => [
        name,
        typeof value === 'object'
          ? wrap(value as object, of)
          : (...parameters: never[]) => {
              const step = value as Step;
              // Begins an upload in memory: no step on durable state.
              if (name === 'stage') return wrap(step(...parameters) as StagedBlob, of);
              if (moment === 'full' && !writing.test(name)) return step(...parameters);
              count += 1;
              names.push(name);
              if (moment === 'full' && count >= killAt)
                return Promise.reject(new StoreError('store-failed', 'no space left on the disk'));
              if (moment === 'before' && count === killAt) hanging = of;
              if (moment === 'before' ? hanging === of : count > killAt) return never();
              const done = step(...parameters);
              return count === killAt ? never() : done;
            },
      ]),
    ) as Part;
  const doomed: CoordinatorState = { ...state, store: wrap(state.store, 'store'), blobs: wrap(state.blobs, 'blobs') };
  return { doomed, isDead: () => count >= killAt, names };
}

const ones = Float32Array.of(1, 1, 1);
const plan = testPlan({ rounds: { count: 2 }, aggregation: { rule: 'fedavgm', momentum: 0.5 } });
/** Momentum buffer 1 then 1.5: what a first and a second round make of deltas of ones, each applied once. */
const expectedValues = [0, 1, 2.5];
/** One round with noise. */
const privatePlanOf = (budget: { readonly noiseMultiplier?: number; readonly epsilon: number }) =>
  parsePlan(
    {
      ...testPlan({
        rounds: { count: 1 },
        aggregation: { weighting: 'equal' },
        evaluation: { everyRounds: 0 },
      }),
      privacy: { unit: 'client', clipNorm: 0.1, ...budget },
    },
    'the test',
  );
const privatePlan = privatePlanOf({ noiseMultiplier: 0.5, epsilon: 500 });
/** The least noise: the budget pays one number, and none beyond. */
const tightPlan = privatePlanOf({ epsilon: 20 });

/** A receipt that a client holds. */
interface Receipt {
  readonly digest: Digest;
  readonly roundIndex: number;
  readonly clientId: string;
}

/** Does whatever the clients are asked to do, until nothing happens any more. Nothing is awaited but the quiet. */
async function play(world: World, clients: readonly FakeClient[], receipts: Receipt[]): Promise<void> {
  const ignore = (): void => undefined;
  for (const client of clients) client.connect(world).catch(ignore);
  await settled();
  const seen = new Map(
    clients.map((client) => [client, { offers: new Set<string>(), evaluations: new Set<unknown>() }]),
  );
  for (let isBusy = true; isBusy; ) {
    isBusy = false;
    for (const client of clients) {
      const { offers, evaluations } = seen.get(client)!;
      const { roundHash = '', roundParams } = client.heard.includes('offer') ? client.offer() : {};
      if (roundParams !== undefined && !offers.has(roundHash)) {
        offers.add(roundHash);
        isBusy = true;
        const { roundIndex } = roundParams;
        client
          .accept()
          .then(() => client.upload(ones))
          .then((answer) => {
            if (!answer.ok) return;
            receipts.push({ roundIndex, clientId: client.identity.clientId, digest: answer.value.receipt });
          })
          .catch(ignore);
      }
      const request = client.evaluations.at(-1);
      if (request !== undefined && !evaluations.has(request)) {
        evaluations.add(request);
        isBusy = true;
        client.evaluate(null, 0).catch(ignore);
      }
    }
    await settled();
  }
}

/** What the versions are held to after a coordinator was killed. */
type CheckVersions = (world: World) => Promise<void>;

/** Every update is applied once. */
const checkValues: CheckVersions = async ({ coordinator }) => {
  assert.equal((await coordinator.ended).status, 'completed');
  const versions = await coordinator.library();
  assert.equal(versions.length, 3);
  for (const [index, { row }] of versions.entries()) {
    const values = float32Of(await coordinator.adapter(row));
    assert.ok(
      values.every((value) => value === expectedValues[index]),
      `version ${index} holds ${values[0]}`,
    );
  }
};

/** The version of a round spent what the numbers up to its own cost: those of rounds that were killed are charged as well, each once. */
const checkSpending: CheckVersions = async ({ coordinator }) => {
  assert.equal((await coordinator.ended).status, 'completed');
  const versions = await coordinator.library();
  assert.equal(versions.length, 2);
  const { row, record } = versions[1]!;
  const { epsilonAfter } = spendingOf(privatePlan, ones.length)!;
  assert.equal(String(readStatement(record.privacy).epsilon), epsilonText(epsilonAfter(row.roundIndex + 1)));
  assert.equal((await coordinator.rounds()).length, row.roundIndex + 1);
};

/** A number that was used up is paid, and no other is there: either its round was published, or nothing ever is. */
const checkBudget: CheckVersions = async ({ coordinator }) => {
  const { status, detail } = await coordinator.ended;
  const versions = await coordinator.library();
  const [only, ...further] = await coordinator.rounds();
  assert.deepEqual(further, []);
  assert.equal(versions.length, only!.status === 'published' ? 2 : 1);
  if (status === 'stopped') assert.match(detail, /^the privacy budget is spent: it pays 1 rounds/);
  assert.equal(status, only!.status === 'published' ? 'completed' : 'stopped');
};

async function checkLedger(world: World, state: CoordinatorState, receipts: readonly Receipt[]): Promise<void> {
  await world.coordinator.ended;
  const versions = await world.coordinator.library();
  const rounds = await world.coordinator.rounds();
  assert.deepEqual(
    rounds.map(({ roundIndex }) => roundIndex),
    [...rounds.keys()],
  );
  assert.equal(rounds.filter(({ status }) => status === 'published').length, versions.length - 1);
  for (const { roundIndex, status } of rounds) {
    assert.notEqual(status, 'open');
    assert.deepEqual(await state.store.updatesOf(roundIndex), []);
    const version = versions.find(({ row }) => row.roundIndex === roundIndex);
    assert.equal(version !== undefined, status === 'published');
    for (const { clientId, digest } of receipts.filter((receipt) => receipt.roundIndex === roundIndex)) {
      assert.ok(version === undefined || version.record.contributors.includes(clientId as never), 'a receipt counts');
      assert.ok(
        (await state.store.log.find('update-stored', `${roundIndex}/${digest}`)) !== null,
        'a receipt is logged',
      );
    }
  }
}

/** The log holds every change of the state that it has to, and no other end of a round. */
async function checkLog({ store }: CoordinatorState): Promise<void> {
  const logged = new Set((await store.log.rows(0)).map((row) => keyOf(entryOf(row))));
  const rounds = await store.rounds();
  const expected = [
    ...(await store.invites()).map(() => 'invite-made'),
    ...(await store.clients()).map(({ clientId }) => `client-enrolled/${clientId}`),
    ...rounds.flatMap(({ roundIndex, status }) => [`round-opened/${roundIndex}`, `round-${status}/${roundIndex}`]),
    'round-published/-1',
  ];
  for (const key of expected)
    assert.ok(
      [...logged].some((one) => one.startsWith(key)),
      `${key} is not in the log`,
    );
  const ends = [...logged].filter((key) => /^round-(?:void|published)/.test(key));
  assert.equal(ends.length, rounds.length + 1);
}

/** Runs a federation with a coordinator that is killed, then one that goes on. Returns the steps that the first one did. */
async function runKilled(
  killAt: number,
  moment: Moment,
  plan: Plan,
  checkVersions: CheckVersions,
): Promise<{ readonly isDead: boolean; readonly names: string[] }> {
  const state = memoryState(seededEntropy(1));
  const preparing = await startWorld({ plan, state });
  const clients = [await enrolClient(preparing, 11), await enrolClient(preparing, 12)];
  await preparing.coordinator.close();
  const { doomed, isDead, names } = killable(state, killAt, moment);
  const receipts: Receipt[] = [];
  let first: World | null = null;
  let ended: unknown = null;
  const end = (thrown: unknown): void => {
    ended = thrown;
  };
  startWorld({ plan, state: doomed, entropy: seededEntropy(2), isDoomed: true }).then((world) => {
    first = world;
    world.coordinator.ended.catch(end);
  }, end);
  await settled();
  if (first !== null) await play(first, clients, receipts);
  if (!isDead()) return { isDead: false, names };
  if (moment === 'full') {
    // What a client asks is answered by silence; at the latest the deadline of the round finds that nothing can be written.
    await (first as World | null)?.clock.advance(600_000);
    assert.match(String(ended), /no space left/);
  }
  const second = await startWorld({ plan, state, entropy: seededEntropy(3) });
  await play(second, clients, receipts);
  await checkLedger(second, state, receipts);
  await checkVersions(second);
  await checkLog(state);
  await closeWorlds();
  return { isDead: true, names };
}

/** Kills at the first step, the second and so on, until a run ends before its step. */
async function killEverywhere(moment: Moment, chosen: Plan, checkVersions: CheckVersions) {
  for (let killAt = 1; ; killAt++) {
    try {
      const { isDead, names } = await runKilled(killAt, moment, chosen, checkVersions);
      if (!isDead) return { killAt, names };
    } catch (thrown) {
      throw new Error(`killed ${moment} step ${killAt}`, { cause: thrown });
    }
  }
}

describe('durability', () => {
  afterEach(closeWorlds);

  for (const moment of ['before', 'after'] as const) {
    it(`[DUR-1] kill-9-server-at-every-await: killed ${moment} any step on durable state, the next start finishes the federation`, async function () {
      // A hundred coordinators, killed and started again.
      this.timeout(120_000);
      const { killAt, names } = await killEverywhere(moment, plan, checkValues);
      // The sweep saw every kind of step, and the run that nobody killed did all of them.
      for (const name of [
        'openRound',
        'advanceSequence',
        'write',
        'commit',
        'addUpdate',
        'append',
        'addCheckpoint',
        'scan',
        'put',
        'publish',
        'delete',
      ])
        assert.ok(names.includes(name), `${name} was never done`);
      assert.ok(killAt > 60, `${killAt} steps`);
    });
  }

  it('[DUR-5] kill-9-server-at-every-await, budget-stop: epsilon counts every number once, those of killed rounds too, and nothing is published beyond the budget', async function () {
    this.timeout(120_000);
    await killEverywhere('before', privatePlan, checkSpending);
    const { names } = await killEverywhere('after', tightPlan, checkBudget);
    assert.ok(names.includes('publish'));
  });

  it('[DUR-6] disk-full: full from any step on that writes, the coordinator ends and says so; with room again the next start finishes the federation', async function () {
    this.timeout(120_000);
    const { killAt, names } = await killEverywhere('full', privatePlan, checkSpending);
    assert.ok(killAt > 20, `${killAt} steps, ${names.join()}`);
  });

  it('[DUR-2] disk-full: a store that fails ends the federation, and nothing more is written', async () => {
    const state = memoryState(seededEntropy(1));
    let isBroken = false;
    const written: string[] = [];
    const store = {
      ...state.store,
      openRound: async (...parameters: Parameters<typeof state.store.openRound>) => {
        if (isBroken) throw new Error('disk full');
        await state.store.openRound(...parameters);
      },
      voidRound: async (...parameters: Parameters<typeof state.store.voidRound>) => {
        written.push('voidRound');
        return state.store.voidRound(...parameters);
      },
    };
    const world = await startWorld({ state: { ...state, store }, isDoomed: true });
    const clients = [await enrolClient(world, 11), await enrolClient(world, 12)];
    isBroken = true;
    for (const client of clients) await client.connect();
    await assert.rejects(world.coordinator.ended, /disk full/);
    await world.clock.advance(600_000);
    await world.coordinator.close();
    assert.deepEqual(written, []);
  });

  it('[DUR-3] stopped in any phase, no update is kept, the round is void, and the next start goes on', async () => {
    for (const phase of ['waiting', 'recruit', 'train', 'evaluate']) {
      const state = memoryState(seededEntropy(1));
      const first = await startWorld({ plan, state });
      const clients = [await enrolClient(first, 11), await enrolClient(first, 12)] as const;
      if (phase !== 'waiting') for (const client of clients) await client.connect();
      if (phase !== 'waiting' && phase !== 'recruit') for (const client of clients) await client.accept();
      if (phase === 'train' || phase === 'evaluate') await clients[0].upload(ones);
      if (phase === 'evaluate') await clients[1].upload(ones);
      await settled();
      await first.coordinator.close();
      const { detail } = await first.coordinator.ended;
      assert.match(detail, phase === 'waiting' ? /^stopped by its operator; 0 of 2/ : /published, 1 void$/, phase);
      for (const { roundIndex, status } of await state.store.rounds()) {
        assert.equal(status, 'void');
        assert.deepEqual(await state.store.updatesOf(roundIndex), []);
      }
      const second = await startWorld({ plan, state, entropy: seededEntropy(3) });
      await play(second, clients, []);
      assert.equal((await second.coordinator.ended).status, 'completed');
      await checkLedger(second, state, []);
    }
  });

  it('[DUR-4] stopped while a version is being published, the version counts and the end says so', async () => {
    const state = memoryState(seededEntropy(1));
    const disk = Promise.withResolvers<void>();
    const store = {
      ...state.store,
      publish: async (...parameters: Parameters<typeof state.store.publish>) => {
        await disk.promise;
        return state.store.publish(...parameters);
      },
    };
    const once = testPlan({ rounds: { count: 1 }, evaluation: { everyRounds: 0 } });
    const world = await startWorld({ plan: once, state: { ...state, store } });
    const clients = [await enrolClient(world, 11), await enrolClient(world, 12)];
    await play(world, clients, []);
    world.coordinator.stop();
    disk.resolve();
    assert.deepEqual(await world.coordinator.ended, {
      status: 'completed',
      detail: '1 of 1 rounds published, all clients that were asked contributed',
    });
  });
});
