/** Serves the page of the browser tests on loopback: its scripts, mocha, WebAssembly, and files of the repository to read. */
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { filesPrefix, root } from './bundle.ts';

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.html': 'text/html; charset=utf-8',
};

const html =
  '<!doctype html><meta charset="utf-8"><script src="/mocha.js"></script><script type="module" src="/page/main.js"></script>';

/** A server until it is closed. */
export interface PageServer {
  readonly url: string;
  /** Passes the page's requests below `/v1/` on to a coordinator, as a proxy in front of both would. */
  forwardTo(coordinatorUrl: string): void;
  close(): Promise<void>;
}

/** Serves `scripts` by their paths. */
export async function servePage(scripts: ReadonlyMap<string, Uint8Array>): Promise<PageServer> {
  const packages = join(root, 'node_modules');
  const contentOf = async (path: string): Promise<Uint8Array | string> => {
    if (path === '/') return html;
    const script = scripts.get(path);
    if (script !== undefined) return script;
    if (path === '/mocha.js') return readFile(join(packages, 'mocha', 'mocha.js'));
    if (path.endsWith('.wasm')) return readFile(join(packages, '@tensorflow/tfjs-backend-wasm/dist', path));
    if (!path.startsWith(`${filesPrefix}/`)) throw new Error('no such path');
    const file = join(root, normalize(path.slice(filesPrefix.length)));
    if (!path.endsWith('/')) return readFile(file);
    const entries = await readdir(file, { withFileTypes: true });
    return JSON.stringify(entries.map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() })));
  };
  const answer = async (path: string, response: ServerResponse): Promise<void> => {
    try {
      const content = await contentOf(path);
      const type = types[path === '/' ? '.html' : extname(path)] ?? 'application/octet-stream';
      response.writeHead(200, { 'content-type': type }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  };
  let coordinatorUrl: string | null = null;
  const forward = async (path: string, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const body = await buffer(request);
      const init = request.method === 'POST' ? { method: 'POST', body } : {};
      const passed = await fetch(`${coordinatorUrl}${path}`, init);
      response.writeHead(passed.status, { 'content-type': 'application/json' }).end(await passed.text());
    } catch {
      response.writeHead(502).end();
    }
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://page').pathname);
    void (coordinatorUrl !== null && path.startsWith('/v1/')
      ? forward(path, request, response)
      : answer(path, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    forwardTo: (url) => {
      coordinatorUrl = url;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
