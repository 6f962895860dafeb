/**
 * The HTTP side of a server of adapters: routes, bodies, statuses. It listens where it is told, reads bodies up to a limit, lets in who has the
 * token, and says in every refusal what was wrong. Encryption in transit is the deployment's, as for the coordinator.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorMessage, FederationError, UsageError } from '../../shared/core/errors.ts';
import type { Counter, Histogram } from './metrics.ts';
import { type Reply, refusalOf } from './refusals.ts';

/** What one route does. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** Whether it answers without a token. */
  readonly isOpen?: boolean;
  /** `rest` is what follows the path of the route; null for nothing. */
  answer(request: {
    readonly body: unknown;
    readonly rest: string | null;
    /** Aborted when the client goes away. */
    readonly signal: AbortSignal;
  }): Promise<Reply> | Reply;
}

/** What {@link listen} needs. */
export interface ListenOptions {
  readonly host: string;
  /** 0 for a free one. */
  readonly port: number;
  /** What clients must say; null lets in who reaches the port. */
  readonly token: string | null;
  /** By the first part of the path. */
  readonly routes: ReadonlyMap<string, Route>;
  readonly bodyBytesMax: number;
  /** Counts requests by route and status. */
  readonly requests: Counter;
  /** Seconds. */
  readonly durations: Histogram;
  /** Hears of faults that are the server's. */
  readonly log: (line: string) => void;
}

/** A server that listens. */
export interface Listening {
  readonly url: string;
  /** Takes no new connection, and resolves when all requests under way are answered, or after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/** Connections at a time: each costs some memory before it says anything. */
const connectionsMax = 2048;
/** How long headers, and whole requests, may take to arrive: slow ones hold connections that others need. */
const arrivalMs = { headers: 10_000, request: 30_000, idle: 30_000 } as const;

/** Names by which a browser on this machine may mean this server; others are somebody's address that points here (DNS rebinding). */
const loopbackHosts = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i;

/** Starts to listen. @throws FederationError `cannot-listen`. */
export async function listen(options: ListenOptions): Promise<Listening> {
  const { host, port, log } = options;
  const server = createServer({
    headersTimeout: arrivalMs.headers,
    requestTimeout: arrivalMs.request,
    keepAliveTimeout: arrivalMs.idle,
    maxHeaderSize: 16 * 1024,
  });
  server.maxConnections = connectionsMax;
  server.on('request', (request, response) => {
    handle(request, response, options).catch((thrown: unknown) => {
      log(`a request was given up: ${errorMessage(thrown)}`);
      response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const sentence = `cannot listen at ${host}:${port}: ${errorMessage(cause)}; give another --port or --host`;
      reject(new FederationError('cannot-listen', sentence, { cause }));
    });
    server.listen(port, host, resolve);
  });
  const { port: found } = server.address() as AddressInfo;
  const shown = host.includes(':') ? `[${host}]` : host;
  return { url: `http://${shown}:${found}`, close: (graceMs) => close(server, graceMs) };
}

/** Whether an address reaches this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

async function close(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timeout = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed.finally(() => clearTimeout(timeout));
}

async function handle(request: IncomingMessage, response: ServerResponse, options: ListenOptions): Promise<void> {
  const startedMs = performance.now();
  const [, first = '', ...more] = pathOf(request).split('/');
  const route = options.routes.get(first);
  const gone = new AbortController();
  response.on('close', () => gone.abort(new FederationError('client-left', 'the client went away')));
  let reply: Reply;
  try {
    if (route === undefined) {
      const known = [...options.routes].map(([name, { method }]) => `${method} /${name}`).join(', ');
      throw new UsageError('no-such-route', `there is nothing here; there are ${known}`);
    }
    admit(request, route, options);
    const body = route.method === 'POST' ? await bodyOf(request, options.bodyBytesMax) : null;
    const rest = more.length === 0 ? null : decoded(more.join('/'));
    reply = await route.answer({ body, rest, signal: gone.signal });
  } catch (thrown) {
    reply = refusalOf(thrown);
    if (reply.fault !== undefined && !gone.signal.aborted) options.log(`/${first}: ${reply.fault}`);
  }
  options.requests.add({ route: route === undefined ? 'unknown' : first, status: `${reply.status}` });
  options.durations.observe((performance.now() - startedMs) / 1000);
  if (!response.destroyed) send(request, response, reply);
}

function send(request: IncomingMessage, response: ServerResponse, { status, headers = {}, body, type }: Reply): void {
  const content = Buffer.from(typeof body === 'string' ? body : `${JSON.stringify(body)}\n`);
  // What was not read stands in the way of the next request.
  const isUnread = !request.complete;
  response.writeHead(status, {
    'content-type': type ?? 'application/json; charset=utf-8',
    'content-length': content.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(isUnread ? { connection: 'close' } : {}),
    ...headers,
  });
  response.end(content);
}

/** Checks what can be checked before the body is read. @throws UsageError. */
function admit(request: IncomingMessage, route: Route, { token, host }: ListenOptions): void {
  const { headers, method } = request;
  const isMeant = token !== null || !isLoopback(host) || loopbackHosts.test(headers.host ?? '');
  if (!isMeant)
    throw new UsageError(
      'wrong-host',
      'without a token this server answers on this machine alone, by localhost or 127.0.0.1',
    );
  if (token !== null && route.isOpen !== true && !isToken(headers.authorization, token))
    throw new UsageError('unauthorised', 'send the token of this server as: authorization: Bearer TOKEN');
  if (method !== route.method && !(method === 'HEAD' && route.method === 'GET'))
    throw new UsageError('wrong-method', `this needs ${route.method}, found ${method}`, {
      context: { allow: route.method },
    });
  // A page of a browser cannot send this type elsewhere without being asked for leave.
  if (route.method === 'POST' && !/^application\/json\b/i.test(headers['content-type'] ?? ''))
    throw new UsageError('wrong-type', 'send the body as content-type: application/json');
}

/** Compares digests, so that the time it takes says nothing about the token. */
function isToken(header: string | undefined, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const [, given = ''] = /^Bearer +(\S+) *$/i.exec(header ?? '') ?? [];
  return timingSafeEqual(digest(given), digest(token));
}

async function bodyOf(request: IncomingMessage, bytesMax: number): Promise<unknown> {
  const tooLarge = () =>
    new UsageError('too-large', `a body has at most ${bytesMax} bytes; send fewer texts at a time`);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge();
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > bytesMax) throw tooLarge();
    parts.push(part);
  }
  const bytes = Buffer.concat(parts);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new UsageError('bad-json', `the body is no JSON in UTF-8: ${errorMessage(cause)}`, { cause });
  }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?')[0]!;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new UsageError('bad-path', 'the path has a % that stands for no character', { cause });
  }
}
