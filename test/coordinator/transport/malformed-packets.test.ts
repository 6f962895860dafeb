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

  /** What the parser of socket.io is given, frame by frame: the engine puts its own type, `4`, before every text. */
  type Frames = readonly (string | Uint8Array)[];
  /** Whether the connection is closed, or goes on answering. */
  type Outcome = 'closed' | 'answered';
  const send = (socket: Socket, frames: Frames): void => {
    for (const frame of frames) socket.io.engine.write(frame);
  };
  const outcomeOf = async (frames: Frames): Promise<Outcome> => {
    const socket = await connected();
    const closed = new Promise<Outcome>((resolve) => socket.once('disconnect', () => resolve('closed')));
    send(socket, frames);
    // The next call is answered where the connection stands.
    const answered = new Promise<Outcome>((resolve) =>
      socket.emit('commit', new Uint8Array(1), () => resolve('answered')),
    );
    const outcome = await Promise.race([closed, answered]);
    socket.disconnect();
    return outcome;
  };

  it('[MAL-1] frames written so are what the parser reads: a well-formed one is a call, and its answer comes', async () => {
    const socket = await connected();
    const before = calls;
    const told = new Promise((resolve) => socket.io.engine.once('packet', resolve));
    send(socket, ['51-7["commit",{"_placeholder":true,"num":0}]', new Uint8Array(1)]);
    await told;
    assert.equal(calls - before, 1);
    socket.disconnect();
  });

  const byte = new Uint8Array(1);
  const placeholder = '{"_placeholder":true,"num":0}';
  const packets: readonly [string, Outcome, Frames][] = [
    ['CVE-2023-32695: an event whose name is an object', 'closed', ['2[{"toString":"foo"}]']],
    [
      'CVE-2022-2421: an attachment with the name of a method',
      'closed',
      ['51-["commit",{"_placeholder":true,"num":"splice"}]', byte],
    ],
    ['CVE-2022-2421: an attachment below zero', 'closed', ['51-["commit",{"_placeholder":true,"num":-1}]', byte]],
    ['CVE-2022-2421: an attachment beyond the last', 'closed', ['51-["commit",{"_placeholder":true,"num":1}]', byte]],
    ['CVE-2026-33151: more attachments than a parser takes', 'closed', [`511-["commit",${placeholder}]`]],
    ['CVE-2026-33151: attachments without end', 'closed', [`59999999999999999999-["commit",${placeholder}]`]],
    [
      'CVE-2026-69185: lists within lists that end nowhere',
      'closed',
      [`51-["commit",${'['.repeat(2_000)}${placeholder}${']'.repeat(2_000)}]`, byte],
    ],
    ['CVE-2026-69185: attachments that never come', 'closed', [`510-["commit",${placeholder}]`, byte, byte]],
    ['CVE-2024-38355: an event with the name of a failure', 'closed', ['2["error"]']],
    ['CVE-2024-38355: a failure with a value', 'closed', ['2["error",{"message":"x"}]']],
    ['an event of the engine', 'closed', ['2["disconnect"]']],
    ['a listener from afar', 'closed', ['2["newListener","commit"]']],
    ['an event with the name of a prototype', 'answered', ['2["__proto__",{"x":1}]']],
    ['an attachment that nobody announced', 'closed', [byte]],
    ['a count of attachments that is none', 'closed', ['5x-["commit"]']],
    ['an event that is no list', 'closed', ['2{"__proto__":{"x":1}}']],
    ['an event without a name', 'closed', ['2[]']],
    ['an answer to nothing', 'answered', ['3999[1]']],
    ['an answer that is no list', 'closed', ['31{"x":1}']],
    ['a type that is none', 'closed', ['9']],
    ['nothing at all', 'closed', ['']],
    ['a namespace that does not exist', 'answered', ['0/admin,']],
    ['an event in a namespace that was never entered', 'closed', ['2/admin,["commit"]']],
    ['half of a text', 'closed', ['2["commit']],
    ['a call without bytes', 'closed', ['2["commit"]']],
    ['a call with a text', 'closed', ['21["commit","x"]']],
  ];
  for (const [name, outcome, frames] of packets)
    it(`[socketio-malformed] ${name}: ${outcome}`, async () => {
      const before = calls;
      assert.equal(await outcomeOf(frames), outcome);
      assert.equal(calls - before, outcome === 'answered' ? 1 : 0, 'the packet itself is no call');
      assert.equal(({} as { x?: number }).x, undefined);
      await serves();
    });

  for (const declared of [11, 1_000_000])
    it(`[attachment-flood] ${declared} attachments declared: the connection ends before one of them came`, async () => {
      const socket = await connected();
      const closed = new Promise((resolve) => socket.once('disconnect', resolve));
      send(socket, [`5${declared}-["commit",${placeholder}]`]);
      await closed;
      await serves();
    });

  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  const cookie = 'Cookie: io="x; __proto__=1; a=<script>; =;;=\r\n';
  /** What each is answered with. */
  const requests: readonly [string, RegExp, string][] = [
    [
      'CVE-2026-59725, CVE-2020-36048: binary in long polling',
      /^HTTP\/1\.1 400 .*Transport unknown/s,
      'POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n\u0000\u0001\u0002\u0003',
    ],
    [
      'CVE-2020-36048: a body of long polling without end',
      /^HTTP\/1\.1 400 .*Transport unknown/s,
      `POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n${'1:'.repeat(5_000)}`,
    ],
    [
      'CVE-2020-28481: a page of another origin',
      /^HTTP\/1\.1 400 (?!.*access-control).*Transport unknown/is,
      'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nOrigin: https://evil.example\r\n\r\n',
    ],
    [
      'CVE-2020-28481: a socket of another origin',
      /^HTTP\/1\.1 400 (?!.*access-control).*Forbidden/is,
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nOrigin: https://evil.example\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2024-47764: cookies that are none: nothing is made of them',
      /^HTTP\/1\.1 101 (?!.*set-cookie)/is,
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${cookie}${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2023-31125: a protocol of the past',
      /Unsupported protocol version$/,
      `GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2023-31125: a protocol of the future',
      /^HTTP\/1\.1 101 /,
      `GET /socket.io/?EIO=9&transport=websocket HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2022-21676: a transport that does not exist',
      /^HTTP\/1\.1 400 .*Transport unknown/s,
      `GET /socket.io/?EIO=4&transport=__proto__ HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2022-41940: an upgrade of a session that does not exist',
      /^HTTP\/1\.1 400 .*Session ID unknown/s,
      `GET /socket.io/?EIO=4&transport=websocket&sid=nobody HTTP/1.1\r\n${upgrade}${key}\r\n`,
    ],
    [
      'CVE-2021-32640: a protocol header made of blanks',
      /^HTTP\/1\.1 400 /,
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${upgrade}${key}Sec-WebSocket-Protocol: b${' '.repeat(8_000)}x\r\n\r\n`,
    ],
    [
      'CVE-2024-37890: as many headers as fit',
      /^HTTP\/1\.1 4/,
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${Array.from({ length: 1_900 }, (_, at) => `a${at}:\r\n`).join('')}${upgrade}${key}\r\n`,
    ],
  ];
  for (const [name, expected, request] of requests)
    it(`[socketio-malformed] ${name}`, async () => {
      const { port } = new URL(url);
      const host = 'Host: 127.0.0.1\r\n';
      const [line, ...rest] = request.split('\r\n');
      const answer = await new Promise<string>((resolve, reject) => {
        const socket = connectTcp(Number(port), '127.0.0.1', () =>
          socket.write([line, host + rest.join('\r\n')].join('\r\n')),
        );
        let heard = '';
        socket.on('data', (part) => {
          heard += part.toString('latin1');
          if (expected.test(heard)) socket.destroy();
        });
        socket.once('close', () => resolve(heard)).once('error', reject);
      });
      assert.match(answer, expected);
      await serves();
    });
});
