/** Packets and requests of published attacks on socket.io, engine.io, ws and their parsers: each ends at most its own connection. */
import { strict as assert } from 'node:assert';
import { connect as connectTcp } from 'node:net';
import { io, type Socket } from 'socket.io-client';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import type { Transport } from '../../../coordinator/transport/transport.ts';
import type { ClientId } from '../../../shared/core/ids.ts';
import { succeed } from '../../../shared/core/result.ts';

describe('malformed packets', () => {
  let transport: Transport;
  let url = '';
  let calls = 0;
  const sockets: Socket[] = [];

  before(async () => {
    const nothing = async () => ({ status: 200, body: {} });
    transport = socketServer({ port: 0, origins: [] });
    url = await transport.listen({
      challenge: nothing,
      withdraw: nothing,
      enrol: nothing,
      health: nothing,
      admit: async () => succeed({ clientId: 'a'.repeat(64) as ClientId, welcome: new Uint8Array(1) }),
      connected: () => undefined,
      disconnected: () => undefined,
      misused: () => undefined,
      call: async () => {
        calls++;
        return { body: new Uint8Array(1) };
      },
    });
  });
  after(async () => {
    for (const socket of sockets) socket.disconnect();
    await transport.close();
  });

  const connected = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = io(url, { transports: ['websocket'], reconnection: false, forceNew: true });
      sockets.push(socket);
      socket.once('connect', () => resolve(socket));
      socket.once('connect_error', reject);
    });
  /** Whether an honest client is served. */
  const serves = async (): Promise<void> => {
    const socket = await connected();
    await new Promise((resolve) => socket.emit('commit', new Uint8Array(1), resolve));
    socket.disconnect();
  };

  const packets: readonly [string, string][] = [
    ['CVE-2023-32695: an event whose name is an object', '42[{"toString":"foo"}]'],
    ['CVE-2022-2421: an attachment with the name of a method', '451-["commit",{"_placeholder":true,"num":"splice"}]'],
    ['CVE-2022-2421: an attachment below zero', '451-["commit",{"_placeholder":true,"num":-1}]'],
    ['CVE-2026-33151: more attachments than a parser takes', '4511-["commit",{"_placeholder":true,"num":0}]'],
    ['CVE-2026-69185: attachments that never come, nested', `451-[${'['.repeat(2_000)}${']'.repeat(2_000)}]`],
    ['a count of attachments that is none', '45x-["commit"]'],
    ['an event that is no list', '42{"__proto__":{"x":1}}'],
    ['an event without a name', '42[]'],
    ['an answer to nothing', '43999[1]'],
    ['a type that is none', '49'],
    ['a namespace that does not exist', '40/admin,'],
    ['half of a text', '42["commit'],
  ];
  for (const [name, packet] of packets)
    it(`[socketio-malformed] ${name}`, async () => {
      const before = calls;
      const socket = await connected();
      const closed = new Promise<string>((resolve) => socket.once('disconnect', () => resolve('closed')));
      const told = new Promise<string>((resolve) => socket.io.engine.once('packet', () => resolve('told')));
      socket.io.engine.write(packet);
      // The next call is answered where the connection stands, and otherwise it is closed.
      const answered = new Promise<string>((resolve) =>
        socket.emit('commit', new Uint8Array(1), () => resolve('answered')),
      );
      await Promise.race([closed, answered, told]);
      assert.ok(calls - before <= 1, 'the packet itself is no call');
      socket.disconnect();
      await serves();
    });

  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  const requests: readonly [string, string][] = [
    [
      'CVE-2026-59725, CVE-2020-36048: binary in long polling',
      'POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n\u0000\u0001\u0002\u0003',
    ],
    [
      'CVE-2023-31125: a protocol of the future',
      `GET /socket.io/?EIO=9&transport=websocket HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2022-21676: a transport that does not exist',
      `GET /socket.io/?EIO=4&transport=__proto__ HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2022-41940: an upgrade of a session that does not exist',
      `GET /socket.io/?EIO=4&transport=websocket&sid=nobody HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2021-32640: a protocol header made of blanks',
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${upgrade}${key}Sec-WebSocket-Protocol: b${' '.repeat(8_000)}x\r\n\r\n`,
    ],
    [
      'CVE-2024-37890: as many headers as fit',
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${Array.from({ length: 1_900 }, (_, at) => `a${at}:\r\n`).join('')}${upgrade}${key}\r\n`,
    ],
  ];
  for (const [name, request] of requests)
    it(`[socketio-malformed] ${name}`, async () => {
      const { port } = new URL(url);
      const host = 'Host: 127.0.0.1\r\n';
      const [line, ...rest] = request.split('\r\n');
      await new Promise<void>((resolve, reject) => {
        const socket = connectTcp(Number(port), '127.0.0.1', () =>
          socket.write([line, host + rest.join('\r\n')].join('\r\n')),
        );
        socket.once('data', () => socket.destroy());
        socket.once('close', () => resolve()).once('error', reject);
      });
      await serves();
    });
});
