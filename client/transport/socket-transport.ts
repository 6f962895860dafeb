/**
 * The transport over socket.io: WebSocket only, one fresh socket per connection with a fresh challenge, the coordinator's welcome checked
 * before anything else is heard. Reconnecting is the session machine's decision, so socket.io's own reconnection is off.
 */
import { io, type Socket } from 'socket.io-client';
import * as z from 'zod/mini';
import { errorMessage, TransportError } from '../../shared/core/errors.ts';
import type { ViolationCode } from '../../shared/protocol/violations.ts';
import { describe, violation, violationSchema } from '../../shared/protocol/violations.ts';
import type { Handshake } from './handshake.ts';
import type { Answer, Transport, TransportListener } from './transport.ts';
import { incomingEvents } from './transport.ts';

/** Where to connect and how long to wait. */
export interface SocketTransportOptions {
  /** Address of the coordinator. */
  readonly url: string;
  /** Fetches and answers challenges. */
  readonly handshake: Handshake;
  /** Milliseconds until a connection counts as failed and an answer as lost; default 20 s. */
  readonly timeoutMs?: number;
}

/** socket.io hands binary to a browser as ArrayBuffer and to Node as Buffer. Returns a view, or null for anything else. */
function bytesFrom(value: unknown): Uint8Array | null {
  if (value instanceof Uint8Array) return value;
  return value instanceof ArrayBuffer ? new Uint8Array(value) : null;
}

/** A transport that is not connected yet. */
export function socketTransport(options: SocketTransportOptions): Transport {
  const { url, handshake, timeoutMs = 20_000 } = options;
  let current: Socket | null = null;
  let offsetMs = 0;
  /** Counts what the owner asked for, so that an opening that was waited for meanwhile comes too late. */
  let wish = 0;
  const close = (): void => {
    wish++;
    current?.off();
    current?.disconnect();
    current = null;
  };

  return {
    connect: async (listener) => {
      close();
      const own = wish;
      const opening = await handshake.begin();
      if (own !== wish) throw new TransportError('closed', 'the connection was closed before it stood');
      offsetMs = opening.clockOffsetMs;
      const socket = io(url, {
        transports: ['websocket'],
        reconnection: false,
        forceNew: true,
        autoConnect: false,
        timeout: timeoutMs,
        auth: (deliver) => deliver(opening.auth),
      });
      current = socket;
      // Nothing is heard before the coordinator has proven itself: listeners are added in the welcome's own handler.
      const proven = new Promise<void>((resolve, reject) => {
        socket.once('welcome', (body: unknown) => {
          const bytes = bytesFrom(body);
          const refused =
            bytes === null ? violation('bad-frame', 'the welcome is not binary') : opening.checkWelcome(bytes);
          if (refused !== null) {
            const detail = `${url} did not prove to be the coordinator that this site enrolled with`;
            reject(new TransportError('admission-refused', `${detail}: ${describe(refused)}`));
            return;
          }
          listen(socket, listener, () => current === socket);
          listener.onConnected();
          resolve();
        });
        socket.once('connect_error', (thrown) => reject(connectionError(url, thrown)));
        socket.once('disconnect', (reason) =>
          reject(new TransportError('connection-lost', `${url} hung up: ${reason}`)),
        );
      });
      socket.connect();
      try {
        await withDeadline(proven, timeoutMs, `${url} sent no welcome`);
      } catch (thrown) {
        if (current === socket) close();
        throw thrown;
      }
    },
    call: ({ event, body, attachment }) => {
      const socket = current;
      if (socket === null || !socket.connected)
        return Promise.reject(new TransportError('not-connected', 'there is no connection'));
      return new Promise<Answer>((resolve, reject) => {
        const answered = (lost: Error | null, replyBody?: unknown, replyAttachment?: unknown): void => {
          const bytes = bytesFrom(replyBody);
          if (lost !== null)
            reject(new TransportError('no-answer', `no answer to ${event}: ${lost.message}`, { cause: lost }));
          else if (bytes === null) reject(new TransportError('bad-answer', `the answer to ${event} is not binary`));
          else resolve({ body: bytes, attachment: bytesFrom(replyAttachment) });
        };
        const call = socket.timeout(timeoutMs);
        if (attachment === undefined) call.emit(event, body, answered);
        else call.emit(event, body, attachment, answered);
      });
    },
    clockOffsetMs: () => offsetMs,
    measureClock: async () => {
      offsetMs = (await handshake.begin()).clockOffsetMs;
    },
    close,
  };
}

/**
 * Runs after the continuations of everything that happened before. Node's WebSocket hands several frames on in one turn: without this a
 * message would overtake the answer that stood before it, whose waiter runs only after the turn. Browsers take a turn per frame.
 */
const afterAnswers: (action: () => void) => unknown =
  typeof globalThis.setImmediate === 'function' ? globalThis.setImmediate : (action) => action();

/** Hands on what the coordinator says from now on, while `isCurrent`. */
function listen(socket: Socket, listener: TransportListener, isCurrent: () => boolean): void {
  const handOn = (action: () => void): unknown => afterAnswers(() => isCurrent() && action());
  for (const event of incomingEvents) {
    socket.on(event, (body: unknown) => {
      const bytes = bytesFrom(body);
      if (bytes !== null) handOn(() => listener.onMessage(event, bytes));
    });
  }
  socket.once('disconnect', (reason) => handOn(() => listener.onLost(reason)));
}

/** Refusals that no later attempt can change; everything else is tried again. */
const finalRefusals: ReadonlySet<string> = new Set<ViolationCode>([
  'unknown-client',
  'revoked-client',
  'wrong-federation',
  'protocol-version',
]);

function connectionError(url: string, thrown: Error): TransportError {
  const refused = z.safeParse(violationSchema, 'data' in thrown ? thrown.data : null);
  if (!refused.success) {
    return new TransportError('connection-failed', `cannot connect to ${url}: ${errorMessage(thrown)}`, {
      cause: thrown,
    });
  }
  const { code, detail } = refused.data;
  const kind = finalRefusals.has(code)
    ? 'admission-refused'
    : code === 'pending-client'
      ? 'approval-pending'
      : 'connection-failed';
  return new TransportError(kind, `${url} does not admit this client (${code}): ${detail}`, {
    context: { reason: code },
  });
}

async function withDeadline<Value>(promise: Promise<Value>, timeoutMs: number, what: string): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TransportError('no-answer', `${what} within ${timeoutMs} ms`)), timeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
