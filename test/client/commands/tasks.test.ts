/** `train` and `evaluate` for every kind of task, from files to metrics. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { mergeCheckpoint } from '../../../shared/adapters/formats/merge.node.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { writeSmallBert } from '../../helpers/small-bert.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { run } from './commands.ts';

describe('train and evaluate by task', () => {
  let folder = '';
  let base = '';
  const at = (name: string) => join(folder, name);
  const write = (name: string, records: readonly object[]) => {
    writeFileSync(at(name), records.map((record) => JSON.stringify(record)).join('\n'));
  };
  const rows = (count: number, seed: number) => {
    const random = seededRandom(seed, 'task-files');
    const one = (letters: string) => letters[random.integer(letters.length)]!;
    return Array.from({ length: count }, () => {
      const isEarly = random.uniform() < 0.7;
      const text = `${one(isEarly ? 'abc' : 'xyz')}${one(isEarly ? 'abc' : 'xyz')}`;
      return {
        text,
        label: isEarly ? 'early' : 'late',
        labels: isEarly ? ['early'] : ['late', 'far'],
        tokens: [text[0]!, 'm'],
        tags: [isEarly ? 'B-AGE' : 'O', 'O'],
        prompt: `${text} `,
        answer: isEarly ? 'yes' : 'no',
      };
    });
  };
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-tasks-'));
    base = await writeTinyBase(join(folder, 'base'));
    for (const [name, count, seed] of [
      ['train', 80, 1],
      ['test', 40, 2],
      ['other', 40, 3],
    ] as const) {
      const all = rows(count, seed);
      const only = (...keys: (keyof (typeof all)[number])[]) =>
        all.map((row) => Object.fromEntries(keys.map((key) => [key, row[key]])));
      write(`labels-${name}.jsonl`, only('text', 'label'));
      write(`multi-${name}.jsonl`, only('text', 'labels'));
      write(`tags-${name}.jsonl`, only('tokens', 'tags'));
      write(`texts-${name}.jsonl`, only('text'));
      write(`answers-${name}.jsonl`, only('prompt', 'answer'));
    }
  });
  after(() => rmSync(folder, { recursive: true }));

  const train = (kind: string, data: string, ...argv: string[]) => {
    const flags = ['--base', base, '--backend', 'cpu', '--epochs', '2', '--learning-rate', '0.02', '--batch-size', '8'];
    const adapter = ['--adapter', 'bottleneck', '--adapter-config', '{"size":4}'];
    return run(['train', '--task', kind, '--train', at(`${data}-train.jsonl`), ...flags, ...adapter, ...argv]);
  };
  const document = async (result: ReturnType<typeof run>) => {
    const { code, output, errors } = await result;
    assert.equal(code, 0, errors);
    return JSON.parse(output);
  };

  it('[TCT-9] a head as published trains, and is refused with what it does not fit', async () => {
    const out = at('published');
    const report = await document(train('classification', 'labels', '--head', 'published', '--out', out, '--json'));
    assert.ok(report.heldOut.accuracy > 0.5);
    const { task, layout } = await readAdapterFolder(out);
    assert.deepEqual('pooling' in task && 'labels' in task && [task.head, task.pooling], [{ bias: false }, 'last']);
    assert.ok(layout.tensors.every(({ name }) => name !== 'head.bias'));
    const other = await run([
      'evaluate',
      '--base',
      base,
      '--adapter',
      out,
      '--backend',
      'cpu',
      '--data',
      at('labels-test.jsonl'),
    ]);
    assert.equal(other.code, 0, other.errors);
    const mean = await train('classification', 'labels', '--head', 'published', '--pooling', 'mean', '--out', out);
    assert.match(mean.errors, /the head of gpt2 reads the last token, found --pooling mean/);
    const tags = await train('tokens', 'tags', '--head', 'published', '--out', out);
    assert.match(tags.errors, /--head belongs to the task classification and multi-label/);
  });

  for (const [kind, data, metric] of [
    ['multi-label', 'multi', 'microF1'],
    ['tokens', 'tags', 'entityF1'],
    ['causal', 'texts', 'perplexity'],
    ['causal', 'answers', 'perplexity'],
  ] as const) {
    it(`[TCT-1] ${kind} on ${data}: what train measures on held-out rows, evaluate measures again`, async () => {
      const test = at(`${data}-test.jsonl`);
      const report = await document(train(kind, data, '--held-out', test, '--out', at(data), '--json'));
      assert.equal(report.metric, metric);
      assert.equal(report.task, kind);
      assert.deepEqual(report.rows, { train: 80, heldOut: 40, truncated: 0, dropped: 0 });
      assert.equal((await readAdapterFolder(at(data))).task.kind, kind);
      const flags = ['--base', base, '--adapter', at(data), '--backend', 'cpu'];
      const measured = await document(run(['evaluate', ...flags, '--data', test, '--json']));
      for (const name of ['accuracy', metric, 'loss', 'brier'])
        assert.ok(Math.abs(measured[name] - report.heldOut[name]) < 1e-6, name);
      const text = await run(['evaluate', ...flags, '--data', test]);
      assert.match(text.output, /: (micro-F1|entity F1|perplexity) /, 'the metric that counts stands first');
      if (kind === 'tokens') assert.match(text.output, /^ {2}AGE: F1 .* precision .* recall .* of \d+$/m);
    });
  }

  it('[TCT-10] a base alone is measured as a language model: a merged checkpoint as the adapter in it', async () => {
    const data = at('texts-test.jsonl');
    const flags = ['--backend', 'cpu', '--data', data];
    const lora = ['--adapter', 'lora', '--adapter-config', '{"rank":2}', '--epochs', '6'];
    await document(train('causal', 'texts', '--out', at('inside'), '--length-max', '12', ...lora, '--json'));
    const adapter = await readAdapterFolder(at('inside'));
    await mergeCheckpoint({ base, document: adapter, out: at('whole'), shardBytesMax: 1e9 });
    const measure = (...argv: string[]) => document(run(['evaluate', ...flags, ...argv, '--json']));
    const within = await measure('--base', base, '--adapter', at('inside'));
    const merged = await measure('--base', at('whole'), '--task', 'causal', '--length-max', '12');
    const alone = await measure('--base', base, '--task', 'causal', '--length-max', '12');
    assert.ok(Math.abs(merged.loss - within.loss) < 1e-4, `${merged.loss} and ${within.loss}`);
    assert.ok(alone.loss > within.loss + 0.1, `${alone.loss} and ${within.loss}`);
    assert.deepEqual([alone.adapter, alone.modelHash], [null, null]);
    for (const [argv, pattern] of [
      [[], /expected --adapter DIR, or --task causal or masked/],
      [['--adapter', at('inside'), '--task', 'causal'], /--task belongs to a base alone/],
      [['--task', 'causal', '--drop-lowest', '1'], /--drop-lowest belongs to an adapter/],
      [['--task', 'masked', '--base', base], /task\.kind must be another on gpt2/],
    ] as const) {
      const { code, errors } = await run(['evaluate', ...flags, ...argv]);
      assert.notEqual(code, 0);
      assert.match(errors, pattern);
    }
  });

  it('[TCT-11] --drop-lowest leaves the lowest layers without their adapters, and 0 leaves all of them', async () => {
    const file = at('labels-test.jsonl');
    await document(train('classification', 'labels', '--out', at('dropped'), '--json'));
    const lossOf = async (...argv: string[]): Promise<number> => {
      const flags = ['--base', base, '--adapter', at('dropped'), '--backend', 'cpu', '--data', file];
      return (await document(run(['evaluate', ...flags, ...argv, '--json']))).loss;
    };
    const whole = await lossOf();
    assert.equal(await lossOf('--drop-lowest', '0'), whole);
    assert.notEqual(await lossOf('--drop-lowest', '1'), whole);
  });

  it('[TCT-2] balanced weights lift the rare label, and stand in the adapter', async () => {
    const out = at('weighted');
    const flags = ['--held-out', at('labels-test.jsonl'), '--out', out, '--class-weights', 'balanced', '--json'];
    await document(train('classification', 'labels', ...flags));
    const { task } = await readAdapterFolder(out);
    assert.ok(task.kind === 'classification');
    const [early, late] = task.classWeights!;
    const count = readFileSync(at('labels-train.jsonl'), 'utf8').split('"late"').length - 1;
    assert.ok(Math.abs(late! - 80 / (2 * count)) < 1e-12 && early! < 1 && late! > 1);
    const wrong = await train('classification', 'labels', '--out', out, '--class-weights', '1,2,3');
    assert.equal(wrong.code, 2);
    assert.match(wrong.errors, /balanced, or 2 numbers above 0/);
  });

  it('[TCT-3] a file that is streamed row by row trains to the same bytes as one in memory', async () => {
    const trained = async (out: string, ...argv: string[]) => {
      await document(
        train('causal', 'texts', '--held-out', at('texts-test.jsonl'), '--out', at(out), '--json', ...argv),
      );
      return readFileSync(join(at(out), 'adapter.safetensors'));
    };
    assert.ok((await trained('kept')).equals(await trained('streamed', '--memory-rows', '10')));
    const split = await document(
      train('tokens', 'tags', '--held-out-fraction', '0.25', '--memory-rows', '10', '--out', at('split'), '--json'),
    );
    assert.equal(split.rows.train + split.rows.heldOut, 80);
    assert.ok(split.rows.heldOut > 0);
  });

  it('[TCT-4] a temperature is fitted to other rows; language models have none', async () => {
    await document(train('classification', 'labels', '--out', at('warm'), '--json'));
    const flags = ['--base', base, '--adapter', at('warm'), '--backend', 'cpu', '--data', at('labels-test.jsonl')];
    const { calibration, accuracy, loss } = await document(
      run(['evaluate', ...flags, '--calibrate', at('labels-other.jsonl'), '--json']),
    );
    assert.ok(calibration.temperature > 1 / 64 && calibration.temperature < 64);
    assert.equal(calibration.uncalibrated.accuracy, accuracy);
    assert.notEqual(calibration.uncalibrated.loss, loss);
    const text = await run(['evaluate', ...flags, '--calibrate', at('labels-other.jsonl')]);
    assert.match(text.output, /temperature [\d.]+; without it: calibration error/);
    await document(train('causal', 'texts', '--out', at('words'), '--json'));
    const language = await run([
      ...['evaluate', '--base', base, '--adapter', at('words'), '--backend', 'cpu', '--data', at('texts-test.jsonl')],
      ...['--calibrate', at('texts-other.jsonl')],
    ]);
    assert.equal(language.code, 2);
    assert.match(language.errors, /the task causal is measured by its perplexity/);
  });

  it('[TCT-7] keeps the best pass by the metric that counts, or the last', async () => {
    const flags = ['--held-out', at('answers-test.jsonl'), '--epochs', '4', '--learning-rate', '0.3', '--json'];
    const kept = await document(train('causal', 'answers', ...flags, '--keep', 'best', '--out', at('best')));
    const last = await document(train('causal', 'answers', ...flags, '--out', at('last')));
    assert.equal(last.pass, 4);
    assert.ok(kept.pass >= 1 && kept.pass <= 4);
    assert.ok(kept.heldOut.perplexity <= last.heldOut.perplexity);
    const data = ['--base', base, '--backend', 'cpu', '--data', at('answers-test.jsonl'), '--json'];
    const measured = await document(run(['evaluate', '--adapter', at('best'), ...data]));
    assert.ok(Math.abs(measured.perplexity - kept.heldOut.perplexity) < 1e-3, 'what is written is what was chosen');
    const none = await train('causal', 'answers', '--keep', 'best', '--held-out-fraction', '0', '--out', at('never'));
    assert.match(none.errors, /--keep best needs held-out rows/);
  });

  it('[TCT-5] says what is wrong with task, metric and options, and exits with 2', async () => {
    const cases: readonly (readonly [string, string, string[], RegExp])[] = [
      ['causal', 'texts', ['--pooling', 'mean'], /--pooling belongs to the task classification and multi-label/],
      [
        'causal',
        'texts',
        ['--metric', 'accuracy', '--mask-fraction', '0.2'],
        /--mask-fraction belongs to the task masked/,
      ],
      ['causal', 'texts', ['--metric', 'macro-f1'], /the task causal here has perplexity, accuracy/],
      ['tokens', 'tags', ['--metric', 'f2'], /Expected one of accuracy, macroF1/],
      ['masked', 'texts', [], /mask/],
      ['causal', 'texts', ['--length-max', '1'], /at least 2 tokens/],
      ['tokens', 'texts', [], /"tokens" or "words" is missing; there are: "text"/],
    ];
    for (const [kind, data, argv, pattern] of cases) {
      const { code, errors } = await train(kind, data, '--out', at('never'), ...argv);
      assert.notEqual(code, 0, `${kind} ${argv.join(' ')}`);
      assert.match(errors, pattern);
    }
  });

  it('[TCT-6] masked: on a BERT with a mask token, the same masks in every evaluation', async () => {
    await writeSmallBert(at('bert'));
    const flags = ['--base', at('bert'), '--backend', 'cpu', '--epochs', '2', '--learning-rate', '0.02'];
    const files = ['--train', at('texts-train.jsonl'), '--held-out', at('texts-test.jsonl'), '--out', at('masks')];
    const trained = await document(
      run(['train', '--task', 'masked', ...files, ...flags, '--adapter', 'lora', '--json']),
    );
    assert.equal(trained.metric, 'perplexity');
    const data = ['--base', at('bert'), '--backend', 'cpu', '--data', at('texts-test.jsonl'), '--json'];
    const measured = await document(run(['evaluate', '--adapter', at('masks'), ...data]));
    assert.ok(Math.abs(measured.perplexity - trained.heldOut.perplexity) < 1e-3 * measured.perplexity);
    assert.equal(measured.accuracy, trained.heldOut.accuracy);
  });
});
