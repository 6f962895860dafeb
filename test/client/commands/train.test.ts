import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { run } from './commands.ts';

/** Rows of two classes that their letters tell apart. */
function sampleRows(count: number, seed: number): { text: string; label: string }[] {
  const random = seededRandom(seed, 'sample');
  return Array.from({ length: count }, (_, index) => {
    const letters = index % 2 === 0 ? 'abc' : 'xyz';
    const text = Array.from({ length: 4 + random.integer(5) }, () => letters[random.integer(3)]).join('');
    return { text, label: index % 2 === 0 ? 'early' : 'late' };
  });
}

describe('train and evaluate', () => {
  let folder = '';
  let base = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-train-'));
    base = await writeTinyBase(join(folder, 'base'));
    const lines = (count: number, seed: number) =>
      sampleRows(count, seed)
        .map((row) => JSON.stringify(row))
        .join('\n');
    writeFileSync(join(folder, 'train.jsonl'), lines(80, 1));
    writeFileSync(join(folder, 'test.jsonl'), lines(40, 2));
    const csv = sampleRows(40, 2).map(({ text, label }) => `"${text}",${label}`);
    writeFileSync(join(folder, 'test.csv'), `message,intent\n${csv.join('\n')}\n`);
  });
  after(() => rmSync(folder, { recursive: true }));

  const at = (name: string) => join(folder, name);
  const train = (out: string, ...argv: string[]) =>
    run(['train', '--base', base, '--train', at('train.jsonl'), '--backend', 'cpu', '--out', at(out), ...argv]);
  const evaluate = (adapter: string, ...argv: string[]) =>
    run(['evaluate', '--base', base, '--adapter', at(adapter), '--backend', 'cpu', ...argv]);
  const settings = ['--epochs', '3', '--learning-rate', '0.02', '--batch-size', '8'];

  it('[TRC-1] trains each method, learns, and writes an adapter that evaluate measures alike', async () => {
    const parameters = new Map<string, number>();
    for (const [method, config] of [
      ['bottleneck', '{"size":4}'],
      ['lora', '{"rank":2}'],
      ['none', '{}'],
    ] as const) {
      const argv = ['--adapter', method, '--adapter-config', config, '--held-out', at('test.jsonl'), '--json'];
      const trained = await train(method, ...settings, ...argv);
      assert.equal(trained.code, 0, trained.errors);
      const report = JSON.parse(trained.output);
      assert.ok(report.heldOut.accuracy > 0.9, `${method}: ${report.heldOut.accuracy}`);
      assert.deepEqual(report.rows, { train: 80, heldOut: 40, truncated: 0, dropped: 0 });
      assert.equal(report.steps, 30);
      assert.deepEqual((await readAdapterFolder(at(method))).heldOut, report.heldOut);
      parameters.set(method, report.parameters.trainable);
      const measured = await evaluate(method, '--data', at('test.jsonl'), '--json');
      assert.equal(measured.code, 0, measured.errors);
      const metrics = JSON.parse(measured.output);
      for (const name of ['accuracy', 'macroF1', 'auroc', 'exampleCount'] as const)
        assert.equal(metrics[name], report.heldOut[name], `${method}: ${name}`);
      assert.ok(Math.abs(metrics.loss - report.heldOut.loss) < 1e-6);
      assert.equal(metrics.modelHash, report.modelHash);
      const columns = ['--text-column', 'message', '--label-column', 'intent'];
      const mapped = JSON.parse((await evaluate(method, '--data', at('test.csv'), ...columns, '--json')).output);
      assert.equal(mapped.accuracy, metrics.accuracy);
    }
    // The head has 16 x 2 + 2; the bottleneck adds 16 x 4 + 4 + 4 x 16 + 16.
    assert.equal(parameters.get('none'), 34);
    assert.equal(parameters.get('bottleneck'), 34 + 148);
  });

  it('[TRC-2] writes the same bytes for the same seed and others for another', async () => {
    const bytes = async (out: string, seed: string) => {
      const { code, errors } = await train(out, ...settings, '--adapter', 'none', '--seed', seed);
      assert.equal(code, 0, errors);
      return readFileSync(join(at(out), 'adapter.safetensors'));
    };
    const [first, again, other] = [await bytes('a', '5'), await bytes('b', '5'), await bytes('c', '6')];
    assert.ok(first.equals(again));
    assert.ok(!first.equals(other));
  });

  it('[TRC-3] pools the mean on a decoder, fits the length to the base, holds out a tenth, and says how it goes', async () => {
    const { code, output, errors } = await train('plain', '--epochs', '1', '--adapter', 'none');
    assert.equal(code, 0, errors);
    const { task, base: made, lineage } = await readAdapterFolder(at('plain'));
    assert.deepEqual(task, { kind: 'classification', labels: ['early', 'late'], pooling: 'mean', lengthMax: 32 });
    assert.equal(made.digest, (await describeBase(base)).digest);
    assert.equal(lineage, null);
    assert.match(output, /trained none on \d+ rows of 2 labels/);
    assert.match(
      output,
      /held out +accuracy [\d.]+ %, macro-F1 [\d.]+ %, AUROC [\d.]+, loss [\d.]+, calibration error [\d.]+, Brier score [\d.]+ on \d+ rows/,
    );
    assert.match(output, /tributary evaluate --adapter/);
    assert.match(errors, /on cpu/);
    assert.match(errors, /training .*steps.*loss/);
  });

  it('[TRC-4] holds nothing out when asked', async () => {
    const none = await train('whole', '--epochs', '1', '--adapter', 'none', '--held-out-fraction', '0', '--json');
    assert.equal(JSON.parse(none.output).heldOut, null);
    assert.equal(JSON.parse(none.output).rows.train, 80);
  });

  it('[TRC-5] refuses a base for which the adapter was not made, with both digests', async () => {
    await train('mine', '--epochs', '1', '--adapter', 'none');
    const other = await writeTinyBase(at('other-base'), 2);
    const { code, errors } = await run([
      'evaluate',
      '--base',
      other,
      '--adapter',
      at('mine'),
      '--data',
      at('test.jsonl'),
      '--backend',
      'cpu',
    ]);
    assert.equal(code, 2);
    assert.ok(errors.includes((await describeBase(base)).digest), errors);
    assert.ok(errors.includes((await describeBase(other)).digest), errors);
  });

  it('[TRC-6] names a label that the adapter does not have, and its line', async () => {
    await train('known', '--epochs', '1', '--adapter', 'none');
    writeFileSync(at('strange.jsonl'), '{"text":"abc","label":"early"}\n{"text":"abc","label":"noon"}\n');
    const { code, errors } = await evaluate('known', '--data', at('strange.jsonl'));
    assert.equal(code, 2);
    assert.match(errors, /line 2 has the label "noon".*"early", "late"/);
  });

  it('[TRC-7] says what is wrong with options, settings and data, and exits with 2', async () => {
    writeFileSync(at('single.jsonl'), '{"text":"abc","label":"early"}\n');
    writeFileSync(at('config.json'), '{"method":"lora","rank":2}');
    const cases: readonly (readonly [string[], RegExp])[] = [
      [['--epochs', '0'], /--epochs <count>' argument '0' is invalid\. Expected a whole number of at least 1/],
      [['--learning-rate', '-1'], /Expected a number above 0/],
      [['--held-out-fraction', '1'], /Expected a number of at least 0 and below 1/],
      [['--backend', 'abacus'], /Allowed choices are auto, node-gpu, .*cpu/],
      [['--pooling', 'max'], /Allowed choices are first, last, mean/],
      [['--length-max', '33'], /--length-max: expected at most 32/],
      [['--adapter', 'lorra'], /did you mean lora/],
      [['--adapter', 'lora', '--adapter-config', '{"rnk":2}'], /did you mean rank/],
      [['--adapter', 'lora', '--adapter-config', '{"rank":'], /--adapter-config: expected a JSON object/],
      [['--adapter', 'lora', '--adapter-config', at('none.json')], /none\.json: cannot be read/],
      [['--adapter', 'bottleneck', '--adapter-config', at('config.json')], /is for the method "lora"/],
      [['--train', at('single.jsonl')], /single\.jsonl: expected rows of at least two labels/],
      [['--train', at('none.jsonl')], /none\.jsonl/],
      [['--label-column', 'intent'], /line 1: the column "intent" is missing; there are: "text", "label"/],
      [['--base', at('no-base')], /no-base/],
    ];
    for (const [argv, expected] of cases) {
      const { code, output, errors } = await train('never', ...argv);
      assert.equal(code, 2, `${argv.join(' ')}: ${errors}`);
      assert.match(errors, expected, argv.join(' '));
      assert.equal(output, '');
    }
  });

  it('[TRC-8] stops when interrupted and writes no adapter', async () => {
    const controller = new AbortController();
    controller.abort(new Error('interrupted'));
    const { code, errors } = await run(
      ['train', '--base', base, '--train', at('train.jsonl'), '--backend', 'cpu', '--out', at('stopped')],
      controller.signal,
    );
    assert.equal(code, 1);
    assert.match(errors, /interrupted/);
    await assert.rejects(readAdapterFolder(at('stopped')), { code: 'unreadable-file' });
  });
});
