/** What a bundler makes of the package for browsers. */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { root } from './bundle.ts';

/** The field `browser` of package.json, which bundlers follow, for sources in place of what is built from them. */
const { browser } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly browser: Readonly<Record<string, false>>;
};

const leftOut = new Set<string>();

const browserField: Plugin = {
  name: 'browser-field',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /\.node\.ts$/ }, ({ path, importer }) => {
      const file = relative(root, join(dirname(importer), path))
        .split(sep)
        .join('/');
      const built = `./dist/${file.replace(/\.ts$/, '.js')}`;
      if (browser[built] === undefined) return undefined;
      leftOut.add(built);
      return { path, namespace: 'left-out' };
    });
    onLoad({ filter: /./, namespace: 'left-out' }, () => ({ contents: '' }));
  },
};

describe('the client in a bundle for browsers', () => {
  it('[BND-1] builds without any module of Node, leaving out what package.json names and nothing else', async () => {
    const { errors, metafile } = await build({
      entryPoints: [join(root, 'client', 'index.ts')],
      outdir: '/out',
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'browser',
      write: false,
      metafile: true,
      logLevel: 'silent',
      plugins: [browserField],
    });
    assert.deepEqual(errors, []);
    assert.deepEqual([...leftOut].sort(), Object.keys(browser).sort());
    const inputs = Object.keys(metafile.inputs);
    assert.deepEqual(
      inputs.filter((path) => path.endsWith('.node.ts') && !path.startsWith('left-out:')),
      [],
    );
    // Back ends come by dynamic import: who takes part with one of them does not load the others.
    const [entry] = Object.values(metafile.outputs).filter(({ entryPoint }) => entryPoint === 'client/index.ts');
    const ownImports = entry!.imports.filter(({ kind }) => kind === 'import-statement').map(({ path }) => path);
    const eager = new Set(ownImports);
    for (const path of eager) {
      for (const { kind, path: next } of metafile.outputs[path]?.imports ?? [])
        if (kind === 'import-statement') eager.add(next);
    }
    const eagerInputs = [...eager].flatMap((path) => Object.keys(metafile.outputs[path]?.inputs ?? {}));
    assert.deepEqual(
      eagerInputs.filter((path) => /tfjs-backend-/.test(path)),
      [],
    );
  });
});
