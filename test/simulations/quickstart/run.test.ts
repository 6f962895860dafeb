/** The main job with a tiny base: real processes and sockets, all results, and the ends that nobody wants. */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { FederationError, UsageError } from '../../../shared/core/errors.ts';
import type { FromSite, ToSite } from '../../../simulations/quickstart/messages.ts';
import { type QuickstartOptions, silentHooks } from '../../../simulations/quickstart/options.ts';
import { startProcess } from '../../../simulations/quickstart/processes.ts';
import { runQuickstart } from '../../../simulations/quickstart/run.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';

const commandLine = join(import.meta.dirname, '..', '..', '..', 'shared', 'command-line', 'main.node.ts');

/** Rows of three labels that differ in every letter, in the user's own columns. */
function rows(count: number): string {
  const words = ['aaa', 'mmm', 'zzz'];
  const lines = Array.from({ length: count }, (_, index) => {
    const word = words[index % 3]!;
    return JSON.stringify({ body: `${word} ${index} ${word}`, kind: word });
  });
  return `${lines.join('\n')}\n`;
}

/** A run of `tributary` to its end. */
function tributary(
  ...argv: string[]
): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [commandLine, ...argv], (_, out, error) =>
      resolve({ code: child.exitCode ?? -1, out, error }),
    );
  });
}

