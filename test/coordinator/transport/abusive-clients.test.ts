/** slowloris-client, rate-limit, memory-cap: a thousand idle connections and ten abusive clients, and a round of honest clients that completes. */
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect, type Socket as TcpSocket } from 'node:net';
import { io } from 'socket.io-client';
import { createClient } from '../../../client/client.ts';
import { credentialsOf } from '../../../client/enrolment.ts';
import { createHandshake } from '../../../client/transport/handshake.ts';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import { float32Of } from '../../../shared/core/bytes.ts';
import { TransportError } from '../../../shared/core/errors.ts';
import { systemClock } from '../../../shared/core/system-clock.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { sealEnrolment } from '../../../shared/protocol/handshake.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../../client/fixed-learner.ts';
import { memoryPlatform } from '../../client/memory-platform.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan, until, type World } from '../harness.ts';
import { idleBeginnings } from './idle-connections.ts';

const dim = 100_000;
const idleCount = 1000;
const abusiveCount = 10;

async function requestJson(url: string, _timeoutMs: number, body?: unknown) {
  try {
    const response = await fetch(url, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
    return { status: response.status, body: (await response.json()) as unknown };
  } catch (cause) {
    // A busy coordinator: asked again later, as every client does.
    throw new TransportError('no-answer', 'no usable answer', { cause });
  }
}

/** A member that, until it is told to stop, sends more calls at once than anybody may, comes back when it is hung up on, and posts what is too large. */
async function abuse({ coordinator }: World, seed: number, isOver: () => boolean): Promise<void> {
  const platform = { ...memoryPlatform(seed, requestJson), clock: systemClock };
  const identity = identityFromSeed(seededEntropy(seed).bytes(32));
  const code = parseEnrolmentCode(await coordinator.invite({ organisation: `abuser ${seed}` }));
  const credentials = credentialsOf(code, identity);
  const { token, federationId } = code;
  const enrolled = await requestJson(
    `${coordinator.url}/v1/enrol`,
    0,
    sealEnrolment(identity, { token, name: `abuser ${seed}`, federationId }),
  );
  assert.equal(enrolled.status, 200);
  while (!isOver()) {
    const { auth } = await createHandshake({ platform, identity, credentials }).begin();
    const socket = io(coordinator.url, { transports: ['websocket'], reconnection: false, forceNew: true, auth });
    const gone = new Promise<void>((resolve) => {
      socket.once('disconnect', () => resolve());
      socket.once('connect_error', () => resolve());
    });
    socket.once('connect', () => {
      for (let call = 0; call < 200; call++) socket.emit('progress', new Uint8Array(1), () => undefined);
    });
    const posted = fetch(`${coordinator.url}/v1/enrol`, { method: 'POST', body: 'x'.repeat(20_000) }).then(
      ({ status }) => assert.equal(status, 413),
      // Hung up on while it still sent.
      () => undefined,
    );
    await Promise.all([gone, posted]);
    socket.disconnect();
  }
}

describe('abusive clients', () => {
  const idle: TcpSocket[] = [];
  let isOver = false;
  afterEach(async () => {
    isOver = true;
    for (const socket of idle.splice(0)) socket.destroy();
    await closeWorlds();
  });

  it('[ABU-1] slowloris-client, rate-limit, memory-cap: idle connections and abusive clients cost a bounded share, and an honest round completes', async function () {
    this.timeout(60_000);
    const plan = {
      ...testPlan({ rounds: { count: 1, cohortSize: 2, quorum: 2 }, evaluation: { everyRounds: 0 } }),
      base: { digest: fixedBaseDigest(fixedBase) },
    };
    const world = await startWorld({
      plan,
      clock: systemClock,
      transport: socketServer({ port: 0 }),
      ...fixedStart(dim),
    });
    const { coordinator, events } = world;
    const before = process.memoryUsage().rss;
    const port = Number(new URL(coordinator.url).port);
    // Honest clients train until the coordinator has met all the others.
    const [begun, abused] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const delta = async (): Promise<Float32Array> => {
      begun.resolve();
      await abused.promise;
      return new Float32Array(dim).fill(1);
    };
    const runs = [];
    for (const seed of [51, 52]) {
      const client = await createClient({
        platform: { ...memoryPlatform(seed, requestJson), clock: systemClock },
        learner: fixedLearner({ dim, delta }),
        policy: parsePolicy({ cohortMin: 2, quorumMin: 2 }, 'the test'),
        invite: await coordinator.invite({ organisation: 'site' }),
      });
      runs.push(client.run());
    }
    await begun.promise;
    for (let index = 0; index < idleCount; index++) {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      idle.push(socket);
      await once(socket, 'connect');
      socket.write(idleBeginnings[index % idleBeginnings.length]!);
    }
    const abusers = Array.from({ length: abusiveCount }, (_, index) => abuse(world, 61 + index, () => isOver));
    const limited = (): number =>
      new Set(
        events.flatMap((event) => (event.type === 'rejected' && event.code === 'rate-limited' ? [event.clientId] : [])),
      ).size;
    await until(() => limited() === abusiveCount, 'the coordinator to hang up on every abuser');
    abused.resolve();
    const end = await coordinator.ended;
    await Promise.all(runs);
    isOver = true;
    await Promise.all(abusers);
    assert.equal(end.status, 'completed');
    const [, version] = await coordinator.library();
    assert.equal(version!.record.contributors.length, 2);
    assert.ok(float32Of(await coordinator.adapter(version!.row)).every((value) => value === 1));
    const grownBytes = process.memoryUsage().rss - before;
    assert.ok(grownBytes < 400 * 1024 * 1024, `grew by ${grownBytes} bytes`);
  });
});
