/** The rules of ARCHITECTURE.md as tests: who may import whom, what machines may touch, what is documented, how long a file is. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Source } from './sources.ts';
import { folderOf, readSources, root } from './sources.ts';

const product = readSources('coordinator', 'client', 'shared', 'simulations');
const all = [...product, ...readSources('test')];

/** Top-level entries beside those that git ignores: five folders and root files. */
const topLevel = {
  folders: ['.ci', 'client', 'coordinator', 'shared', 'simulations', 'test'],
  files: [
    '.gitignore',
    '.mocharc.json',
    '.npmrc',
    '.oxlintrc.json',
    'ARCHITECTURE.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    'biome.json',
    'knip.json',
    'package-lock.json',
    'package.json',
    'tsconfig.build.json',
    'tsconfig.json',
  ],
};

/** The folder, or folders, that may import a package. A swap or an audit of a package is one folder. */
const importers: Readonly<Record<string, readonly string[]>> = {
  '@huggingface/hub': ['shared/model'],
  '@huggingface/jinja': ['shared/model'],
  '@huggingface/tokenizers': ['shared/model'],
  '@noble/ciphers': ['shared/crypto'],
  '@noble/hashes': ['shared/crypto'],
  '@tensorflow/tfjs': ['shared/compute'],
  '@tensorflow/tfjs-backend-cpu': ['shared/compute'],
  '@tensorflow/tfjs-backend-wasm': ['shared/compute'],
  '@tensorflow/tfjs-backend-webgl': ['shared/compute'],
  '@tensorflow/tfjs-backend-webgpu': ['shared/compute'],
  '@tensorflow/tfjs-core': [
    'shared/compute',
    'shared/model',
    'shared/adapters',
    'shared/training',
    'simulations/benchmarks',
  ],
  commander: ['shared/command-line', 'client', 'coordinator', 'simulations'],
  'csv-parse': ['shared/data'],
  hyparquet: ['shared/data'],
  'hyparquet-compressors': ['shared/data'],
  msgpackr: ['shared/protocol'],
  'onnxruntime-node': ['shared/compute'],
  'socket.io': ['coordinator/transport', 'simulations/benchmarks'],
  'socket.io-client': ['client/transport', 'simulations/benchmarks'],
  tweetnacl: ['shared/crypto'],
  webgpu: ['shared/compute'],
  yaml: ['shared/plan'],
  zod: ['shared', 'client', 'coordinator', 'simulations'],
};

/** Pure parts: what they may not name, because it is time, chance, network or disk. */
const pureFiles =
  /^(coordinator\/(rounds|cohort)\/(?!uploads)|client\/session\/(?!ledger)|shared\/protocol\/|shared\/update\/)/;
