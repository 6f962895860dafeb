import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { approveFingerprint } from '../../coordinator/enrolment/invites.ts';
import { openExistingState } from '../../coordinator/store/state.ts';
import { float32Of, fromHex } from '../../shared/core/bytes.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';
import { manualClock } from '../coordinator/harness.ts';
import { forgedIdentity, replaceConnection, startRogue } from './rogue.ts';
import type { RunningClient, RunningCoordinator, World } from './world.ts';
import { dim, federationPlan, onlyValue, openWorld, policyWith, startClients } from './world.ts';

const filled = (value: number) => new Float32Array(dim).fill(value);
const latest = async ({ coordinator }: RunningCoordinator): Promise<Float32Array> => {
  const version = (await coordinator.versions()).at(-1)!;
  return float32Of(await coordinator.adapter(version));
};
/** The record of the newest version, checked as a stranger would. */
const latestRecord = async ({ coordinator }: RunningCoordinator) => {
  const version = (await coordinator.versions()).at(-1)!;
  const { coordinatorKey } = parseEnrolmentCode(await coordinator.invite({ organisation: 'stranger' }));
  const signed = { record: fromHex(version.record), signature: fromHex(version.signature) };
  const opened = openVersionRecord(coordinatorKey, signed);
  assert.ok(opened.ok);
  return opened.value;
};
const kinds = (clients: readonly RunningClient[]) => Promise.all(clients.map(async ({ ended }) => (await ended).kind));
/** Training that never ends by itself. */
const untilAborted = (_roundIndex: number, _start: Float32Array, signal: AbortSignal): Promise<Float32Array> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });

