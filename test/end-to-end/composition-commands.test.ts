/** Adapters that build on others, as a user makes them: `train`, `adapters combine`, `train --start`, `evaluate`. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import { run } from '../client/commands/commands.ts';
import { run as runCoordinator } from '../coordinator/commands/commands.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';

describe('compositions on the command line', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  const where = (): string[] => ['--base', at('base'), '--backend', 'wasm'];

  /** Runs a command to its end and gives its report. */
  const reported = async (argv: readonly string[]) => {
    const { code, output, errors } = await (argv[0] === 'adapters' ? runCoordinator : run)([...argv, '--json']);
    assert.equal(code, 0, errors);
    return JSON.parse(output);
  };
  const train = (rows: string, out: string, ...argv: string[]) =>
    reported([
      ...['train', ...where(), '--train', at(rows), '--out', at(out), '--held-out-fraction', '0'],
      ...['--epochs', '4', '--batch-size', '8', '--learning-rate', '0.02', ...argv],
    ]);
  const evaluate = (adapter: string, rows: string) =>
    reported(['evaluate', ...where(), '--adapter', at(adapter), '--data', at(rows)]);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-compositions-'));
    await writeTinyBase(at('base'));
    const write = (name: string, early: string, late: string) =>
      writeFile(
        at(name),
        Array.from({ length: 24 }, (_, index) => {
          const [letters, label] = index % 2 === 0 ? [early, 'early'] : [late, 'late'];
          return JSON.stringify({ text: `${letters}${letters.slice(index % 3)}`, label });
        }).join('\n'),
      );
    await write('one.jsonl', 'abc', 'xyz');
    await write('two.jsonl', 'ABC', 'XYZ');
    await write('new.jsonl', 'bca', 'yzx');
    const adapter = ['--adapter', 'bottleneck', '--adapter-config', '{"size":3}'];
    await train('one.jsonl', 'one', ...adapter);
    await train('two.jsonl', 'two', ...adapter, '--seed', '2');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('[CPC-1] the second stage of a low-rank fusion: a fraction of the values, trained over members that stay as they are', async () => {
    const combine = (out: string, ...settings: string[]) =>
      reported([
        'adapters',
        'combine',
        at('one'),
        at('two'),
        '--kind',
        'fuse',
        '--base',
        at('base'),
        '--out',
        at(out),
        ...settings,
      ]);
    await combine('low', '--settings', '{"rank":2}');
    await combine('whole');
    const low = await train('one.jsonl', 'low-trained', '--start', at('low'));
    const whole = await train('one.jsonl', 'whole-trained', '--start', at('whole'));
    // One site of width 16: 4 r d, 3 d² + 2 d, each beside a head of 2 d + 2.
    assert.equal(low.parameters.trainable, 4 * 2 * 16 + 34);
    assert.equal(whole.parameters.trainable, 3 * 16 ** 2 + 2 * 16 + 34);
    const [before, after] = [await readAdapterFolder(at('low')), await readAdapterFolder(at('low-trained'))];
    for (const { name, offset, size } of after.layout.tensors) {
      const [own, started] = [after, before].map(({ parameters }) => parameters.subarray(offset, offset + size));
      if (/^(one|two)\./.test(name)) assert.deepEqual(own, started, name);
      else assert.notDeepEqual(own, started, name);
    }
    assert.ok((await evaluate('low-trained', 'one.jsonl')).accuracy > 0.9);
  });

  it('[CPC-2] a task that no adapter was trained for is met without training, by the adapters that are closest to it', async () => {
    const combine = (out: string, closest: string) => {
      const texts = ['--like', at('new.jsonl'), '--texts', `${at('one.jsonl')},${at('two.jsonl')}`];
      const argv = ['--kind', 'average', '--base', at('base'), ...texts, '--closest', closest, '--out', at(out)];
      return reported(['adapters', 'combine', at('one'), at('two'), ...argv]);
    };
    await combine('closest', '1');
    await combine('both', '2');
    const { adapter } = await readAdapterFolder(at('closest'));
    assert.deepEqual(adapter.weights, [1, 0]);
    assert.deepEqual((await readAdapterFolder(at('both'))).adapter.weights, [0.5, 0.5]);
    const [alone, closest, both] = [
      await evaluate('one', 'new.jsonl'),
      await evaluate('closest', 'new.jsonl'),
      await evaluate('both', 'new.jsonl'),
    ];
    // One adapter at the weight 1 is that adapter, head and all.
    assert.ok(Math.abs(closest.loss - alone.loss) < 1e-6, `${closest.loss}, alone ${alone.loss}`);
    assert.ok(Math.abs(both.loss - alone.loss) > 1e-3, 'the other takes part');
    assert.ok(closest.accuracy > 0.9 && both.accuracy > 0.9);
  });
});
