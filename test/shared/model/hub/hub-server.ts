/** A hub on 127.0.0.1 that speaks the paths of the real one: revisions, listings in pages, ranges, large files behind a redirect. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How a hub for tests behaves; everything may be changed while it runs. */
export interface HubBehaviour {
  /** Repository by name. */
  readonly repositories: Map<string, HubRepository>;
  /** Token without which everything is refused; null lets everybody in. */
  token: string | null;
  /** Cuts the connection after so many bytes of a file, for as many answers as are listed. */
  readonly cuts: number[];
  /** Changes what is sent of a file. */
  corrupt: (name: string, bytes: Uint8Array) => Uint8Array;
  /** Answers every request for files with this status. */
  failure: number | null;
}

/** A repository. */
export interface HubRepository {
  readonly commit: string;
  /** Branches and tags that mean the commit. */
  readonly revisions: readonly string[];
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Names that are listed without being there. */
  readonly listedOnly?: readonly string[];
  /** What the listing says of checksums: as the real hub, or nothing. */
  readonly withoutChecksums?: boolean;
}

/** A running hub. */
export interface HubServer extends HubBehaviour {
  readonly endpoint: string;
  /** `GET /path range`, in order. */
  readonly requests: readonly string[];
  /** Values of the header `authorization` that came. */
  readonly authorisations: ReadonlySet<string>;
  close(): Promise<void>;
}

/** From this size on a file is kept beside the repository, as the real hub does for weights. */
const largeMin = 1000;

/** Starts a hub. */
export async function startHub(repositories: ReadonlyMap<string, HubRepository>): Promise<HubServer> {
  const requests: string[] = [];
  const authorisations = new Set<string>();
  const behaviour: HubBehaviour = {
    repositories: new Map(repositories),
    token: null,
    cuts: [],
    corrupt: (_, bytes) => bytes,
    failure: null,
  };
  const server = createServer((request, response) => {
    const range = request.headers.range === undefined ? '' : ` ${request.headers.range}`;
    requests.push(`${request.method} ${request.url}${range}`);
    if (request.headers.authorization !== undefined) authorisations.add(request.headers.authorization);
    answer(request, response, behaviour);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  return Object.assign(behaviour, { endpoint: `http://127.0.0.1:${port}`, requests, authorisations, close });
}

function answer(request: IncomingMessage, response: ServerResponse, behaviour: HubBehaviour): unknown {
  const { pathname, searchParams } = new URL(request.url!, 'http://hub');
  if (behaviour.token !== null && request.headers.authorization !== `Bearer ${behaviour.token}`)
    return refuse(response, 401, 'RepoNotFound', 'Invalid username or password.');
  const [, name, kind, revision, path] =
    /^(?:\/api\/models)?\/(.+?)\/(revision|tree|resolve|large)\/([^/]+)(?:\/(.+))?$/.exec(pathname) ?? [];
  const repository = behaviour.repositories.get(name ?? '');
  if (repository === undefined || revision === undefined)
    return refuse(response, 404, 'RepoNotFound', 'Repository not found');
  const { commit, revisions } = repository;
  if (![commit, ...revisions].includes(decodeURIComponent(revision)))
    return refuse(response, 404, 'RevisionNotFound', 'Revision not found');
  if (kind === 'revision') return json(response, { _id: '1', id: name, lastModified: '2026-01-01', sha: commit });
  if (kind === 'tree') return list(response, repository, { pathname, cursor: searchParams.get('cursor') });
  if (behaviour.failure !== null) return refuse(response, behaviour.failure, '', 'later');
  const bytes = repository.files.get(path ?? '');
  if (bytes === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found');
  response.setHeader('X-Repo-Commit', commit);
  if (kind === 'resolve' && bytes.length >= largeMin) {
    response.setHeader('X-Linked-ETag', `"${sha256(bytes)}"`).setHeader('X-Linked-Size', bytes.length);
    return response.writeHead(302, { Location: `/${name}/large/${revision}/${path}` }).end();
  }
  return send(request, response, { bytes: behaviour.corrupt(path!, bytes), behaviour });
}

/** Two files on a page, as the real hub has a thousand. */
function list(
  response: ServerResponse,
  { files, listedOnly = [], withoutChecksums = false }: HubRepository,
  { pathname, cursor }: { readonly pathname: string; readonly cursor: string | null },
): void {
  const entries = [
    { type: 'directory', path: 'onnx', size: 0, oid: '0'.repeat(40) },
    ...[...files].map(([path, bytes]) => {
      const common = { type: 'file', path, size: bytes.length };
      if (withoutChecksums) return common;
      if (bytes.length < largeMin) return { ...common, oid: gitSha1(bytes) };
      const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 134 };
      return { ...common, oid: gitSha1(Buffer.from('pointer')), lfs };
    }),
    ...listedOnly.map((path) => ({ type: 'file', path, size: 3, oid: gitSha1(Buffer.from('abc')) })),
  ];
  const start = Number(cursor ?? 0);
  if (start + 2 < entries.length)
    response.setHeader('Link', `<http://${response.req.headers.host}${pathname}?cursor=${start + 2}>; rel="next"`);
  json(response, entries.slice(start, start + 2));
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { bytes, behaviour }: { readonly bytes: Uint8Array; readonly behaviour: HubBehaviour },
): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(from ?? 0);
  const end = to === undefined || to === '' ? bytes.length : Math.min(Number(to) + 1, bytes.length);
  response.setHeader('ETag', `"${gitSha1(bytes)}"`).setHeader('Content-Length', end - start);
  if (from === undefined) response.writeHead(200);
  else response.writeHead(206, { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` });
  const part = bytes.subarray(start, end);
  // The first byte alone is how a client asks for the size.
  const cut = part.length <= 1 ? undefined : behaviour.cuts.shift();
  if (cut === undefined) return void response.end(part);
  response.write(part.subarray(0, cut), () => response.destroy());
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string, error: string): void {
  response
    .writeHead(status, { 'Content-Type': 'application/json', 'X-Error-Code': code })
    .end(JSON.stringify({ error }));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function gitSha1(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}
