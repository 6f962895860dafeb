/**
 * Masked federations of real clients and a real coordinator whose network is divided: what three of ten clients say and hear from some moment on gets
 * lost, and so do new connections of theirs, until the round is over. The coordinator sees their connections stand all the while: deadlines alone end
 * what waits for them.
 */
import { strict as assert } from 'node:assert';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import { type CoordinatorState, memoryState } from '../../coordinator/store/state.ts';
import type { MemoryConnection } from '../../coordinator/transport/memory-transport.ts';
import { toHex } from '../../shared/core/bytes.ts';
import { TransportError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';
import { maskedCall } from './secret-keeping.ts';

const dim = 3;
const clientCount = 10;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const planOf = (everyRounds: number) => ({
  ...testPlan({
    rounds: { count: 2, cohortSize: clientCount, quorum: 3, voidsMax: 4 },
    evaluation: { everyRounds },
    secureAggregation: { mode: 'on', phaseSeconds: 5 },
  }),
  base: { digest: fixedBaseDigest(fixedBase) },
});
/** Deadlines of one round: to recruit, to train and gather, to exchange keys, shares and masked vectors, to agree, to open; then the same for the evaluation. */
const roundSecondsMax = 10 + 60 + 5 + 5 + 60 + 5 + 5 + (10 + 6 * 5);

/** When the network is divided: as one of the far side would say something, or would hear something, in the first round; and how many that round has. */
export const moments = [
  ['accept', 7],
  ['ready', 7],
  ['ADVERT', 7],
  ['SHARES', 7],
  ['MASKED', 7],
  ['AGREE', 10],
  ['UNMASK', 10],
  ['evaluate', 10],
  ['result', 10],
] as const;
/** One of them. */
type Moment = (typeof moments)[number][0];

/** A network with a far side, which is whole until `moment`. */
function divisible(world: World, moment: Moment) {
  let isDivided = false;
  let hasDivided = false;
  /** What the far side does when the network is whole again: it notices that its connections are gone, and that no new one came about. */
  const onHealed: (() => void)[] = [];
  const never = (): Promise<never> => new Promise(() => undefined);
  const isLost = (name: string): boolean => {
    if (name === moment && !hasDivided) [isDivided, hasDivided] = [true, true];
    return isDivided;
  };
  const connect: World['transport']['connect'] = async (auth, onEvent, onLost) => {
    if (isDivided)
      await new Promise<never>((_, reject) =>
        onHealed.push(() => reject(new TransportError('connection-failed', 'the network is divided'))),
      );
    let isOver = false;
    // Once for every connection, though the coordinator ends the old one when a new one comes.
    const end = (): void => {
      if (!isOver) onLost?.();
      isOver = true;
    };
    onHealed.push(end);
    const opened = await world.transport.connect(auth, (event, body) => isLost(event) || onEvent(event, body), end);
    if (!opened.ok) return opened;
    const connection: MemoryConnection = {
      ...opened.value,
      call: (name, body, attachment) =>
        isLost(maskedCall(name, body)?.kind ?? name) ? never() : opened.value.call(name, body, attachment),
    };
    return { ok: true, value: connection };
  };
  return {
    far: { ...world, transport: { ...world.transport, connect } },
    isDivided: () => isDivided,
    heal: () => {
      isDivided = false;
      for (const tell of onHealed.splice(0)) tell();
    },
  };
}

/**
 * Divides `farCount` of ten clients from the coordinator until the round is over, lets the federation end, and checks its history as all saw it. Of
 * every round how many are in its version, or that it is void.
 */
export async function divide(moment: Moment, farCount: number): Promise<(number | 'void')[]> {
  const state = memoryState(seededEntropy(1));
  const plan = planOf(moment === 'evaluate' ? 1 : 0);
  const world = await startWorld({ plan, ...fixedStart(dim), state });
  const { far, isDivided, heal } = divisible(world, moment);
  const heard: { readonly roundIndex: number; readonly modelHash: Digest }[][] = [];
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (let index = 0; index < clientCount; index++) {
    const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(1) });
    const own: (typeof heard)[number] = [];
    heard.push(own);
    clients.push(
      await runClient(index < farCount ? far : world, {
        platform: platformIn(world, 900 + index),
        learner,
        policy,
        onEvent: (event) => {
          if (event.type === 'result') own.push({ roundIndex: event.roundIndex, modelHash: event.newModelHash });
        },
      }),
    );
  }
  const seen = (...types: string[]): boolean => world.events.some(({ type }) => types.includes(type));
  let dividedMs: number | null = null;
  let seconds: number | null = null;
  for (let turn = 0; turn < 200 && !seen('ended'); turn++) {
    await settled();
    if (isDivided()) dividedMs ??= world.clock.nowMs();
    if (isDivided() && seen('published', 'void')) {
      seconds = (world.clock.nowMs() - dividedMs!) / 1000;
      heal();
      await settled();
    }
    await world.clock.advance(2_000);
  }
  assert.ok(seen('ended'), JSON.stringify(world.events.slice(-4)));
  assert.ok(seconds !== null && seconds <= roundSecondsMax, `the divided round took ${seconds} seconds`);
  for (const client of clients) client.stop();
  await settled();
  const library = await checkHistory(world, state, heard);
  return (await world.coordinator.rounds()).map(({ roundIndex }) => {
    const version = library.find(({ row }) => row.roundIndex === roundIndex);
    return version?.record.contributors.length ?? 'void';
  });
}

/**
 * One line of history, whoever looks: rounds in order and none open, a version for each that was published, each on the one before; a log without a
 * fault; and every client heard of versions that there are, in their order, and of none twice.
 */
async function checkHistory(
  { coordinator }: World,
  { store, identity }: CoordinatorState,
  heard: readonly (readonly { readonly roundIndex: number; readonly modelHash: Digest }[])[],
) {
  const rounds = await coordinator.rounds();
  assert.deepEqual(
    rounds.map(({ roundIndex }) => roundIndex),
    [...rounds.keys()],
  );
  for (const { status } of rounds) assert.notEqual(status, 'open');
  const library = await coordinator.library();
  assert.deepEqual(
    library.slice(1).map(({ row }) => row.roundIndex),
    rounds.flatMap(({ roundIndex, status }) => (status === 'published' ? [roundIndex] : [])),
  );
  for (const [index, { record }] of library.entries())
    if (index > 0) assert.equal(record.parentModelHash, library[index - 1]!.record.modelHash);
  const document = {
    federation: (await store.federation())!,
    coordinatorKey: toHex(identity.publicKey),
    rows: await store.log.rows(0),
    checkpoints: await store.log.checkpoints(),
    versions: await store.versions(),
  };
  assert.deepEqual(verifyLog(document).faults, []);
  const modelOf = new Map(library.map(({ row, record }) => [row.roundIndex, record.modelHash]));
  for (const own of heard) {
    for (const [index, { roundIndex, modelHash }] of own.entries()) {
      assert.equal(modelHash, modelOf.get(roundIndex));
      assert.ok(roundIndex > (own[index - 1]?.roundIndex ?? -1), `round ${roundIndex} was heard of after a later one`);
    }
    assert.equal(own.at(-1)?.modelHash, library.at(-1)!.record.modelHash, 'all know the last version in the end');
  }
  return library;
}
