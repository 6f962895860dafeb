/** slowloris-client, rate-limit, memory-cap: a thousand idle and ten abusive connections, and a round of honest clients that completes. */
import { strict as assert } from 'node:assert';
import { connect, type Socket as TcpSocket } from 'node:net';
import { createClient } from '../../../client/client.ts';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import { TransportError } from '../../../shared/core/errors.ts';
import { systemClock } from '../../../shared/core/system-clock.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLayout, fixedLearner } from '../../client/fixed-learner.ts';
import { memoryPlatform } from '../../client/memory-platform.ts';
import { closeWorlds, startWorld, testPlan } from '../harness.ts';

const dim = 100_000;
const idleCount = 1000;
const abusiveCount = 10;

describe('abusive clients', () => {
  afterEach(closeWorlds);

  it('[ABU-1] slowloris-client, rate-limit, memory-cap: idle and abusive connections cost a bounded share, and an honest round completes', async function () {
    this.timeout(120_000);
    const plan = {
      ...testPlan({ rounds: { count: 1, cohortSize: 2, quorum: 2 }, evaluation: { everyRounds: 0 } }),
      base: { digest: fixedBaseDigest(fixedBase) },
    };
    const world = await startWorld({
      plan,
      clock: systemClock,
      transport: socketServer({ port: 0 }),
      baseFiles: fixedBase,
      baseDigest: fixedBaseDigest(fixedBase),
      layout: fixedLayout(dim),
      initialAdapter: new Float32Array(dim),
    });
    const { coordinator } = world;
    const port = Number(new URL(coordinator.url).port);
    const sockets: TcpSocket[] = [];
    const open = (first: string): TcpSocket => {
      const socket = connect(port, '127.0.0.1');
      // Being hung up on is what these deserve.
      socket.on('error', () => undefined);
      socket.write(first);
      sockets.push(socket);
      return socket;
    };
    for (let index = 0; index < idleCount; index++)
      open(
        index % 2 === 0
          ? 'GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: '
          : 'POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{',
      );
    let isOver = false;
    const flood = async (): Promise<void> => {
      while (!isOver) {
        const answers = Array.from({ length: 20 }, () =>
          fetch(`${coordinator.url}/v1/enrol`, {
            method: 'POST',
            body: JSON.stringify({ token: 'x'.repeat(12_000) }),
          }).then(
            (answer) => answer.text(),
            () => '',
          ),
        );
        await Promise.all(answers);
      }
    };
    const floods = Array.from({ length: abusiveCount }, flood);
    const before = process.memoryUsage().rss;
    const requestJson = async (url: string, _timeoutMs: number, body?: unknown) => {
      const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
      try {
        const response = await fetch(url, init);
        return { status: response.status, body: (await response.json()) as unknown };
      } catch (cause) {
        // A busy coordinator: asked again later, as every client does.
        throw new TransportError('no-answer', 'no usable answer', { cause });
      }
    };
    const policy = parsePolicy({ cohortMin: 2, quorumMin: 2 }, 'the test');
    const runs = [];
    for (const seed of [51, 52]) {
      const client = await createClient({
        platform: { ...memoryPlatform(seed, requestJson), clock: systemClock },
        learner: fixedLearner({ dim, exampleCount: 10, delta: () => new Float32Array(dim).fill(1) }),
        policy,
        invite: await coordinator.invite({ organisation: 'site' }),
      });
      runs.push(client.run());
    }
    const end = await coordinator.ended;
    await Promise.all(runs);
    isOver = true;
    await Promise.all(floods);
    for (const socket of sockets) socket.destroy();
    assert.equal(end.status, 'completed');
    assert.equal((await coordinator.versions()).length, 2);
    const grownBytes = process.memoryUsage().rss - before;
    assert.ok(grownBytes < 400 * 1024 * 1024, `grew by ${grownBytes} bytes`);
  });
});