describe('federation over sockets', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  it('[E2E-1] runs all rounds with every client; versions, results and metrics agree on both sides', async () => {
    const plan = federationPlan({ count: 2, cohortSize: 3, quorum: 3 });
    const running = await world.startCoordinator(plan);
    const clients = await startClients(world, running, [
      { delta: () => filled(1), exampleCount: 10 },
      { delta: () => filled(2), exampleCount: 10 },
      { delta: () => filled(4), exampleCount: 20 },
    ]);
    assert.deepEqual(await running.coordinator.ended, {
      status: 'completed',
      detail: '2 of 2 rounds published, all clients that were asked contributed',
    });
    assert.deepEqual(await kinds(clients), ['completed', 'completed', 'completed']);
    // (10 * 1 + 10 * 2 + 20 * 4) / 40 in each of two rounds.
    assert.equal(onlyValue(await latest(running)), 5.5);
    const versions = await running.coordinator.versions();
    assert.equal(versions.length, 3);
    for (const { client, events } of clients) {
      const results = events.all.filter((event) => event.type === 'result');
      assert.deepEqual(
        results.map(({ newModelHash }) => newModelHash),
        versions.slice(1).map(({ modelHash }) => modelHash),
      );
      assert.equal(events.all.filter(({ type }) => type === 'uploaded').length, 2);
      assert.equal(events.all.filter(({ type }) => type === 'evaluated').length, 2);
      assert.deepEqual(
        events.all.filter(({ type }) => type === 'problem'),
        [],
      );
      // Two updates of 600 kB up; the adapter of each round, and each candidate is the start of the next round.
      const { bytesUp, bytesDown } = client.traffic();
      assert.ok(bytesUp > 2 * 4 * dim && bytesUp < 2.1 * 4 * dim, `${bytesUp} bytes up`);
      assert.ok(bytesDown > 3 * 4 * dim && bytesDown < 3.1 * 4 * dim, `${bytesDown} bytes down`);
    }
    const published = running.events.all.filter((event) => event.type === 'published');
    assert.equal(published[1]?.metrics?.exampleCount, 30);
    assert.equal(published[1]?.metrics?.accuracy, 0.8);
  });

  it('[E2E-2] completes with 5 of 7 when two clients vanish in the middle of training', async () => {
    const clock = manualClock();
    const plan = federationPlan({ count: 1, cohortSize: 7, quorum: 5 }, { everyRounds: 0 });
    const running = await world.startCoordinator(plan, { clock });
    const learnings = [1, 2, 3, 4, 5].map((value) => ({ delta: () => filled(value) }));
    const clients = await startClients(world, running, [
      ...learnings,
      { delta: untilAborted },
      { delta: untilAborted },
    ]);
    const { events, coordinator } = running;
    await events.wait('client-accepted', undefined, 7);
    for (const { stop } of clients.slice(5)) stop();
    await events.wait('client-left', undefined, 2);
    await events.wait('client-finished', undefined, 5);
    // Who is away gets a while to come back; then the round goes on without them.
    await clock.advance(30_000);
    assert.deepEqual(await coordinator.ended, {
      status: 'completed',
      detail: '1 of 1 rounds published, 1 with fewer clients than asked (fewest 5 of 7)',
    });
    const [round] = await coordinator.rounds();
    assert.equal(round?.detail, 'completed with 5 of 7');
    assert.equal(onlyValue(await latest(running)), 3);
    assert.deepEqual(await kinds(clients), [...Array(5).fill('completed'), 'stopped', 'stopped']);
    const record = await latestRecord(running);
    assert.deepEqual([record.contributors.length, record.cohort.length], [5, 7]);
  });

  it('[E2E-3] a coordinator that was killed goes on with the next round, and its clients find it again', async () => {
    const rounds = { count: 2, cohortSize: 3, quorum: 3 };
    const first = await world.spawnCoordinator({ rounds, port: 0, inviteCount: 3 });
    const release = Promise.withResolvers<void>();
    const clients: RunningClient[] = [];
    for (const [index, invite] of first.invites.entries()) {
      const delta = async (roundIndex: number) => {
        if (roundIndex === 1 && index === 0) await release.promise;
        return filled(1);
      };
      clients.push(await world.startClient(`site-${index}`, { delta }, { invite }));
    }
    await first.events.wait('published');
    // Two updates of round 1 are durable, the third client still trains.
    await first.events.wait('client-finished', ({ roundIndex }) => roundIndex === 1, 2);
    await first.kill();
    for (const { events } of clients) await events.wait('disconnected');
    release.resolve();
    const port = Number(new URL(first.url).port);
    const second = await world.spawnCoordinator({ rounds, port, inviteCount: 0 });
    const ended = await second.events.wait('ended');
    assert.deepEqual(ended, {
      type: 'ended',
      status: 'completed',
      detail: '2 of 2 rounds published, all clients that were asked contributed, 1 void',
    });
    assert.deepEqual(await kinds(clients), ['completed', 'completed', 'completed']);
    const published = await second.events.wait('published');
    // Round 1 was open when the coordinator died: its number is never used again.
    assert.deepEqual([published.roundIndex, published.version, published.contributors], [2, 2, 3]);
    for (const { events } of clients) {
      const roundIndices = events.all.filter((event) => event.type === 'result').map(({ roundIndex }) => roundIndex);
      assert.deepEqual(roundIndices, [0, 2]);
    }
  });

  it('[E2E-4] a federation that was stopped in good order goes on when both sides are started again', async () => {
    const plan = federationPlan({ count: 3, cohortSize: 2, quorum: 2 }, { everyRounds: 0 });
    const first = await world.startCoordinator(plan);
    const delta = (roundIndex: number, start: Float32Array, signal: AbortSignal) =>
      roundIndex === 1 ? untilAborted(roundIndex, start, signal) : filled(1);
    const clients = await startClients(world, first, [{ delta }, { delta }]);
    await first.events.wait('client-accepted', undefined, 4);
    first.coordinator.stop();
    assert.deepEqual(await kinds(clients), ['federation-stopped', 'federation-stopped']);
    const { port } = new URL(first.coordinator.url);
    await first.coordinator.close();
    const second = await world.startCoordinator(plan, { port: Number(port) });
    // The state folders know where they are enrolled; no invite is needed.
    const again = [await world.startClient('site-1', {}), await world.startClient('site-2', {})];
    assert.equal((await second.coordinator.ended).status, 'completed');
    assert.deepEqual(await kinds(again), ['completed', 'completed']);
    const rounds = await second.coordinator.rounds();
    assert.deepEqual(
      rounds.map(({ roundIndex, status }) => `${roundIndex} ${status}`),
      ['0 published', '1 void', '2 published', '3 published'],
    );
    assert.equal(onlyValue(await latest(second)), 3);
  });

  it('[E2E-5] a client whose policy refuses says why, and the others go on', async () => {
    const plan = federationPlan({ count: 1, cohortSize: 3, quorum: 2 }, { everyRounds: 0 });
    const running = await world.startCoordinator(plan);
    const invite = await running.coordinator.invite({ organisation: 'careful' });
    const policy = policyWith({ methods: ['lora'] });
    const careful = await world.startClient('careful', {}, { invite, policy });
    const clients = await startClients(world, running, [{}, {}]);
    assert.equal((await running.coordinator.ended).status, 'completed');
    const declined = await running.events.wait('client-declined');
    assert.equal(declined.clientId, careful.client.clientId);
    assert.equal(declined.code, 'policy-refused');
    assert.match(declined.reason, /method-not-allowed: the plan trains with none, this site allows the methods lora/);
    assert.deepEqual(await kinds([careful, ...clients]), ['completed', 'completed', 'completed']);
    assert.equal((await latestRecord(running)).contributors.length, 2);
  });

  it('[E2E-6] what is not finite, too large, replayed or wrongly signed is refused and counted, and the round goes on', async () => {
    const plan = federationPlan({ count: 1, cohortSize: 3, quorum: 2 }, { everyRounds: 0 });
    const running = await world.startCoordinator(plan);
    const misdeeds = Promise.withResolvers<void>();
    const delta = async () => {
      await misdeeds.promise;
      return filled(1);
    };
    const clients = await startClients(world, running, [{ delta }, { delta }]);
    const invite = await running.coordinator.invite({ organisation: 'rogue' });
    const rogue = await startRogue(join(world.folder, 'rogue'), invite);
    const signal = new AbortController().signal;
    assert.ok((await rogue.calls.accept(rogue.round, signal)).ok);
    const { clientId } = clients[0]!.client;
    const own = running.events.all.find((event) => event.type === 'enrolled' && event.name === 'rogue');
    assert.ok(own?.type === 'enrolled');
    assert.equal(await rogue.announce(filled(9), { identity: forgedIdentity(own.clientId) }), 'wrong-signature');
    assert.equal(await rogue.announce(filled(9), { identity: forgedIdentity(clientId) }), 'wrong-sender');
    assert.equal(await rogue.announce(filled(9), { timeMs: 1_000 }), 'stale-time');
    assert.equal(await rogue.announce(filled(9), { sequence: 1n }), 'replayed-sequence');
    assert.equal(await rogue.announce(new Float32Array(2 * dim)), 'update-too-large');
    assert.equal(await rogue.upload(filled(9).fill(Number.NaN, dim - 1)), 'non-finite');
    assert.ok((await rogue.calls.decline(rogue.round, 'training-failed', 'no more ideas', signal)).ok);
    rogue.close();
    misdeeds.resolve();
    assert.deepEqual(await running.coordinator.ended, {
      status: 'completed',
      detail: '1 of 1 rounds published, 1 with fewer clients than asked (fewest 2 of 3)',
    });
    assert.deepEqual(await kinds(clients), ['completed', 'completed']);
    assert.equal(onlyValue(await latest(running)), 1);
    const { rejections, contributors } = await latestRecord(running);
    assert.equal(contributors.includes(own.clientId), false);
    assert.deepEqual(
      rejections.map(({ code, count }) => `${code} ${count}`),
      [
        'non-finite 1',
        'replayed-sequence 1',
        'stale-time 1',
        'update-too-large 1',
        'wrong-sender 1',
        'wrong-signature 1',
      ],
    );
  });

  it('[E2E-7] a client that needs approval waits for it, also over a restart without its invite, and takes part afterwards', async () => {
    const plan = federationPlan({ count: 1, cohortSize: 1, quorum: 1 }, { everyRounds: 0 });
    const running = await world.startCoordinator(plan);
    const invite = await running.coordinator.invite({ organisation: 'site', approval: 'manual' });
    const first = await world.startClient('site', {}, { invite });
    const { fingerprint } = await first.events.wait('waiting-for-approval');
    assert.equal(fingerprint, first.client.fingerprint);
    first.stop();
    await first.ended;
    const client = await world.startClient('site', {});
    assert.equal((await client.events.wait('waiting-for-approval')).fingerprint, fingerprint);
    // The operator's command opens the state beside the running coordinator.
    const state = await openExistingState(join(world.folder, 'coordinator'));
    await approveFingerprint(state.store, fingerprint);
    await state.close();
    assert.equal((await client.ended).kind, 'completed');
    assert.equal((await running.coordinator.ended).status, 'completed');
  });

  it('[E2E-8] connections that break in the middle of everything cost nothing', async () => {
    const plan = federationPlan({ count: 1, cohortSize: 2, quorum: 2 }, { everyRounds: 0 });
    const running = await world.startCoordinator(plan);
    const broken = Promise.withResolvers<void>();
    const delta = async () => {
      await broken.promise;
      return filled(1);
    };
    const clients = await startClients(world, running, [{}, { delta }]);
    const [{ client, events }] = clients as [RunningClient, RunningClient];
    await events.wait('uploading');
    // The same key connects a second time: the coordinator ends the older connection, whatever is under way on it.
    await replaceConnection(join(world.folder, 'site-1'));
    await events.wait('disconnected');
    broken.resolve();
    assert.equal((await running.coordinator.ended).status, 'completed');
    assert.deepEqual(await kinds(clients), ['completed', 'completed']);
    assert.ok((await latestRecord(running)).contributors.includes(client.clientId));
    assert.equal(events.all.filter(({ type }) => type === 'offered').length, 1);
  });

  it('[E2E-9] a second client on the same state is told so', async () => {
    const plan = federationPlan({ count: 1, cohortSize: 2, quorum: 2 }, { everyRounds: 0 });
    const running = await world.startCoordinator(plan);
    const [client] = await startClients(world, running, [{}]);
    await client!.events.wait('connected');
    const second = await world.startClient('site-1', {});
    await assert.rejects(second.ended, { code: 'state-in-use' });
  });
});
