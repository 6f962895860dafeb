/**
 * The transport over HTTP and socket.io: WebSocket only, no compression (no decompression bombs, no CRIME), 1 MB frames, connection
 * deadlines. A socket gets handlers only after it was admitted, and then one per call that exists.
 */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Socket } from 'socket.io';
import { Server } from 'socket.io';
import { assert } from '../../shared/core/assert.ts';
import { releaseBytes } from '../../shared/core/bytes.ts';
import { errorMessage, TransportError } from '../../shared/core/errors.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { messageBytesMax } from '../../shared/core/limits.ts';
import { callNames } from '../../shared/protocol/messages.ts';
import { violation } from '../../shared/protocol/violations.ts';
import { createBudget } from './budget.ts';
import type { LoadGauge, Pausable } from './load.ts';
import { createConnectionLimit, createLoadGauge, createRequestLimit } from './load.ts';
import type { HttpAnswer, Peer, Transport, TransportHandlers } from './transport.ts';

/** Where to listen; port 0 takes a free one. */
export interface SocketServerOptions {
  readonly port: number;
  /** Default 127.0.0.1: reaching further is a decision of the operator. */
  readonly host?: string;
  /** Origins that browsers may connect from; none by default. Clients outside browsers send no origin. */
  readonly origins?: readonly string[];
}

/** Bytes of an enrolment request: a token, a name, a key and a signature need below 1 kB. */
const requestBytesMax = 16_384;
/** Calls a second that one client may make on average: above what a loopback link with four chunks in flight reaches, far below a flood. */
const callsPerSecond = 4_000;
/** Calls of one client that may be under way: its chunks in flight and a few others. It bounds the memory that one client can take. */
const callsAtOnceMax = 16;

/** Bytes of calls that are worked on at once, of all clients together: a thousand chunks. Beyond it clients are not read from until others are done. */
const bytesUnderWayMax = 256 * 1024 * 1024;
/** Connections of one address: a site behind one gateway may run a few clients. */
const connectionsPerAddressMax = 20;
/** TCP connections at once: the largest cohort, and those that come and go. */
const connectionsMax = 12_000;
/** Challenges and enrolments a second. A client asks for one challenge per connection; a federation of the largest size comes within a minute. */
const requestRates = {
  perAddress: { perSecond: 10, burst: 60 },
  overall: { perSecond: 500, burst: 10_000 },
} as const;

/** A transport that does not listen yet. */
export function socketServer({ port, host = '127.0.0.1', origins = [] }: SocketServerOptions): Transport {
  const http = createServer({ requestTimeout: 10_000, headersTimeout: 10_000, connectionsCheckingInterval: 5_000 });
  http.maxConnections = connectionsMax;
  const connections = createConnectionLimit(connectionsPerAddressMax);
  http.on('connection', (socket) => {
    const address = socket.remoteAddress ?? '';
    if (connections.admit(address)) socket.once('close', () => connections.release(address));
    else socket.destroy();
  });
  const gauge = createLoadGauge(bytesUnderWayMax);
  const mayAsk = createRequestLimit(requestRates);
  const io = new Server(http, {
    transports: ['websocket'],
    perMessageDeflate: false,
    httpCompression: false,
    maxHttpBufferSize: messageBytesMax,
    connectTimeout: 10_000,
    serveClient: false,
    allowEIO3: false,
    allowRequest: (request, answer) => {
      const { origin } = request.headers;
      answer(null, origin === undefined || origins.includes(origin));
    },
  });
  return {
    listen: async (handlers) => {
      http.on('request', (request, response) => void serve(handlers, mayAsk, request, response));
      connectSockets(io, handlers, gauge);
      await listening(http, port, host);
      const { port: bound } = http.address() as AddressInfo;
      return `http://${host.includes(':') ? `[${host}]` : host}:${bound}`;
    },
    close: async () => {
      await io.close();
      http.closeAllConnections();
    },
  };
}

function listening(http: HttpServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once('error', (cause: NodeJS.ErrnoException) => {
      const next = cause.code === 'EADDRINUSE' ? 'another program uses it; choose another --port' : errorMessage(cause);
      reject(new TransportError('cannot-listen', `cannot listen on ${host} port ${port}: ${next}`, { cause }));
    });
    http.listen(port, host, resolve);
  });
}

