/** Masked federations of real clients and a real coordinator whose clocks disagree, or are set. */
import { strict as assert } from 'node:assert';
import type { Clock } from '../../shared/core/ports.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { manualClock, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

/** Values of the adapter. */
const dim = 3;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');

/** A coordinator of two masked rounds, on a clock that is off by what is said. */
export async function start(
  clientCount: number,
  quorum: number,
  offsetMs: (world: World | null) => number = () => 0,
): Promise<World> {
  const time = manualClock();
  let world: World | null = null;
  const clock: Clock = { ...time, nowMs: () => time.nowMs() + offsetMs(world) };
  const started = await startWorld({
    plan: {
      ...testPlan({
        rounds: { count: 2, cohortSize: clientCount, quorum, voidsMax: 4 },
        evaluation: { everyRounds: 0 },
        secureAggregation: { mode: 'on' },
      }),
      base: { digest: fixedBaseDigest(fixedBase) },
    },
    ...fixedStart(dim),
    clock,
  });
  world = { ...started, clock: time };
  return world;
}

/** Lets time pass until the federation ends. */
export async function finish(world: World): Promise<void> {
  for (let turn = 0; turn < 120 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  assert.ok(
    world.events.some(({ type }) => type === 'ended'),
    JSON.stringify(world.events.slice(-4)),
  );
}

/** What the ledger says is one line of history: rounds in order, none open, a version for each that was published, signed in a row. */
export async function checkLedger(world: World): Promise<number> {
  const rounds = await world.coordinator.rounds();
  assert.deepEqual(
    rounds.map(({ roundIndex }) => roundIndex),
    [...rounds.keys()],
  );
  for (const { status } of rounds) assert.notEqual(status, 'open');
  const published = rounds.filter(({ status }) => status === 'published').map(({ roundIndex }) => roundIndex);
  const library = await world.coordinator.library();
  assert.deepEqual(
    library.slice(1).map(({ row }) => row.roundIndex),
    published,
  );
  return published.length;
}

/** Starts clients with the delta 1, on clocks that are off by what is said. */
export async function startClients(world: World, offsets: readonly (() => number)[]) {
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (const [index, offsetMs] of offsets.entries()) {
    const platform = platformIn(world, 900 + index);
    const clock = { ...platform.clock, nowMs: () => world.clock.nowMs() + offsetMs() };
    const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(1) });
    clients.push(await runClient(world, { platform: { ...platform, clock }, learner, policy }));
  }
  return clients;
}
