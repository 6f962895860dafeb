/** `train` and `evaluate` for several tasks at once, from one file to what each task reached. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { run } from './commands.ts';

const words = { topic: { a: 'cat', b: 'dog', c: 'emu' }, tone: { calm: 'yes', upset: 'no' } } as const;

describe('several tasks on the command line', () => {
  let folder = '';
  let base = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-several-'));
    base = await writeTinyBase(at('base'));
    const random = seededRandom(4);
    const rows = Array.from({ length: 64 }, (_, index) => {
      const task = index % 4 === 0 ? ('tone' as const) : ('topic' as const);
      const labels = Object.entries(words[task]);
      const [label, word] = labels[random.integer(labels.length)]!;
      return JSON.stringify({ text: `${word} ${index}`, label, task });
    });
    writeFileSync(at('rows.jsonl'), rows.join('\n'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const train = (...argv: string[]) =>
    run([
      ...['train', '--task', 'several', '--base', base, '--train', at('rows.jsonl'), '--backend', 'wasm'],
      ...['--epochs', '8', '--learning-rate', '0.03', '--batch-size', '8', ...argv],
    ]);
  const document = async (result: ReturnType<typeof run>) => {
    const { code, output, errors } = await result;
    assert.equal(code, 0, errors);
    return JSON.parse(output);
  };

  it('[STC-1] rows by part, sampled by temperature: one adapter with two heads, and what each task reached', async () => {
    const out = at('adapter');
    const strategy = '{"samplingTemperature":5}';
    const settings = ['--part-column', 'task', '--adapter', 'bottleneck', '--adapter-config', '{"size":4}'];
    const report = await document(train(...settings, '--training-config', strategy, '--out', out, '--json'));
    assert.equal(report.labels, 5);
    const { task } = await readAdapterFolder(out);
    assert.deepEqual(task.kind === 'several' && task.tasks, [
      { name: 'tone', labels: ['calm', 'upset'] },
      { name: 'topic', labels: ['a', 'b', 'c'] },
    ]);
    const measured = ['evaluate', '--base', base, '--adapter', out, '--data', at('rows.jsonl'), '--backend', 'wasm'];
    const found = await document(run([...measured, '--part-column', 'task', '--json']));
    assert.deepEqual(
      found.tasks.map(({ name, targetCount }: { name: string; targetCount: number }) => [name, targetCount]),
      [
        ['tone', 16],
        ['topic', 48],
      ],
    );
    for (const { name, accuracy } of found.tasks) assert.ok(accuracy > 0.9, `${name}: ${accuracy}`);
    const people = await run([...measured, '--part-column', 'task']);
    assert.match(people.output, /tone: accuracy [\d.]+ %, macro-F1 [\d.]+ % of 16/);
  });

  it('[STC-2] rows that name no task are refused with what names one', async () => {
    const { code, errors } = await train('--adapter', 'lora', '--out', at('none'));
    assert.equal(code, 2);
    assert.match(
      errors,
      /expected rows of at least two tasks, found 0; name the column that tells tasks apart \(--part-column\)/,
    );
  });
});
