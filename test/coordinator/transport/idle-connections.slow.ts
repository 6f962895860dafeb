import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect } from 'node:net';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import { closeWorlds, startWorld } from '../harness.ts';
import { idleBeginnings } from './idle-connections.ts';

describe('idle connections', () => {
  afterEach(closeWorlds);

  it('[ABU-2] slowloris-client: the coordinator hangs up on every one that does not finish what it began', async () => {
    const { coordinator } = await startWorld({ transport: socketServer({ port: 0 }) });
    const { port } = new URL(coordinator.url);
    await Promise.all(
      idleBeginnings.map(async (beginning) => {
        const socket = connect(Number(port), '127.0.0.1', () => socket.write(beginning)).resume();
        await once(socket, 'close');
      }),
    );
    assert.equal((await fetch(`${coordinator.url}/v1/health`)).status, 200);
  });
});