const impure = /\b(Date\.now|performance\.now|Math\.random|setTimeout|setInterval|process\.|fetch\()/;

/** Operations of TensorFlow.js as methods of tensors, which exist in Node alone; names that nothing else has. */
const chainedOperation =
  /\.(as(Scalar|[1-5]D|Type)|to(Float|Int|Bool)|matMul|transpose|reshape(As)?|expandDims|squeeze|mean|softmax|cumsum|tile|mul|div|sub|square|argMax|oneHot|greater|less|cast|where|pad|relu|sigmoid|neg)\(/;
const tensorFolders = /^shared\/(compute|model|adapters|training)\//;

/** Files over 400 lines need a reason here. */
const longFiles: Readonly<Record<string, string>> = {};
const linesMax = 400;

/** Lines of a file without comments; enough for searching names, not a parser. */
function codeLines({ lines }: Source): string[] {
  let isComment = false;
  return lines.map((line) => {
    if (isComment || line.trimStart().startsWith('/*')) {
      isComment = !line.includes('*/');
      return '';
    }
    return line.replace(/(^|\s)\/\/.*$/, '');
  });
}

const violationsOf = (sources: readonly Source[], judge: (source: Source) => readonly string[]): string[] =>
  sources.flatMap((source) => judge(source).map((what) => `${source.path}: ${what}`));

describe('house rules', () => {
  it('[HR-1] the top level holds the five folders and known root files', () => {
    const tracked = new Set(
      existsSync(join(root, '.git'))
        ? execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
            cwd: root,
            encoding: 'utf8',
          })
            .split('\n')
            .filter((path) => path !== '')
            .map((path) => folderOf(path, 1))
        : readdirSync(root).filter((name) => !['node_modules', 'dist'].includes(name)),
    );
    const known = new Set([...topLevel.folders, ...topLevel.files]);
    assert.deepEqual(
      [...tracked].filter((name) => !known.has(name)),
      [],
    );
  });

  it('[HR-2] coordinator and client never import each other, shared imports neither, only tests import simulations', () => {
    const forbidden: Readonly<Record<string, readonly string[]>> = {
      shared: ['coordinator', 'client', 'simulations', 'test'],
      coordinator: ['client', 'simulations', 'test'],
      client: ['coordinator', 'simulations', 'test'],
      simulations: ['test'],
    };
    const found = violationsOf(product, ({ path, imports }) =>
      imports
        .filter(({ target, isPackage, isDynamic }) => {
          const isCommandLine = path === 'shared/command-line/main.node.ts' && isDynamic;
          return !isPackage && !isCommandLine && forbidden[folderOf(path, 1)]!.includes(folderOf(target, 1));
        })
        .map(({ target }) => `imports ${target}`),
    );
    assert.deepEqual(found, []);
  });

  it('[HR-3] shared uses Node modules only in *.node.ts, and what runs in browsers imports no such file statically', () => {
    const portable = product.filter(({ path }) => path.startsWith('shared/') && !path.endsWith('.node.ts'));
    const found = violationsOf(portable, ({ imports, path }) =>
      imports
        .filter(({ target, isDynamic }) => {
          if (target.startsWith('node:')) return true;
          return !isDynamic && target.endsWith('.node.ts') && !path.startsWith('shared/command-line/');
        })
        .map(({ target }) => `imports ${target}`),
    );
    assert.deepEqual(found, []);
  });

  it('[HR-4] one folder imports each external library', () => {
    const found = violationsOf(product, ({ path, imports }) =>
      imports
        .filter(({ target, isPackage }) => isPackage && !target.startsWith('node:'))
        .filter(({ target }) => !(importers[target] ?? []).some((folder) => path.startsWith(`${folder}/`)))
        .map(({ target }) => `imports ${target}, which belongs to ${importers[target]?.join(', ') ?? 'no folder yet'}`),
    );
    assert.deepEqual(found, []);
  });

  it('[HR-5] pure parts touch no time, chance, network or disk', () => {
    const pure = product.filter(({ path }) => pureFiles.test(path));
    assert.ok(pure.length > 20, 'the pattern finds the pure parts');
    const found = violationsOf(pure, (source) => [
      ...codeLines(source).flatMap((line, index) => (impure.test(line) ? [`line ${index + 1}: ${line.trim()}`] : [])),
      ...source.imports.filter(({ target }) => target.startsWith('node:')).map(({ target }) => `imports ${target}`),
    ]);
    assert.deepEqual(found, []);
  });

  it('[HR-6] nothing that matters comes from Math.random', () => {
    const found = violationsOf(product, (source) =>
      codeLines(source).flatMap((line, index) => (line.includes('Math.random(') ? [`line ${index + 1}`] : [])),
    );
    assert.deepEqual(found, []);
  });

  it('[HR-7] every file says what it is, and every export is documented', () => {
    const found = violationsOf(product, ({ lines }) => {
      const first = lines[0]!.startsWith('#!') ? 1 : 0;
      const faults = lines[first]!.startsWith('/**') ? [] : ['begins without a docstring'];
      for (const [index, line] of lines.entries()) {
        if (!/^export (?:declare )?(?:async )?(?:abstract )?(?:function|const|let|class|interface|type)\b/.test(line))
          continue;
        if (line.startsWith('export type {')) continue;
        // Overloads share the docstring of the first.
        const isOverload = line.startsWith('export function') && lines[index - 1]?.startsWith('export function');
        if (isOverload) continue;
        if (!lines[index - 1]?.trimEnd().endsWith('*/'))
          faults.push(`line ${index + 1} is exported without a docstring`);
      }
      return faults;
    });
    assert.deepEqual(found, []);
  });

  it(`[HR-8] a file has at most ${linesMax} lines`, () => {
    const found = violationsOf(all, ({ path, lines }) =>
      lines.length - 1 > linesMax && !(path in longFiles) ? [`${lines.length - 1} lines`] : [],
    );
    assert.deepEqual(found, []);
  });

  it('[HR-9] there is no any, no enum, no leftover note', () => {
    const found = violationsOf(product, (source) =>
      codeLines(source).flatMap((line, index) => {
        const text = line.replaceAll(/'[^']*'|`[^`]*`|"[^"]*"/g, '');
        return /:\s*any\b|<any>|\bas any\b|^\s*(export )?enum\b|^\s*namespace \w+ \{/.test(text)
          ? [`line ${index + 1}: ${line.trim()}`]
          : [];
      }),
    );
    const notes = violationsOf(all, ({ path, text }) =>
      path.startsWith('test/house-rules/') || !/\b(TODO|FIXME|XXX|HACK)\b/.test(text)
        ? []
        : ['holds a note to do something later'],
    );
    assert.deepEqual([...found, ...notes], []);
  });

  it('[HR-11] operations on tensors are functions, since browsers have no methods for them', () => {
    const files = product.filter(({ path, imports }) => {
      return tensorFolders.test(path) && imports.some(({ target }) => target === '@tensorflow/tfjs-core');
    });
    assert.ok(files.length > 50, 'the pattern finds the files');
    const found = violationsOf(files, (source) =>
      codeLines(source).flatMap((line, index) => {
        const isFound = chainedOperation.test(line.replaceAll('fused.', ''));
        return isFound ? [`line ${index + 1}: ${line.trim()}`] : [];
      }),
    );
    assert.deepEqual(found, []);
  });

  it('[HR-10] package versions are exact', async () => {
    const { default: description } = (await import(join(root, 'package.json'), { with: { type: 'json' } })) as {
      default: Record<string, Record<string, string> | undefined>;
    };
    const ranges = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'].flatMap((kind) =>
      Object.entries(description[kind] ?? {}).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
    );
    assert.deepEqual(ranges, []);
  });

  it('[HR-16] no two tests have the same ID', () => {
    const places = new Map<string, string[]>();
    for (const { path, lines } of readSources('test'))
      for (const [index, line] of lines.entries())
        for (const [, id] of line.matchAll(/['"`]\[([A-Z][A-Z0-9]*-\d+[a-z]?)\]/g))
          places.set(id!, [...(places.get(id!) ?? []), `${path}:${index + 1}`]);
    assert.ok(places.size > 1_000, 'the pattern finds the IDs');
    const found = [...places].filter(([, where]) => where.length > 1);
    assert.deepEqual(found, []);
  });
});
