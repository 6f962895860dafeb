import { strict as assert } from 'node:assert';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'socket.io-client';
import { io } from 'socket.io-client';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import type { Transport, TransportHandlers } from '../../../coordinator/transport/transport.ts';
import type { ClientId } from '../../../shared/core/ids.ts';
import { messageBytesMax } from '../../../shared/core/limits.ts';
import { succeed } from '../../../shared/core/result.ts';

const clientId = 'a'.repeat(64) as ClientId;

describe('socket server', () => {
  let transport: Transport;
  let url: string;
  let misuses: string[];
  let calls: number;
  let gone: Promise<void>;
  let answerCall: TransportHandlers['call'];
  const sockets: Socket[] = [];

  beforeEach(async () => {
    misuses = [];
    calls = 0;
    answerCall = async () => ({ body: new Uint8Array(1) });
    const left = Promise.withResolvers<void>();
    gone = left.promise;
    transport = socketServer({ port: 0, origins: ['https://good.example'] });
    url = await transport.listen({
      challenge: async () => ({ status: 200, body: {} }),
      withdraw: async (body) => ({ status: 200, body: { withdrew: body } }),
      enrol: async (body) => ({ status: 200, body: { ok: true, got: body } }),
      health: async () => ({ status: 200, body: {} }),
      admit: async (auth) => succeed({ clientId, welcome: new Uint8Array(1), ...(auth as object) }),
      connected: () => undefined,
      disconnected: () => left.resolve(),
      misused: (_, { code }) => misuses.push(code),
      call: (...parameters) => {
        calls += 1;
        return answerCall(...parameters);
      },
    });
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.disconnect();
    await transport.close();
  });

  const connected = (options: object = {}): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = io(url, { transports: ['websocket'], reconnection: false, forceNew: true, ...options });
      sockets.push(socket);
      socket.once('connect', () => resolve(socket));
      socket.once('connect_error', reject);
    });

  it('[SKT-1] listens on loopback unless told otherwise, and names a port that is taken', async () => {
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
    const port = Number(new URL(url).port);
    const second = socketServer({ port });
    await assert.rejects(second.listen({} as TransportHandlers), { code: 'cannot-listen', message: /another program/ });
    await second.close();
  });

  it('[SKT-2] long polling is refused', async () => {
    await assert.rejects(connected({ transports: ['polling'] }));
  });

  it('[SKT-3] browsers of other origins are refused, those of the list and clients without one are not', async () => {
    await assert.rejects(connected({ extraHeaders: { origin: 'https://evil.example' } }));
    await connected({ extraHeaders: { origin: 'https://good.example' } });
    await connected();
  });

  it('[SKT-4] calls in another form end the connection and are told', async () => {
    const wrong: readonly ((socket: Socket) => unknown)[] = [
      (socket) => socket.emit('commit', 'text', () => undefined),
      (socket) => socket.emit('commit', new Uint8Array(1)),
      (socket) => socket.emit('commit', new Uint8Array(1), 5, () => undefined),
      (socket) => socket.emit('commit', new Uint8Array(1), new Uint8Array(1), new Uint8Array(1), () => undefined),
      (socket) => socket.emit('commit', () => undefined),
      (socket) => socket.emit('commit'),
    ];
    for (const misuse of wrong) {
      const socket = await connected();
      const closed = new Promise((resolve) => socket.once('disconnect', resolve));
      misuse(socket);
      await closed;
    }
    assert.deepEqual(
      misuses,
      Array.from(wrong, () => 'bad-frame'),
    );
    assert.equal(calls, 0);
  });

  it('[SKT-5] events that are no call of the protocol are not even heard', async () => {
    const socket = await connected();
    for (const name of ['shutdown', 'welcome', 'offer', 'constructor', '__proto__'])
      socket.emit(name, new Uint8Array(1), () => assert.fail('nobody answers'));
    await new Promise((resolve) => socket.emit('commit', new Uint8Array(1), resolve));
    assert.equal(calls, 1);
    assert.deepEqual(misuses, []);
  });

  it('[SKT-6] oversize-payload: a frame above the limit is told, unread, and ends its connection and no other', async () => {
    const other = await connected({ auth: { clientId: 'b'.repeat(64) } });
    const socket = await connected();
    const closed = new Promise((resolve) => socket.once('disconnect', resolve));
    socket.emit('commit', new Uint8Array(messageBytesMax + 1), () => assert.fail('nobody answers'));
    await closed;
    await gone;
    assert.deepEqual([calls, misuses], [0, ['bad-frame']]);
    await new Promise((resolve) => other.emit('commit', new Uint8Array(messageBytesMax - 1000), resolve));
    assert.deepEqual([calls, misuses], [1, ['bad-frame']]);
    await connected();
  });

  it('[SKT-7] rate-limit: more calls at once than a client needs end the connection', async () => {
    answerCall = () => new Promise(() => undefined);
    const socket = await connected();
    const closed = new Promise((resolve) => socket.once('disconnect', resolve));
    for (let call = 0; call < 17; call++) socket.emit('progress', new Uint8Array(1), () => undefined);
    await closed;
    assert.equal(calls, 16);
    assert.deepEqual(misuses.slice(0, 1), ['rate-limited']);
  });

  it('[SKT-8] attachment-flood: a packet that declares more attachments than a parser takes ends the connection only', async () => {
    const socket = await connected();
    const closed = new Promise((resolve) => socket.once('disconnect', resolve));
    // The engine's own "message" type: a socket.io binary event with a million attachments to come.
    socket.io.engine.write('51000000-["commit",{"_placeholder":true,"num":0}]');
    await closed;
    await connected();
  });

  it('[SKT-9] HTTP: other addresses, methods, sizes and forms are refused in words', async () => {
    const status = async (path: string, init: RequestInit = {}) => {
      const response = await fetch(`${url}${path}`, init);
      return [response.status, ((await response.json()) as { violation?: { code: string } }).violation?.code];
    };
    const post = (body: string) => ({ method: 'POST', body });
    assert.deepEqual(await status('/v1/enrol', post('{"a":1}')), [200, undefined]);
    assert.deepEqual(await status('/v1/enrol'), [404, 'bad-frame']);
    assert.deepEqual(await status('/'), [404, 'bad-frame']);
    assert.deepEqual(await status('/v1/challenge', post('{}')), [404, 'bad-frame']);
    assert.deepEqual(await status('/v1/enrol', post('{"a":')), [400, 'bad-frame']);
    assert.deepEqual(await status('/v1/enrol', post('x'.repeat(20_000))), [413, 'bad-frame']);
  });

  it('[SKT-10] answers of HTTP are not cached and not sniffed', async () => {
    const { headers } = await fetch(`${url}/v1/challenge`);
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
  });

  it('[SKT-11] garbage on the socket is answered as HTTP answers it, and the server goes on', async () => {
    const { port } = new URL(url);
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connectTcp(Number(port), '127.0.0.1', () => socket.end('\u0000\u0001 nonsense\r\n\r\n'));
      socket.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      socket.on('close', () => resolve(text)).on('error', reject);
    });
    assert.match(answer, /^HTTP\/1\.1 400 /);
    await connected();
  });
});
