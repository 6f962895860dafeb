/**
 * A server on this machine with the paths of GitHub's, stand-ins for its files, and git's protocol; it can break off,
 * refuse, or change what it has.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';

/** A running server. */
export interface PublishedServer {
  readonly origin: string;
  /** Content by path, for example `/owner/name/commit/data/train.csv`. */
  readonly files: Map<string, Uint8Array>;
  /** Folders of git repositories by path, for example `/owner/name.git`. */
  readonly repositories: Map<string, string>;
  /** Every request for a file: path, the range that was asked for, and the status of the answer. */
  readonly requests: { path: string; range: string | undefined; status: number }[];
  /** Bytes after which the next answers break off, one entry an answer; then whole ones. Those that have begun wait for {@link dropAt}. */
  readonly breaks: number[];
  /** Statuses of the next answers, before any content. */
  readonly refusals: number[];
  /** Whether answers carry an ETag and ranges are served. */
  hasTags: boolean;
  /** Cuts the connections whose receiver has got all that was sent: `done` bytes of the file. */
  dropAt(done: number): void;
  close(): Promise<void>;
}

/** Starts one on a free port. */
export async function startPublishedServer(): Promise<PublishedServer> {
  const state = {
    files: new Map<string, Uint8Array>(),
    repositories: new Map<string, string>(),
    requests: [] as PublishedServer['requests'],
    breaks: [] as number[],
    refusals: [] as number[],
    hasTags: true,
  };
  const held = new Map<ServerResponse, number>();
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    if (path.endsWith('/git-upload-pack')) {
      const repository = state.repositories.get(path.slice(0, path.lastIndexOf('/')));
      if (repository === undefined) response.writeHead(404).end();
      else serveGit(repository, request, response);
      return;
    }
    const { range, 'if-range': condition } = request.headers;
    const content = state.files.get(path);
    const refusal = state.refusals.shift();
    const log = (status: number): void => void state.requests.push({ path, range, status });
    if (refusal !== undefined || content === undefined) {
      log(refusal ?? 404);
      response.writeHead(refusal ?? 404).end();
      return;
    }
    const tag = `"${createHash('sha256').update(content).digest('hex').slice(0, 16)}"`;
    const start = state.hasTags && condition === tag ? Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0) : 0;
    const body = content.subarray(start);
    log(start > 0 ? 206 : 200);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': body.length,
      ...(state.hasTags ? { etag: tag } : {}),
      ...(start > 0 ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
    });
    const end = state.breaks.shift();
    if (end === undefined || end >= body.length) response.end(body);
    else if (end === 0) response.destroy();
    else {
      response.write(body.subarray(0, end));
      held.set(response, start + end);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(state, {
    origin: `http://127.0.0.1:${port}`,
    dropAt: (done: number) => {
      for (const [response, end] of held) {
        if (done < end) continue;
        held.delete(response);
        response.destroy();
      }
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

/** What `git http-backend` does with a request for objects. */
function serveGit(repository: string, request: IncomingMessage, response: ServerResponse): void {
  const version = String(request.headers['git-protocol']);
  const git = spawn('git', ['upload-pack', '--stateless-rpc', repository], {
    env: { ...process.env, GIT_PROTOCOL: version },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  request.pipe(git.stdin);
  response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-result' });
  git.stdout.pipe(response);
}
