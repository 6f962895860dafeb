/** Serves the page of the browser tests on loopback: its scripts, mocha, WebAssembly, and files of the repository to read. */
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
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
  const server = createServer((request, response) => {
    void answer(decodeURIComponent(new URL(request.url ?? '/', 'http://page').pathname), response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
