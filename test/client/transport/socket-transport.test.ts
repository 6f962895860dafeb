import { strict as assert } from 'node:assert';
import { socketTransport } from '../../../client/transport/socket-transport.ts';
import { TransportError } from '../../../shared/core/errors.ts';

describe('transport over socket.io', () => {
  it('[CLI-122] the difference of the clocks is that of the last challenge; one that nobody answers changes nothing', async () => {
    const offsets = [5, -600_000];
    const begin = async () => {
      const clockOffsetMs = offsets.shift();
      if (clockOffsetMs === undefined) throw new TransportError('connection-failed', 'nobody answers');
      return { auth: {}, clockOffsetMs, checkWelcome: () => null };
    };
    const transport = socketTransport({ url: 'http://127.0.0.1:1', handshake: { begin } });
    const seen = [transport.clockOffsetMs()];
    for (let challenge = 0; challenge < 2; challenge++) {
      await transport.measureClock();
      seen.push(transport.clockOffsetMs());
    }
    await assert.rejects(transport.measureClock(), { code: 'connection-failed' });
    assert.deepEqual([...seen, transport.clockOffsetMs()], [0, 5, -600_000, -600_000]);
    transport.close();
  });
});
