import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { readAdapterFolder, writeAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { adapterOnBase } from '../../../shared/adapters/document-on-base.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription } from '../../../shared/model/base-model.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import { taskLayout } from '../../../shared/training/initial-adapter.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { document, run } from './commands.ts';

describe('tributary adapters combine', () => {
  let folder = '';
  let base: BaseDescription;
  const at = (name: string) => join(folder, name);

  async function write(name: string, adapter: Plan['adapter'], seed: number): Promise<void> {
    const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;
    const bound = parseAdapter(adapter, base);
    const layout = taskLayout(bound, base, task);
    const random = seededRandom(seed, 'combine');
    const parameters = Float32Array.from({ length: layout.dim }, () => random.normal());
    await writeAdapterFolder(
      at(name),
      createAdapterDocument({ base, adapter: bound.configuration, task, layout, parameters }),
    );
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-combine-'));
    base = await describeBase(await writeTinyBase(at('base')));
    await write('low1', { method: 'lora', rank: 2 }, 1);
    await write('low2', { method: 'lora', rank: 3 }, 2);
    await write('bottleneck1', { method: 'bottleneck', size: 2 }, 3);
    await write('bottleneck2', { method: 'bottleneck', size: 2 }, 4);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('[CMB-1] merges LoRA adapters by the closest map, and says what that leaves out', async () => {
    const { code, value } = await document(['adapters', 'combine', at('low1'), at('low2'), '--out', at('svd')]);
    assert.equal(code, 0);
    const { kind, discarded, modelHash } = value as { kind: string; discarded: number; modelHash: string };
    assert.equal(kind, 'svd');
    assert.ok(discarded > 0 && discarded < 1);
    const written = await readAdapterFolder(at('svd'), { base });
    assert.equal(written.modelHash, modelHash);
    adapterOnBase(written, base);
    assert.equal(written.adapter.rank, 3);
  });

  it('[CMB-2] takes weights and a kind', async () => {
    const folders = [at('low1'), at('low2')];
    const { code, errors } = await run([
      'adapters',
      'combine',
      ...folders,
      '--kind',
      'cat',
      '--weights',
      '0.7,0.3',
      '--out',
      at('cat'),
    ]);
    assert.equal(code, 0, errors);
    assert.equal((await readAdapterFolder(at('cat'))).adapter.rank, 5);
  });

  it('[CMB-3] composes adapters for the second stage of a fusion, members named by their folders', async () => {
    const folders = [at('bottleneck1'), at('bottleneck2')];
    const more = ['--kind', 'fuse', '--base', at('base'), '--settings', '{"rank": 4}', '--out', at('fused')];
    const { code, errors } = await run(['adapters', 'combine', ...folders, ...more]);
    assert.equal(code, 0, errors);
    const written = await readAdapterFolder(at('fused'));
    adapterOnBase(written, base);
    const members = written.adapter.members as { id: string; frozen: boolean }[];
    assert.deepEqual(
      members.map(({ id, frozen }) => [id, frozen]),
      [
        ['bottleneck1', true],
        ['bottleneck2', true],
      ],
    );
  });

  it('[CMB-5] averages the adapters whose texts are most like those of a task that none was trained for', async () => {
    const texts = (letters: string) =>
      Array.from({ length: 12 }, (_, index) => JSON.stringify({ text: letters.slice(index % 3) + letters })).join('\n');
    await writeFile(at('one.jsonl'), texts('abcabc'));
    await writeFile(at('two.jsonl'), texts('XYZXYZ'));
    await writeFile(at('new.jsonl'), texts('bcabca'));
    const argv = ['--kind', 'average', '--base', at('base'), '--like', at('new.jsonl'), '--closest', '1'];
    const files = ['--texts', `${at('one.jsonl')},${at('two.jsonl')}`, '--out', at('soup')];
    const { code, errors } = await run([
      'adapters',
      'combine',
      at('bottleneck1'),
      at('bottleneck2'),
      ...argv,
      ...files,
    ]);
    assert.equal(code, 0, errors);
    assert.match(errors, /one\.jsonl: similarity 0\.\d+, weight 1\.00/);
    assert.deepEqual((await readAdapterFolder(at('soup'))).adapter.weights, [1, 0]);
  });

  const faults: readonly [string, () => string[], RegExp][] = [
    ['a base', () => [at('bottleneck1'), '--kind', 'stack'], /stack needs --base with the folder of the base/],
    ['other methods', () => [at('low1'), at('bottleneck1')], /the method must be the same, found lora and bottleneck/],
    ['a kind', () => [at('low1'), '--kind', 'sum'], /Allowed choices are linear, cat, svd, .*batch-split/],
    ['weights', () => [at('low1'), '--weights', 'x'], /Expected a number/],
    [
      'names',
      () => [at('bottleneck1'), '--kind', 'stack', '--base', at('base'), '--ids', 'a,b'],
      /--ids must name each of the 1/,
    ],
    [
      'texts',
      () => [at('bottleneck1'), '--kind', 'average', '--base', at('base'), '--like', 'x.jsonl'],
      /--like needs --texts with a file for each of the 1 adapters, found 0/,
    ],
    [
      'settings',
      () => [at('bottleneck1'), '--kind', 'stack', '--base', at('base'), '--settings', '[1]'],
      /--settings must be a JSON object, found \[1\]/,
    ],
  ];
  for (const [what, argv, message] of faults) {
    it(`[CMB-4] a fault (${what}) is named, and the exit code is 2`, async () => {
      const { code, errors } = await run(['adapters', 'combine', ...argv(), '--out', at('never')]);
      assert.equal(code, 2);
      assert.match(errors, message);
    });
  }
});
