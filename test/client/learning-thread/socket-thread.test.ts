/** The thread of the socket holds no engine and no training loop, by what its modules import and by what a running process loads. */
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { BackendName } from '../../../shared/compute/backend-names.ts';
import { describeBase, pretrainedFolder } from '../../../shared/model/load.node.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { readSources, type Source } from '../../house-rules/sources.ts';
import { requireNative } from '../../shared/compute/native/available.ts';

/** What belongs to the thread of learning alone. */
const heavy =
  /@tensorflow\/|onnxruntime|@huggingface\/tokenizers|shared\/training\/(train|train-privately|evaluate|task-model|features)\.|shared\/model\/(load|tokenizer|transformer|encoder|decoder)\.|client\/prepare-task\./;

/** Modules that run where the socket is. */
const roots = [
  'client/index.ts',
  'client/node.ts',
  'client/commands/client.ts',
  'simulations/quickstart/client-process.ts',
];

/** Modules that are loaded with `root`, each with the path that leads to it: imports of types alone load nothing. */
function loadedWith(root: string, sources: ReadonlyMap<string, Source>): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (path: string, way: string): void => {
    if (found.has(path)) return;
    found.set(path, `${way} > ${path}`);
    for (const { target, isPackage, isDynamic } of valueImports(sources.get(path))) {
      // The library's learner for other places than Node loads its engine when it is used.
      if (isDynamic && path === 'client/task-learner.ts') continue;
      if (isPackage) found.set(target, `${way} > ${path} > ${target}`);
      else visit(target, `${way} > ${path}`);
    }
  };
  visit(root, '');
  return found;
}

function valueImports(source: Source | undefined): Source['imports'] {
  if (source === undefined) return [];
  const { text, imports } = source;
  return imports.filter(({ target, isDynamic }) => {
    const name = target.split('/').at(-1)!.replaceAll('.', '\\.');
    const statements = [...text.matchAll(new RegExp(`(?:import|export)\\s([^;'"]*?)from\\s+'[^']*${name}[^']*'`, 'g'))];
    return isDynamic || statements.length === 0 || statements.some(([, what]) => loadsSomething(what!));
  });
}

function loadsSomething(what: string): boolean {
  if (/^type\b/.test(what)) return false;
  const names = /\{([^}]*)\}/.exec(what)?.[1]?.split(',') ?? [''];
  return names.filter((name) => name.trim() !== '').some((name) => !/^\s*type\b/.test(name)) || names.length === 0;
}

const planOf = async () =>
  parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'exit',
      base: { digest: (await describeBase(pretrainedFolder())).digest },
      task: { labels: ['a', 'b'], pooling: 'last', lengthMax: 16 },
      adapter: { method: 'lora', rank: 2 },
      training: { localSteps: 500, batchSize: 16 },
      rounds: { count: 2, quorum: 1 },
    },
    'the test',
  );

/** Runs the program to its exit. */
async function exitWhileTraining(backend: BackendName) {
  const program = fileURLToPath(new URL('./exit-while-training.ts', import.meta.url));
  const child = spawn(process.execPath, [program, backend, JSON.stringify(await planOf()), pretrainedFolder()]);
  const [out, error, [code, killedBy]] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    new Promise<[number | null, string | null]>((resolve) => child.on('close', (...end) => resolve(end))),
  ]);
  return { code, killedBy, out, error };
}

describe('thread of the socket', function () {
  this.timeout(60_000);

  it('[STH-1] imports neither the engine, nor models, nor the training loop', () => {
    const sources = new Map(readSources('client', 'shared', 'simulations').map((source) => [source.path, source]));
    for (const root of roots) {
      const loaded = loadedWith(root, sources);
      assert.ok(loaded.size > 20, `${root} leads to ${loaded.size} modules`);
      assert.deepEqual(
        [...loaded].filter(([path]) => heavy.test(path)).map(([, way]) => way),
        [],
      );
    }
    const inThread = loadedWith('client/learning-thread/make-site-learner.node.ts', sources);
    assert.ok(!inThread.has('@tensorflow/tfjs-core'), 'the exception above is the only way to the engine');
    assert.ok(loadedWith('client/prepare-task.ts', sources).has('@tensorflow/tfjs-core'), 'the engine would be found');
  });

  for (const backend of ['wasm', 'native'] satisfies BackendName[])
    it(`[STH-2] has loaded none of them while it trains, and a process that exits then exits in order: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      const { code, killedBy, out, error } = await exitWhileTraining(backend);
      assert.deepEqual([code, killedBy], [3, null], error);
      const loaded = JSON.parse(out) as string[];
      assert.ok(loaded.some((url) => url.includes('client/learning-thread/thread-learner')));
      assert.deepEqual(
        loaded.filter((url) => heavy.test(url)),
        [],
      );
    });
});
