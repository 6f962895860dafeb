/**
 * Bundles the page of the browser tests. The product's files go in as they are; what only Node has is left out, and the few modules of Node that
 * tests read files and compare values with have stand-ins.
 */
import { readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { build, type Plugin } from 'esbuild';

/** Root of the repository. */
export const root = join(import.meta.dirname, '..', '..');

/** Where a page finds the repository's files. */
export const filesPrefix = '/files';

const standIns = join(import.meta.dirname, 'stand-ins');

/** Modules of Node, and one of ours, by what stands in for them. */
const replaced: Readonly<Record<string, string>> = {
  'node:assert': join(standIns, 'assert.ts'),
  'node:fs': join(standIns, 'fs.ts'),
  'node:fs/promises': join(standIns, 'fs.ts'),
  'node:path': join(standIns, 'path.ts'),
};

const repository: Plugin = {
  name: 'repository',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^node:/ }, ({ path }) => {
      const standIn = replaced[path];
      return standIn === undefined ? { path, namespace: 'node-module' } : { path: standIn };
    });
    // Whoever uses one of its functions after all finds that it is not there.
    onLoad({ filter: /./, namespace: 'node-module' }, () => ({ contents: 'module.exports = {};' }));
    onResolve({ filter: /\/model\/load\.node\.ts$/ }, () => ({ path: join(standIns, 'load.ts') }));
    onResolve({ filter: /\.node\.ts$/, namespace: 'file' }, ({ path }) => ({ path, namespace: 'node-only' }));
    onLoad({ filter: /./, namespace: 'node-only' }, ({ path }) => ({
      contents: `throw new Error(${JSON.stringify(`${path} runs in Node only`)});`,
    }));
    // Files that read others beside them find these where the page's server has them.
    onLoad({ filter: /[\\/]test[\\/].*\.ts$/ }, async ({ path }) => {
      const served = `${filesPrefix}/${relative(root, path).split(sep).join('/')}`;
      const text = await readFile(path, 'utf8');
      const contents = text
        .replaceAll('import.meta.dirname', JSON.stringify(served.slice(0, served.lastIndexOf('/'))))
        .replaceAll('import.meta.url', `new URL(${JSON.stringify(served)}, location.href).href`);
      return { contents, loader: 'ts' };
    });
  },
};

/** The page's scripts by path, the first of which is `/page/main.js`. */
export async function bundlePage(): Promise<ReadonlyMap<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'page', 'main.ts')],
    outdir: '/page',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2024',
    write: false,
    logLevel: 'error',
    plugins: [repository],
  });
  return new Map(outputFiles.map(({ path, contents }) => [path, contents]));
}