function connectSockets(io: Server, handlers: TransportHandlers, gauge: LoadGauge): void {
  const peers = new Map<ClientId, Peer>();
  io.use((socket, next) => {
    handlers.admit(socket.handshake.auth).then(
      (admission) => {
        if (admission.ok) {
          socket.data = admission.value;
          next();
        } else {
          next(Object.assign(new Error(admission.error.detail), { data: admission.error }));
        }
      },
      (thrown: unknown) => next(new Error(errorMessage(thrown))),
    );
  });
  io.on('connection', (socket) => {
    const { clientId, welcome } = socket.data as { clientId: ClientId; welcome: Uint8Array };
    const peer: Peer = {
      clientId,
      send: (event, body) => void socket.emit(event, body),
      close: () => void socket.disconnect(true),
    };
    socket.on('error', () => socket.disconnect(true));
    // The socket ends by itself; that its client sent too much is said nowhere else.
    webSocketOf(socket)?.on?.('error', ({ code }) => {
      if (code !== 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return;
      handlers.misused(peer, violation('bad-frame', `a frame exceeds the ${messageBytesMax} bytes of one message`));
    });
    socket.once('disconnect', () => {
      // A replaced connection was reported as gone when the new one came.
      if (peers.get(clientId) !== peer) return;
      peers.delete(clientId);
      handlers.disconnected(peer);
    });
    const older = peers.get(clientId);
    peers.set(clientId, peer);
    if (older !== undefined) {
      handlers.disconnected(older);
      older.close();
    }
    listen(socket, peer, handlers, gauge);
    peer.send('welcome', welcome);
    handlers.connected(peer);
  });
}

type Acknowledge = (body: Uint8Array, attachment?: Uint8Array) => void;

/**
 * Registers the calls. Anything that is not (bytes, [bytes,] callback), or too much of it, ends the connection: it is not a client of this
 * protocol.
 */
function listen(socket: Socket, peer: Peer, handlers: TransportHandlers, gauge: LoadGauge): void {
  const source = pausable(socket);
  const budget = createBudget({ perSecond: callsPerSecond, burst: callsPerSecond, nowMs: performance.now() });
  let underWay = 0;
  const end = (...found: Parameters<typeof violation>): void => {
    handlers.misused(peer, violation(...found));
    peer.close();
  };
  for (const name of callNames) {
    socket.on(name, (...values: unknown[]) => {
      const acknowledge = values.pop();
      const [body, attachment] = values;
      const isFramed = body instanceof Uint8Array && (attachment === undefined || attachment instanceof Uint8Array);
      if (typeof acknowledge !== 'function' || !isFramed || values.length > 2) {
        end('bad-frame', `${name} comes with one or two binary values and wants an answer`);
        return;
      }
      if (!budget.take(performance.now()) || underWay >= callsAtOnceMax) {
        end('rate-limited', `at most ${callsPerSecond} calls a second, ${callsAtOnceMax} of them at once`);
        return;
      }
      underWay += 1;
      const release = gauge.take(body.length + (attachment?.length ?? 0), source);
      handlers
        .call(peer, name, body, attachment ?? null)
        .then(
          ({ body: answer, attachment: bytes }) => {
            if (bytes === undefined) (acknowledge as Acknowledge)(answer);
            else (acknowledge as Acknowledge)(answer, bytes);
          },
          // A fault of ours (disk, bug) is answered by silence and a closed connection: the client comes back and asks again.
          () => peer.close(),
        )
        .finally(() => {
          underWay -= 1;
          release();
          // What came with the call has been taken or refused; nobody else has seen these bytes.
          if (attachment !== undefined) releaseBytes(attachment);
        });
    });
  }
}

/** A connection that can stop reading: its client then feels it as a slow network. */
function pausable(socket: Socket): Pausable {
  return { pause: () => webSocketOf(socket)?.pause?.(), resume: () => webSocketOf(socket)?.resume?.() };
}

/** What the WebSocket of a connection can do, where it has one. */
interface WebSocketBelow extends Pausable {
  on(event: 'error', listener: (error: { readonly code?: string }) => void): unknown;
}

function webSocketOf(socket: Socket): Partial<WebSocketBelow> | undefined {
  return (socket.conn.transport as { readonly socket?: Partial<WebSocketBelow> }).socket;
}

async function serve(
  handlers: TransportHandlers,
  mayAsk: ReturnType<typeof createRequestLimit>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    if (!request.url?.startsWith('/socket.io') && !mayAsk(request.socket.remoteAddress ?? '', performance.now())) {
      // Not a refusal of the protocol: a client takes it as a busy coordinator and comes back later.
      response.writeHead(429, { 'retry-after': '5', 'cache-control': 'no-store', connection: 'close' }).end();
      return;
    }
    const answer = await route(handlers, request);
    if (answer === null) return;
    response.writeHead(answer.status, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(JSON.stringify(answer.body));
  } catch {
    response.writeHead(500).end();
  }
}

async function route(handlers: TransportHandlers, request: IncomingMessage): Promise<HttpAnswer | null> {
  const path = (request.url ?? '').split('?')[0];
  assert(path !== undefined, 'split returns at least one part');
  // socket.io answers its own path.
  if (path.startsWith('/socket.io')) return null;
  const name = `${request.method} ${path}`;
  if (name === 'GET /v1/challenge') return handlers.challenge();
  if (name === 'GET /v1/health') return handlers.health();
  if (name !== 'POST /v1/enrol' && name !== 'POST /v1/withdraw') return refusal(404, 'no such address');
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += (part as Buffer).length;
    if (size > requestBytesMax) return refusal(413, `a request has at most ${requestBytesMax} bytes`);
    parts.push(part as Buffer);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'));
    return await (name === 'POST /v1/enrol' ? handlers.enrol(body) : handlers.withdraw(body));
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    return refusal(400, 'the request is not JSON');
  }
}

function refusal(status: number, detail: string): HttpAnswer {
  return { status, body: { ok: false, violation: violation('bad-frame', detail) } };
}
