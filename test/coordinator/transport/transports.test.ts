import { io } from 'socket.io-client';
import { memoryTransport } from '../../../coordinator/transport/memory-transport.ts';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import type { HttpAnswer } from '../../../coordinator/transport/transport.ts';
import { coordinatorEvents } from '../../../shared/protocol/messages.ts';
import type { TestConnection, TransportUnderTest } from '../../contracts/transport.ts';
import { transportContract } from '../../contracts/transport.ts';

const decoder = new TextDecoder();

/** Keeps events and wakes whoever waits for them. */
function createEar() {
  const heard: (readonly [string, string])[] = [];
  const waiting = new Map<number, () => void>();
  return {
    heard,
    hear: (name: string, body: Uint8Array): void => {
      heard.push([name, decoder.decode(body)]);
      waiting.get(heard.length)?.();
    },
    heardAtLeast: (count: number): Promise<void> =>
      heard.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.set(count, resolve)),
  };
}

function memoryUnderTest(): TransportUnderTest {
  const transport = memoryTransport();
  return {
    transport,
    challenge: () => transport.challenge(),
    enrol: (_, body) => transport.enrol(body),
    health: () => transport.health(),
    connect: async (_, auth): Promise<TestConnection> => {
      const { heard, hear, heardAtLeast } = createEar();
      const closed = Promise.withResolvers<void>();
      const connected = await transport.connect(auth, hear, () => closed.resolve());
      if (!connected.ok) throw new Error(`${connected.error.code}: ${connected.error.detail}`);
      return {
        heard,
        heardAtLeast,
        closed: closed.promise,
        close: () => connected.value.close(),
        call: async (name, body, attachment) => {
          const answer = await connected.value.call(name, body, attachment);
          return [answer.body, answer.attachment ?? null];
        },
      };
    },
  };
}

async function request(url: string, body?: unknown): Promise<HttpAnswer> {
  const response = await fetch(url, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

function socketUnderTest(): TransportUnderTest {
  return {
    transport: socketServer({ port: 0 }),
    challenge: (url) => request(`${url}/v1/challenge`),
    enrol: (url, body) => request(`${url}/v1/enrol`, body),
    health: (url) => request(`${url}/v1/health`),
    connect: (url, auth) =>
      new Promise((resolve, reject) => {
        const { heard, hear, heardAtLeast } = createEar();
        const closed = Promise.withResolvers<void>();
        const socket = io(url, {
          transports: ['websocket'],
          reconnection: false,
          forceNew: true,
          auth: auth as Record<string, unknown>,
        });
        for (const event of coordinatorEvents) socket.on(event, (body: Uint8Array) => hear(event, body));
        socket.once('disconnect', () => closed.resolve());
        socket.once('connect_error', (thrown) => {
          const { code, detail } = (thrown as Error & { data: { code: string; detail: string } }).data;
          socket.disconnect();
          reject(new Error(`${code}: ${detail}`));
        });
        socket.once('connect', () =>
          resolve({
            heard,
            heardAtLeast,
            closed: closed.promise,
            close: () => void socket.disconnect(),
            call: (name, body, attachment) =>
              new Promise((answer, lost) => {
                void closed.promise.then(() => lost(new Error('the connection ended')));
                const parts = attachment === undefined ? [body] : [body, attachment];
                socket.emit(name, ...parts, (reply: Uint8Array, attached?: Uint8Array) =>
                  answer([reply, attached ?? null]),
                );
              }),
          }),
        );
      }),
  };
}

transportContract('memory', memoryUnderTest);
transportContract('socket.io', socketUnderTest);
