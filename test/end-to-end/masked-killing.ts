/**
 * A coordinator of masked rounds that is killed between any two of its steps on durable state, before or after the step took effect. Real clients
 * find the next one, which finishes the round or tries it again under its number.
 */
import { strict as assert } from 'node:assert';
import type { StagedBlob } from '../../coordinator/store/blobs.ts';
import type { CoordinatorState } from '../../coordinator/store/state.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { spentStatement } from '../../shared/plan/privacy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

/** Whether the step at which a coordinator is killed took effect. */
export type Moment = 'before' | 'after';
type Step = (...parameters: never[]) => unknown;

/** State that does nothing any more from its step number `killAt` on. Steps that change nothing do not count. */
function killable(state: CoordinatorState, killAt: number, moment: Moment) {
  let count = 0;
  const names: string[] = [];
  const never = () => new Promise<never>(() => undefined);
  const changing = /^(open|reopen|add|void|publish|put|commit|delete|advance)/;
  const wrap = <Part extends object>(part: Part): Part =>
    Object.fromEntries(
      Object.entries(part).map(([name, value]) => [
        name,
        typeof value !== 'function'
          ? value
          : (...parameters: never[]) => {
              const step = value as Step;
              if (name === 'stage') return wrap(step(...parameters) as StagedBlob);
              if (!changing.test(name)) return count >= killAt ? never() : step(...parameters);
              count += 1;
              names.push(name);
              if (count > killAt || (count === killAt && moment === 'before')) return never();
              const done = step(...parameters);
              return count === killAt ? never() : done;
            },
      ]),
    ) as Part;
  const doomed: CoordinatorState = { ...state, store: wrap(state.store), blobs: wrap(state.blobs) };
  return { doomed, isDead: () => count >= killAt, names };
}

const dim = 5;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const plan = {
  ...testPlan({
    rounds: { count: 1, cohortSize: 3, quorum: 3 },
    evaluation: { everyRounds: 1 },
    secureAggregation: { mode: 'on' },
  }),
  base: { digest: fixedBaseDigest(fixedBase) },
};
/** The same with noise of clients, of the least size: the budget pays one number, and none beyond. */
const tightPlan = parsePlan(
  {
    ...plan,
    aggregation: { weighting: 'equal' },
    privacy: { unit: 'client', mechanism: 'distributed', clipNorm: 1, epsilon: 20 },
  },
  'the test',
);

/** Runs one round whose coordinator is killed, then one that goes on. */
async function runKilled(killAt: number, moment: Moment, chosen: Plan) {
  const options = { plan: chosen, ...fixedStart(dim) };
  const state = memoryState(seededEntropy(1));
  const first = await startWorld({ ...options, state });
  const current: { world: World } = { world: first };
  // Clients keep their transport; it leads to whichever coordinator runs.
  const world: World = {
    ...first,
    transport: new Proxy(first.transport, {
      get: (_, name) => {
        const { transport } = current.world;
        return transport[name as keyof typeof transport];
      },
    }),
  };
  const platforms = [0, 1, 2].map((index) => platformIn(world, 700 + index));
  const learner = (index: number) => fixedLearner({ dim, delta: () => new Float32Array(dim).fill(index) });
  // They enrol with a coordinator that is closed again before anything happens: with one there is no quorum.
  for (const [index, platform] of platforms.entries()) {
    const client = await runClient(world, { platform, learner: learner(index), policy });
    await settled();
    client.stop();
    await client.ended;
  }
  await first.coordinator.close();
  const { doomed, isDead, names } = killable(state, killAt, moment);
  let second: World | null = null;
  startWorld({ ...options, state: doomed, entropy: seededEntropy(2), isDoomed: true }).then(
    (started) => {
      second = started;
    },
    () => undefined,
  );
  await settled();
  const running = second as World | null;
  current.world = running ?? first;
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  const join = async (): Promise<void> => {
    for (const [index, platform] of platforms.entries())
      clients.push(await runClient(world, { platform, learner: learner(index), policy }));
  };
  if (running !== null) await join();
  const isOver = (one: World): boolean => one.events.some(({ type }) => type === 'ended');
  for (let turn = 0; turn < 40 && running !== null && !isDead() && !isOver(running); turn++) await settled();
  let last = running ?? first;
  if (isDead()) {
    last = await startWorld({ ...options, state, entropy: seededEntropy(3) });
    current.world = last;
    if (running === null) await join();
    else await running.transport.close();
    for (let turn = 0; turn < 60 && !isOver(last); turn++) {
      await first.clock.advance(2_000);
      await last.clock.advance(2_000);
    }
  }
  assert.ok(isOver(last), `the federation ends: ${JSON.stringify(last.events.slice(-6))}`);
  const library = await last.coordinator.library();
  const rounds = await state.store.rounds();
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended: end }) => end));
  await closeWorlds();
  return { isDead: isDead(), names, library, rounds, coordinator: last.coordinator, state, platforms };
}

/** What one kill came to. */
export interface Killed {
  readonly isDead: boolean;
  /** Steps that the first coordinator did. */
  readonly names: readonly string[];
  /** Round number under which the version was published. */
  readonly roundIndex: number;
}

/** Kills a coordinator at a step and checks what its successor makes of it: one version, the mean of everybody, each contributing once. */
export async function checkKilled(killAt: number, moment: Moment): Promise<Killed> {
  const where = `killed ${moment} step ${killAt}`;
  const found = await runKilled(killAt, moment, plan).catch((cause: unknown) => {
    throw new Error(where, { cause });
  });
  const { library, rounds, state, platforms, isDead, names } = found;
  assert.equal(library.length, 2, `${where}: ${JSON.stringify(rounds)}`);
  const { row } = library[1]!;
  for (const value of float32Of(await state.blobs.get(row.adapter)))
    assert.ok(Math.abs(value - 1) < 1e-3, `${where}: ${value}`);
  for (const platform of platforms) {
    const [contribution] = Object.values(platform.entry().contributions);
    assert.equal(contribution?.roundIndex, row.roundIndex, where);
  }
  for (const round of rounds) assert.notEqual(round.status, 'open', where);
  assert.equal(await state.store.attemptOf(row.roundIndex), null, where);
  return { isDead, names, roundIndex: row.roundIndex };
}

/** Kills a coordinator whose budget pays one number: whether the round of that number was published all the same. Nothing is published beyond it. */
export async function checkPaid(killAt: number, moment: Moment): Promise<boolean> {
  const where = `killed ${moment} step ${killAt}`;
  const { library, rounds, coordinator } = await runKilled(killAt, moment, tightPlan).catch((cause: unknown) => {
    throw new Error(where, { cause });
  });
  const { status, detail } = await coordinator.ended;
  const [only, ...further] = rounds;
  assert.deepEqual([only?.roundIndex, further], [0, []], where);
  const isPublished = only!.status === 'published';
  assert.equal(library.length, isPublished ? 2 : 1, where);
  assert.equal(status, isPublished ? 'completed' : 'stopped', where);
  if (!isPublished) assert.match(detail, /^the privacy budget is spent: it pays 1 rounds/, where);
  else assert.ok(library[1]!.record.privacy.endsWith(spentStatement(tightPlan, dim, 0)!), where);
  return isPublished;
}
