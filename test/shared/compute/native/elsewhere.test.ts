/** The native engine in a program that has nothing else of the product, through the package's export map. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { requireNative } from './available.ts';

const root = join(import.meta.dirname, '../../../..');
const program = 'elsewhere.mjs';

interface Trained {
  readonly losses: readonly number[];
  readonly scores: readonly number[];
  readonly weights: readonly number[];
  readonly leftTensors: number;
}

interface Printed {
  readonly threads: number;
  readonly isRequiredToo: boolean;
  readonly trained: Readonly<Record<'cpu' | 'native', Readonly<Record<string, Trained>>>>;
  readonly kernels: Readonly<Record<'cpu' | 'native', readonly string[]>>;
  readonly refusal: string;
}

/** Puts the compiled entry point and the manifest into `folder/node_modules` as an installation does, and what it needs beside them. */
function install(folder: string): string {
  const modules = join(folder, 'node_modules');
  const own = join(modules, 'tributary-fl');
  mkdirSync(own, { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name));
  copyFileSync(join(root, 'package.json'), join(own, 'package.json'));
  const options = {
    extends: join(root, 'tsconfig.build.json'),
    compilerOptions: { outDir: join(own, 'dist'), rootDir: root },
    include: [],
    files: [join(root, 'shared/compute/native/register.node.ts')],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options));
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', join(folder, 'tsconfig.json')]);
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  copyFileSync(join(import.meta.dirname, program), join(folder, program));
  return own;
}

describe('the native engine elsewhere', function () {
  this.timeout(120_000);
  let folder: string | undefined;
  let own: string;
  let printed: Printed;
  before(function () {
    requireNative(this);
    folder = mkdtempSync(join(tmpdir(), 'tributary-elsewhere-'));
    own = install(folder);
    const output = execFileSync(process.execPath, [program], { cwd: folder, encoding: 'utf8', timeout: 100_000 });
    printed = JSON.parse(output) as Printed;
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  it('[NEL-1] comes by import and by require from the export map, with types', () => {
    assert.deepEqual([printed.threads, printed.isRequiredToo], [1, true]);
    const { exports: map } = createRequire(import.meta.url)(join(own, 'package.json')) as {
      readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
    };
    const entry = map['./native']!;
    for (const file of [entry.types, entry.default]) assert.ok(existsSync(join(own, file)), file);
  });

  for (const name of ['embedding, layer norm and dense', 'convolution, batch norm and pooling', 'recurrent'])
    it(`[NEL-2] trains a model of layers as the plain back end does, and frees it: ${name}`, () => {
      const { cpu, native } = printed.trained;
      const [expected, found] = [cpu[name]!, native[name]!];
      assert.ok(expected.losses.at(-1)! < expected.losses[0]!, `losses ${expected.losses.join()}`);
      for (const part of ['losses', 'scores', 'weights'] as const) {
        assert.equal(found[part].length, expected[part].length);
        const error = Math.max(...found[part].map((value, index) => Math.abs(value - expected[part][index]!)));
        assert.ok(error < 5e-4, `${part} differ by ${error}`);
      }
      assert.deepEqual([found.leftTensors, expected.leftTensors], [0, 0]);
    });

  it('[NEL-3] has every kernel of the plain back end, and what neither has is refused by its name', () => {
    const { kernels, refusal } = printed;
    const own = new Set(kernels.native);
    assert.ok(kernels.cpu.length > 100, `${kernels.cpu.length} kernels`);
    assert.deepEqual(
      kernels.cpu.filter((name) => !own.has(name)),
      [],
    );
    assert.equal(refusal, "Kernel 'Unheard' not registered for backend 'native'");
  });
});
