import { strict as assert } from 'node:assert';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contentOfDocument } from '../../../shared/adapters/adapter-document.ts';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { bytesOf, toHex } from '../../../shared/core/bytes.ts';
import { unflatten } from '../../../shared/update/vector.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { run } from './commands.ts';

describe('strategies of train', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-strategies-'));
    await writeTinyBase(at('base'));
    const rows = Array.from({ length: 24 }, (_, index) => {
      const isEarly = index % 2 === 0;
      const text = isEarly ? `abc${index}` : `xyz${index}`;
      return JSON.stringify({ text, label: isEarly ? 'early' : 'late', language: index < 18 ? 'de' : 'fr' });
    });
    await writeFile(at('rows.jsonl'), rows.join('\n'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const train = async (out: string, ...argv: string[]) => {
    const where = ['--base', at('base'), '--train', at('rows.jsonl'), '--backend', 'wasm', '--out', at(out)];
    return run([
      'train',
      ...where,
      '--epochs',
      '1',
      '--adapter',
      'bottleneck',
      '--adapter-config',
      '{"size":3}',
      ...argv,
    ]);
  };
  const values = async (name: string) => {
    const { layout, parameters } = await readAdapterFolder(at(name));
    return unflatten(layout, parameters);
  };

  it('[TST-1] earlier adapters stay bit for bit beside a new one, over two further tasks', async () => {
    assert.equal((await train('first')).code, 0);
    const file = await readFile(at('first/adapter.safetensors'));
    const second = await train('second', '--beside', at('first'), '--learning-rate', '0.01');
    assert.equal(second.code, 0, second.errors);
    const third = await train('third', '--beside', at('second'), '--seed', '5');
    assert.equal(third.code, 0, third.errors);
    const [first, stacked, twice] = [await values('first'), await values('second'), await values('third')];
    const same = (left: Float32Array, right: Float32Array | undefined, name: string) =>
      assert.equal(toHex(bytesOf(left)), toHex(bytesOf(right!)), name);
    let compared = 0;
    for (const [name, own] of first) {
      if (name.startsWith('head.')) continue;
      same(own, stacked.get(`first.${name}`), name);
      same(own, twice.get(`second.first.${name}`), name);
      same(stacked.get(`own.${name}`)!, twice.get(`second.own.${name}`), name);
      assert.notDeepEqual(stacked.get(`own.${name}`), own, 'the new one is another');
      compared++;
    }
    assert.ok(compared >= 2);
    assert.deepEqual(await readFile(at('first/adapter.safetensors')), file);
    const { adapter } = await readAdapterFolder(at('second'));
    const [{ content }] = adapter.members as [{ content: string }];
    assert.equal(content, contentOfDocument(await readAdapterFolder(at('first'))));
  });

  it('[TST-2] takes the fields of a plan from --training-config; options have the last word', async () => {
    const config = {
      localSteps: 6,
      schedule: 'constant',
      warmupSteps: 3,
      groups: [{ tensors: ['head'], learningRateFactor: 5 }],
      freezing: [{ tensors: ['layers'], until: 1 }],
      adversarial: { method: 'pgd', radius: 0.1, steps: 2 },
      samplingTemperature: 5,
      seed: 9,
    };
    await writeFile(at('training.json'), JSON.stringify(config));
    const report = await train(
      'staged',
      '--training-config',
      at('training.json'),
      '--part-column',
      'language',
      '--epochs',
      '2',
    );
    assert.equal(report.code, 0, report.errors);
    const steps = await run([
      ...[
        'train',
        '--base',
        at('base'),
        '--train',
        at('rows.jsonl'),
        '--backend',
        'wasm',
        '--out',
        at('steps'),
        '--json',
      ],
      ...['--training-config', JSON.stringify(config)],
    ]);
    assert.equal(steps.code, 0, steps.errors);
    assert.equal((JSON.parse(steps.output) as { steps: number }).steps, 6);
    const zero = await train('zero', '--learning-rate', '1e-12', '--seed', '9');
    assert.equal(zero.code, 0, zero.errors);
    const [staged, start] = [await values('staged'), await values('zero')];
    for (const [name, own] of staged) {
      const moved = Math.max(...own.map((value, index) => Math.abs(value - start.get(name)![index]!)));
      if (name.startsWith('layers')) assert.ok(moved < 1e-9, `${name} moved by ${moved}`);
      else assert.ok(moved > 1e-6, `${name} moved by ${moved}`);
    }
  });

  it('[TST-3] names the field that is wrong', async () => {
    const refused = async (config: object, message: RegExp) => {
      const { code, errors } = await train('none', '--training-config', JSON.stringify(config));
      assert.equal(code, 2, errors);
      assert.match(errors, message);
    };
    await refused(
      { freezing: [{ tensors: ['layers'], from: 0.5, until: 0.25 }] },
      /freezing\[0\]\.until must be above its from, which is 0\.5, found 0\.25/,
    );
    await refused(
      { groups: [{ tensors: ['lora'], learningRateFactor: 2 }] },
      /training\.groups\[0\]\.tensors\[0\] must begin the name of a tensor/,
    );
    await refused(
      { adversarial: { method: 'fgm', radius: 1, steps: 3 } },
      /adversarial\.steps must be left out with fgm/,
    );
    await refused({ gradualUnfreezing: 2 }, /gradualUnfreezing must be a number above 0 and at most 1, found 2/);
    await refused({ warmupStep: 2 }, /warmupStep is not a known field; did you mean warmupSteps\?/);
    const both = await train('none', '--beside', at('first'), '--start', at('first'));
    assert.equal(both.code, 2);
  });
});
