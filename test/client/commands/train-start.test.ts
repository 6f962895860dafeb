import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { unflatten } from '../../../shared/update/vector.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { run } from './commands.ts';

describe('train --start', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-start-'));
    await writeTinyBase(at('base'));
    const rows = Array.from({ length: 24 }, (_, index) => {
      return JSON.stringify({
        text: index % 2 === 0 ? `abc${index}` : `xyz${index}`,
        label: index % 2 === 0 ? 'early' : 'late',
      });
    });
    await writeFile(at('rows.jsonl'), rows.join('\n'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const train = (out: string, ...argv: string[]) => {
    const fixed = [
      '--base',
      at('base'),
      '--train',
      at('rows.jsonl'),
      '--backend',
      'cpu',
      '--epochs',
      '1',
      '--out',
      at(out),
    ];
    return run(['train', ...fixed, ...argv]);
  };
  const values = async (name: string) => {
    const { layout, parameters } = await readAdapterFolder(at(name));
    return unflatten(layout, parameters);
  };

  it('[TSR-1] goes on from an adapter with its method and settings', async () => {
    const first = await train('first', '--adapter', 'bottleneck', '--adapter-config', '{"size":3}');
    assert.equal(first.code, 0, first.errors);
    const second = await train('second', '--start', at('first'), '--learning-rate', '1e-12');
    assert.equal(second.code, 0, second.errors);
    const [before, after] = [await values('first'), await values('second')];
    assert.deepEqual([...after.keys()], [...before.keys()]);
    for (const [name, own] of after) {
      const largest = Math.max(...own.map((value, index) => Math.abs(value - before.get(name)![index]!)));
      assert.ok(largest < 1e-6, name);
    }
  });

  it('[TSR-3] what is frozen counts as frozen', async () => {
    const member = { id: 'a', method: 'bottleneck', size: 3, frozen: true };
    const config = JSON.stringify({ members: [member, { id: 'b', method: 'bottleneck', size: 2 }] });
    const { code, output, errors } = await train('stack', '--adapter', 'stack', '--adapter-config', config, '--json');
    assert.equal(code, 0, errors);
    const { trainable } = (JSON.parse(output) as { parameters: { trainable: number } }).parameters;
    // The bottleneck of width 2 on states of 16, and the head of 2 labels.
    assert.equal(trainable, 2 * (2 * 16) + 2 + 16 + (16 * 2 + 2));
  });

  it('[TSR-2] settings beside it are refused', async () => {
    const { code, errors } = await train('never', '--start', at('first'), '--adapter-config', '{"size":3}');
    assert.equal(code, 2);
    assert.match(errors, /--start has the settings of its adapter, so --adapter-config must be left out/);
  });
});
