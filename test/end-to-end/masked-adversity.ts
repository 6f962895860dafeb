/** Masked federations of real clients and a real coordinator whose clocks disagree, or jump back, and whose network is divided for a while. */
import { strict as assert } from 'node:assert';
import type { MemoryConnection } from '../../coordinator/transport/memory-transport.ts';
import type { Clock } from '../../shared/core/ports.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeMessage } from '../../shared/protocol/codec.ts';
import { plainCalls } from '../../shared/protocol/messages.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { manualClock, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

/** Values of the adapter. */
export const dim = 3;
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
export async function finish(
  world: World,
  onTurn: (turn: number) => Promise<void> | void = () => undefined,
): Promise<void> {
  for (let turn = 0; turn < 120 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await onTurn(turn);
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

/** What clients say in a masked round, in order. */
export const spokenKinds = ['ADVERT', 'SHARES', 'MASKED', 'AGREE', 'UNMASK'] as const;

/** Divides two of seven clients from the coordinator when they would say `kind`, for forty seconds, and checks what comes of it. */
export async function checkDivided(kind: (typeof spokenKinds)[number]): Promise<void> {
  const world = await start(7, 3);
  let isDivided = false;
  let hasDivided = false;
  const lost: (() => void)[] = [];
  /** The world as a site sees it that may be on the far side. */
  const connect: World['transport']['connect'] = async (auth, onEvent, onLost) => {
    if (isDivided) return new Promise<never>(() => undefined);
    lost.push(() => onLost?.());
    const opened = await world.transport.connect(auth, (event, body) => isDivided || onEvent(event, body), onLost);
    if (!opened.ok) return opened;
    const connection: MemoryConnection = {
      ...opened.value,
      call: async (name, body, attachment) => {
        const said = name === 'masked' ? decodeMessage(plainCalls.masked, body) : null;
        if (!hasDivided && said?.ok === true && said.value.kind === kind) [isDivided, hasDivided] = [true, true];
        return isDivided ? new Promise<never>(() => undefined) : opened.value.call(name, body, attachment);
      },
    };
    return { ok: true, value: connection };
  };
  const far = { ...world, transport: { ...world.transport, connect } };
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (let index = 0; index < 7; index++) {
    const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(1) });
    const seen = index < 2 ? far : world;
    clients.push(await runClient(seen, { platform: platformIn(world, 900 + index), learner, policy }));
  }
  let healsIn = 20;
  await finish(world, () => {
    if (!isDivided || --healsIn > 0) return;
    isDivided = false;
    for (const tell of lost.splice(0)) tell();
  });
  assert.ok(hasDivided);
  const published = await checkLedger(world);
  assert.equal(published, 2);
  const { record } = (await world.coordinator.library()).at(-1)!;
  assert.ok(record.contributors.length >= 5, `${record.contributors.length} in the last version`);
  for (const client of clients) client.stop();
}
