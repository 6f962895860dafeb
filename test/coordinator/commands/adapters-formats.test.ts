/** The commands that write and read the formats of other libraries, and merge. */
import { strict as assert } from 'node:assert';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { readAdapterFolder, writeAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { bytesOf, toHex } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription } from '../../../shared/model/base-model.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { readSafetensors, tensorValues } from '../../../shared/model/safetensors.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { taskLayout } from '../../../shared/training/initial-adapter.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { document, run } from './commands.ts';

const task: Task = { kind: 'classification', labels: ['a', 'b'], pooling: 'last', lengthMax: 8, head: { bias: false } };

describe('tributary adapters export, import, merge', () => {
  let folder = '';
  let base: BaseDescription;
  const at = (name: string) => join(folder, name);
  const onBase = () => ['--base', at('base')] as const;

  async function write(name: string, adapter: Plan['adapter'], own: Task = task): Promise<void> {
    const bound = parseAdapter(adapter, base);
    const layout = taskLayout(bound, base, own);
    const random = seededRandom(2, name);
    const parameters = Float32Array.from({ length: layout.dim }, () => 0.1 * random.normal());
    await writeAdapterFolder(
      at(name),
      createAdapterDocument({ base, adapter: bound.configuration, task: own, layout, parameters }),
    );
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-formats-'));
    base = await describeBase(await writeTinyBase(at('base')));
    await writeFile(join(at('base'), 'README.md'), '---\nlicense: mit\n---\n# A base\n');
    await write('low', { method: 'lora', rank: 2 });
    await write('narrow', { method: 'bottleneck', size: 4 });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const [format, source, names] of [
    ['peft', 'low', ['adapter_config.json', 'adapter_model.safetensors']],
    [
      'adapterhub',
      'narrow',
      ['adapter.safetensors', 'adapter_config.json', 'head_config.json', 'model_head.safetensors'],
    ],
  ] as const) {
    it(`[FMT-1:${format}] exports a folder with its card, and imports it as it was`, async () => {
      const out = at(`as-${format}`);
      const argv = ['adapters', 'export', at(source), ...onBase(), '--format', format, '--out', out];
      const exported = await document(argv);
      assert.equal(exported.code, 0);
      assert.deepEqual((await readdir(out)).sort(), ['README.md', ...names, 'tributary.json'].sort());
      const card = await readFile(join(out, 'README.md'), 'utf8');
      assert.match(card, /^---\n[\s\S]*license: mit\n/);
      // Once more gives the same bytes.
      const again = await run([...argv.slice(0, -1), at(`again-${format}`)]);
      assert.equal(again.code, 0, again.errors);
      for (const name of await readdir(out))
        assert.deepEqual(await readFile(join(out, name)), await readFile(join(at(`again-${format}`), name)));
      const back = await run(['adapters', 'import', out, ...onBase(), '--out', at(`from-${format}`)]);
      assert.equal(back.code, 0, back.errors);
      assert.match(
        back.output,
        new RegExp(`for classification with 2 labels, bound to the base with digest ${base.digest}`),
      );
      assert.deepEqual(await readAdapterFolder(at(`from-${format}`)), await readAdapterFolder(at(source)));
    });
  }

  it('[FMT-2] says what a foreign folder does not, and takes labels and a length', async () => {
    const foreign = at('foreign');
    await cp(at('as-peft'), foreign, { recursive: true });
    await rm(join(foreign, 'tributary.json'));
    const argv = [
      'adapters',
      'import',
      foreign,
      ...onBase(),
      '--labels',
      'x, y',
      '--length',
      '5',
      '--out',
      at('named'),
    ];
    const { code, errors } = await run(argv);
    assert.equal(code, 0, errors);
    assert.match(errors, /do not say on which base they were trained/);
    const read = await readAdapterFolder(at('named'), { base });
    assert.deepEqual(read.task, { ...task, labels: ['x', 'y'], lengthMax: 5 });
  });

  it('[FMT-3] refuses another base with both digests, and exits with 2', async () => {
    const other = await describeBase(await writeTinyBase(at('other'), 9));
    for (const argv of [
      ['adapters', 'import', at('as-peft'), '--base', at('other'), '--out', at('wrong')],
      ['adapters', 'export', at('low'), '--base', at('other'), '--format', 'peft', '--out', at('wrong')],
      ['adapters', 'merge', at('low'), '--base', at('other'), '--out', at('wrong')],
    ]) {
      const { code, errors } = await run(argv);
      assert.equal(code, 2, errors);
      assert.ok(errors.includes(base.digest) && errors.includes(other.digest), errors);
    }
    assert.ok(!(await readdir(folder)).includes('wrong'));
  });

  it('[FMT-4] merges into a plain checkpoint that is a base with its tokenizer, from any format', async () => {
    const argv = ['adapters', 'merge', at('as-peft'), ...onBase(), '--out', at('merged')];
    const { code, value } = await document([...argv, '--shard-size', '10kB', '--dtype', 'BF16']);
    assert.equal(code, 0);
    const { digest, type, files } = value as { digest: string; type: string; files: readonly string[] };
    assert.equal(type, 'BF16');
    assert.ok(files.includes('model.safetensors.index.json') && files.includes('tokenizer.json'));
    assert.equal((await describeBase(at('merged'))).digest, digest);
    const configuration = JSON.parse(await readFile(join(at('merged'), 'config.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    assert.deepEqual(configuration.architectures, ['GPT2ForSequenceClassification']);
    assert.deepEqual(configuration.id2label, { 0: 'a', 1: 'b' });
    assert.equal(configuration.torch_dtype, 'bfloat16');
    const full = await run(argv);
    assert.equal(full.code, 2);
    assert.match(full.errors, /already holds /);
  });

  it('[FMT-5] refuses what cannot be, with what works', async () => {
    const refused = async (argv: readonly string[], message: RegExp) => {
      const { code, errors } = await run(['adapters', ...argv, '--out', at('none')]);
      assert.equal(code, 2, errors);
      assert.match(errors, message);
    };
    await refused(['merge', at('narrow'), ...onBase()], /computes what no weight of the base can/);
    await refused(
      ['export', at('narrow'), ...onBase(), '--format', 'peft'],
      /no place for the method bottleneck.*--format adapterhub/,
    );
    await refused(
      ['export', at('low'), ...onBase(), '--format', 'peft', '--state', at('x')],
      /either an adapter folder or the --state/,
    );
    await refused(['export', ...onBase()], /either an adapter folder or the --state/);
    await refused(
      ['export', at('low'), ...onBase(), '--format', 'onnx'],
      /Allowed choices are tributary, peft, adapterhub/,
    );
    await refused(['export', at('low'), ...onBase(), '--name', 'a.b'], /letters, digits, _ and -/);
    await refused(['merge', at('low'), ...onBase(), '--shard-size', 'big'], /a size such as 500MB or 2GB/);
    await refused(['import', at('low'), ...onBase()], /adapter folder of ours already/);
    await refused(['import', at('base'), ...onBase()], /holds no adapter: expected adapter\.json/);
  });

  it('[FMT-8] one task of several is a folder with its own head, in every format; the whole is in ours alone', async () => {
    const names = ['topic', 'tone'];
    const several: Task = {
      kind: 'several',
      tasks: [
        { name: 'topic', labels: ['a', 'b', 'c'] },
        { name: 'tone', labels: ['calm', 'upset'] },
      ],
      pooling: 'last',
      lengthMax: 8,
    };
    await write('both', { method: 'lora', rank: 2 }, several);
    await write('beside', { method: 'parallel', members: names.map((id) => ({ id, method: 'bottleneck' })) }, several);
    const exported = (source: string, ...more: readonly string[]) =>
      document(['adapters', 'export', at(source), ...onBase(), ...more]);
    for (const [source, format, length] of [
      ['both', 'tributary', 2],
      ['beside', 'adapterhub', 3],
    ] as const) {
      const name = length === 2 ? 'tone' : 'topic';
      const out = at(`${source}-${name}`);
      const { code, value } = await exported(source, '--task', name, '--format', format, '--out', out);
      assert.equal(code, 0);
      assert.equal((value as { readonly task: string }).task, name);
      assert.match(
        await readFile(join(out, 'README.md'), 'utf8'),
        new RegExp(`for its task ${name}; what was measured`),
      );
      if (format === 'tributary') {
        const read = await readAdapterFolder(out, { base });
        assert.deepEqual(read.task, {
          kind: 'classification',
          labels: ['calm', 'upset'],
          pooling: 'last',
          lengthMax: 8,
        });
        assert.equal(read.lineage, null);
      } else {
        const back = await run(['adapters', 'import', out, ...onBase(), '--out', at('topic-again')]);
        assert.equal(back.code, 0, back.errors);
        const { adapter } = await readAdapterFolder(at('topic-again'), { base });
        assert.equal(adapter.method, 'bottleneck');
      }
    }
    for (const format of ['peft', 'adapterhub']) {
      const argv = ['adapters', 'export', at('both'), ...onBase(), '--format', format, '--out', at('none')];
      const { code, errors } = await run(argv);
      assert.equal(code, 2, errors);
      assert.match(errors, /take one of them \(topic, tone\) with adapters export --task/);
    }
    const wrong = await run(['adapters', 'export', at('low'), ...onBase(), '--task', 'tone', '--out', at('none')]);
    assert.match(wrong.errors, /--task must be left out: the adapter has one task/);
  });

  it('[FMT-12] merging leaves the base and says that it is the way back, also for an average at fixed weights', async () => {
    const members = ['x', 'y'].map((id) => ({ id, method: 'lora', rank: 2 }));
    await write('mean', { method: 'average', members, weights: [0.7, 0.3] });
    const weights = async (name: string) => readSafetensors(await readFile(join(at(name), 'model.safetensors')), name);
    const plain = await weights('base');
    for (const name of ['low', 'mean']) {
      const argv = ['adapters', 'merge', at(name), ...onBase(), '--dtype', 'F32', '--out', at(`merged-${name}`)];
      const { code, errors } = await run(argv);
      assert.equal(code, 0, errors);
      assert.match(errors, /the base stays as it is, and is the exact way back: .* only up to their rounding to F32/);
      const merged = await weights(`merged-${name}`);
      const changed = [...plain.tensors.keys()].filter((tensor) => {
        const other = [...merged.tensors.keys()].find((one) => one.endsWith(tensor));
        return (
          other !== undefined &&
          toHex(bytesOf(tensorValues(plain.tensors.get(tensor)!))) !==
            toHex(bytesOf(tensorValues(merged.tensors.get(other)!)))
        );
      });
      assert.ok(changed.length > 0 && changed.every((tensor) => tensor.endsWith('weight')), changed.join());
    }
    assert.equal((await describeBase(at('base'))).digest, base.digest);
  });

  it('[FMT-7] shows a folder', async () => {
    const { code, output } = await run(['adapters', 'show', at('low')]);
    assert.equal(code, 0);
    assert.match(
      output,
      /low: values and hashes are correct\n {2}adapter {7}lora, \d+ values\n {2}task {10}classification: a, b\n/,
    );
    assert.match(output, /lineage {7}none: no federation published it/);
    assert.equal((await run(['adapters', 'show'])).code, 2);
  });

  it('[FMT-6] leaves the head out on request', async () => {
    const argv = ['adapters', 'export', at('low'), ...onBase(), '--format', 'peft', '--lora-only', '--out', at('bare')];
    const { code, errors } = await run(argv);
    assert.equal(code, 0, errors);
    assert.match(errors, /--max-lora-rank of at least 2/);
    assert.match(await readFile(join(at('bare'), 'README.md'), 'utf8'), /The trained head is left out/);
  });
});