describe('the quickstart', function () {
  // Every run starts six processes that load TensorFlow.js, on machines that may be busy.
  this.timeout(180_000);
  let folder = '';
  let files: string[] = [];
  let options: QuickstartOptions;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-quickstart-'));
    await writeTinyBase(join(folder, 'base'));
    const [train, test] = [join(folder, 'train.jsonl'), join(folder, 'test.jsonl')];
    writeFileSync(train, rows(60));
    writeFileSync(test, rows(24));
    files = [
      '--base',
      join(folder, 'base'),
      '--train',
      train,
      '--test',
      test,
      '--text-column',
      'body',
      '--label-column',
      'kind',
    ];
    options = {
      baseFolder: join(folder, 'base'),
      data: { train, test, textColumn: 'body', labelColumn: 'kind', labelNames: null },
      clientCount: 2,
      partition: { kind: 'iid' },
      rounds: 2,
      localEpochs: 1,
      task: 'classification',
      classWeights: null,
      metric: null,
      adapter: 'lora',
      backend: 'wasm',
      threads: 1,
      seed: 1,
      outFolder: join(folder, 'out'),
    };
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('[QST-1] prints the summary that it writes, and leaves an adapter with signed lineage, a report and its state', async () => {
    const out = join(folder, 'out');
    const flags = ['--clients', '2', '--partition', 'iid', '--rounds', '2', '--adapter', 'lora', '--backend', 'wasm'];
    const ran = await tributary('quickstart', ...files, ...flags, '--out', out, '--json');
    assert.equal(ran.code, 0, ran.error);
    assert.equal(ran.out, readFileSync(join(out, 'summary.json'), 'utf8'));
    const summary = JSON.parse(ran.out);
    assert.deepEqual(summary.metric, { name: 'accuracy', higherIsBetter: true });
    assert.equal(summary.rounds, 2);
    assert.equal(summary.backend, 'wasm');
    assert.equal(summary.scores.local.length, 2);
    assert.equal(summary.scores.onOwnData.local.length, 2);
    assert.equal(summary.scores.onOwnData.federated.length, 2);
    assert.equal(summary.scores.bagOfWords, 1);
    const { head, federated, pooled, local } = summary.scores;
    for (const score of [head, federated, pooled, ...local]) assert.ok(score >= 0 && score <= 1);
    assert.ok(summary.bytes.up > 2 * 2 * 4 * summary.parameters.trainable, 'two updates of two sites');
    assert.ok(summary.bytes.down > 2 * 2 * summary.parameters.frozen, 'the base for two sites');
    assert.ok(summary.seconds > 0 && summary.parameters.frozen > 0);
    assert.ok(existsSync(join(out, 'report.html')));
    const { lineage, parameters } = await readAdapterFolder(join(out, 'adapter'));
    assert.ok(lineage !== null);
    assert.equal(parameters.length, summary.parameters.trainable);

    const data = ['--base', join(folder, 'base'), '--data', join(out, 'data', 'test.jsonl'), '--backend', 'wasm'];
    const evaluated = await tributary('evaluate', '--adapter', join(out, 'adapter'), ...data, '--json');
    assert.equal(JSON.parse(evaluated.out).accuracy, federated, 'the command that is printed last gives the same');
    const listed = await tributary(
      'adapters',
      'list',
      '--state',
      join(out, 'state', 'adapter', 'coordinator'),
      '--json',
    );
    assert.equal(JSON.parse(listed.out).versions.length, 3);
  });

  it('[QST-2] the same seed gives the same scores and the same adapter; a head alone runs once', async () => {
    const of = (outFolder: string) => runQuickstart({ ...options, adapter: 'none', outFolder }, silentHooks());
    const first = await of(join(folder, 'first'));
    const second = await of(join(folder, 'second'));
    assert.deepEqual(first.federated.adapter, second.federated.adapter);
    assert.deepEqual(first.summary.scores, second.summary.scores);
    assert.equal(first.head, first.federated);
    assert.equal(first.summary.scores.head, first.summary.scores.federated);
  });

  it('[QST-3] stops all processes when it is interrupted', async () => {
    const controller = new AbortController();
    const reason = new FederationError('interrupted', 'interrupted');
    const hooks = silentHooks(controller.signal);
    const run = runQuickstart(
      { ...options, rounds: 1000 },
      { ...hooks, log: (line) => void (line.includes('coordinator at') && controller.abort(reason)) },
    );
    await assert.rejects(run, reason);
  });

  it('[QST-4] a run that cannot begin names the fault and empties no folder', async () => {
    const outFolder = join(folder, 'kept');
    await assert.rejects(
      runQuickstart(
        { ...options, data: { ...options.data!, labelColumn: 'absent', labelNames: null }, outFolder },
        silentHooks(),
      ),
      /the column "absent" is missing/,
    );
    const baseFolder = join(folder, 'speechless');
    cpSync(join(folder, 'base'), baseFolder, { recursive: true });
    rmSync(join(baseFolder, 'tokenizer.json'));
    await assert.rejects(runQuickstart({ ...options, baseFolder, outFolder }, silentHooks()), { code: 'missing-file' });
    assert.ok(!existsSync(outFolder));
  });

  it('[QST-5] a back end that is not there ends the run with the reason, before a round begins', async function () {
    const isInstalled = await import('@tensorflow/tfjs-node-gpu' as string).then(
      () => true,
      () => false,
    );
    if (isInstalled) this.skip();
    const run = runQuickstart({ ...options, backend: 'node-gpu', outFolder: join(folder, 'gpu') }, silentHooks());
    await assert.rejects(
      run,
      /^FederationError: the site site-\d: the back end node-gpu does not work here: .*is not installed/,
    );
  });

  it('[QST-6] a child that fails says whose fault it is; one that is interrupted, or asked to, ends', async () => {
    const site = (signal = new AbortController().signal) =>
      startProcess<ToSite, FromSite>({
        entry: 'client-process',
        name: 'the site north',
        signal,
        onMessage: () => undefined,
      });
    const start = (trainFile: string): ToSite => ({
      type: 'start',
      siteName: 'north',
      trainFile,
      heldOutFile: null,
      policyFile: 'none.json',
      stateFolder: join(folder, 'state'),
      invite: '',
      compute: { backend: 'auto', threads: 1 },
    });
    const failing = site();
    failing.send(start(join(folder, 'none.jsonl')));
    await assert.rejects(
      failing.ended,
      (thrown: Error) => thrown instanceof UsageError && /^the site north: .*none\.jsonl/.test(thrown.message),
    );
    const controller = new AbortController();
    const interrupted = site(controller.signal);
    controller.abort(new FederationError('interrupted', 'interrupted'));
    await assert.rejects(interrupted.ended, /interrupted/);
    const quitting = site();
    quitting.send({ type: 'quit' });
    await quitting.ended;
  });
});
