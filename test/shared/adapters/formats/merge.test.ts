/** Merged checkpoints: what they hold, and that they compute what base and adapter compute. */
import { strict as assert } from 'node:assert';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tidy } from '@tensorflow/tfjs-core';
import { type AdapterDocument, createAdapterDocument } from '../../../../shared/adapters/adapter-document.ts';
import { adapterOnBase } from '../../../../shared/adapters/document-on-base.ts';
import { mergeCheckpoint } from '../../../../shared/adapters/formats/merge.node.ts';
import { peftFiles, readPeft, writePeft } from '../../../../shared/adapters/formats/peft.ts';
import { type BoundAdapter, parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { memorySource } from '../../../../shared/data/example-source.ts';
import type { BaseDescription } from '../../../../shared/model/base-model.ts';
import { readBaseFiles } from '../../../../shared/model/load.node.ts';
import { type BaseFiles, describeFiles, networkFrom } from '../../../../shared/model/load.ts';
import { readSafetensors, type SafetensorsFile } from '../../../../shared/model/safetensors.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import { evaluateCounts } from '../../../../shared/training/evaluate.ts';
import { taskLayout } from '../../../../shared/training/initial-adapter.ts';
import { createTaskModel } from '../../../../shared/training/task-model.ts';
import { layoutOf } from '../../../../shared/update/layout.ts';
import { flatten, unflatten } from '../../../../shared/update/vector.ts';
import { bfloat16Of } from '../../../helpers/half-checkpoint.ts';
import { batchOf, floatsOf } from '../../../parity/fixture-files.ts';
import { fixture, fixtureBase, fixtureTensor, writeFixtureBase } from './fixtures.ts';

const causal = { kind: 'causal', lengthMax: 16 } as const;

/** The adapter of a folder of PEFT's fixtures. */
function documentOf(name: string, base: BaseDescription): AdapterDocument {
  const files = { configuration: fixture(name, peftFiles.configuration), tensors: fixture(name, peftFiles.tensors) };
  const { adapter, values } = readPeft(files, base);
  const layout = layoutOf(adapter.tensors);
  const parameters = flatten(layout, values);
  return createAdapterDocument({ base, adapter: adapter.configuration, task: causal, layout, parameters });
}

/** An adapter with random values everywhere. */
function randomDocument(configuration: Plan['adapter'], base: BaseDescription): AdapterDocument {
  const adapter = parseAdapter(configuration, base);
  const layout = layoutOf(adapter.tensors);
  const random = seededRandom(7);
  const parameters = Float32Array.from({ length: layout.dim }, () => 0.2 * random.normal());
  return createAdapterDocument({ base, adapter: adapter.configuration, task: causal, layout, parameters });
}

/** Largest difference between the logits of a checkpoint and expected ones. */
async function errorOf(folder: string, expected: SafetensorsFile, logits: Float32Array): Promise<number> {
  const model = networkFrom(await readBaseFiles(folder));
  const found = tidy(() => model.languageModelScores(model.encode(batchOf(expected))).dataSync() as Float32Array);
  model.dispose();
  assert.equal(found.length, logits.length);
  return found.reduce((worst, value, index) => Math.max(worst, Math.abs(value - logits[index]!)), 0);
}

describe('merged checkpoints', () => {
  let folder = '';
  before(() => useBackend('wasm'));
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-merge-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const place = async (name: string): Promise<string> => mkdtemp(join(folder, name));

  for (const name of ['peft_bert_lora', 'peft_bert_rslora', 'peft_gpt2_lora', 'peft_gpt2_all_linear']) {
    it(`[MRG-1:${name}] a merged checkpoint loads as a plain one and has the logits that PEFT computes with the adapter`, async () => {
      const [base, out] = [await place('base'), await place('out')];
      writeFixtureBase(name, base);
      const document = documentOf(name, fixtureBase(name));
      const { tensorCount, changedCount } = await mergeCheckpoint({ base, document, out, shardBytesMax: 1e9 });
      const expected = readSafetensors(fixture(name, 'expected.safetensors'), name);
      assert.ok((await errorOf(out, expected, floatsOf(expected, 'logits'))) < 2e-5);
      assert.ok((await errorOf(base, expected, floatsOf(expected, 'logits'))) > 1e-3, 'the adapter changes something');
      assert.ok(changedCount > 0 && changedCount < tensorCount);
    });
  }

  it('[MRG-13] a base in BF16 merged with --dtype F32 computes what base and adapter compute; rounded to BF16 it does not', async () => {
    const name = 'peft_gpt2_all_linear';
    const [base, exact, rounded] = [await place('base'), await place('exact'), await place('rounded')];
    writeFixtureBase(name, base);
    const path = join(base, 'model.safetensors');
    await writeFile(path, bfloat16Of(await readFile(path)).stored);
    const files = await readBaseFiles(base);
    const document = documentOf(name, describeFiles(files));
    const merge = (out: string, type?: 'F32') =>
      mergeCheckpoint({ base, document, out, shardBytesMax: 1e9, ...(type && { type }) });
    assert.equal((await merge(exact, 'F32')).type, 'F32');
    assert.equal((await merge(rounded)).type, 'BF16');
    const random = seededRandom(3, 'texts');
    const ids = Int32Array.from({ length: 12 }, () => random.integer(50));
    const source = memorySource([{ ids, targets: ids.map((id, place) => (place === 0 ? -1 : id)) }]);
    const lossOf = async (checkpoint: BaseFiles, adapter: BoundAdapter, parameters?: Float32Array): Promise<number> => {
      const base = networkFrom(checkpoint);
      const model = createTaskModel({ base, adapter, task: causal });
      const counts = await evaluateCounts({ model, parameters: parameters ?? model.initialise(1), source });
      base.dispose();
      return counts.lossSum;
    };
    const expected = await lossOf(files, adapterOnBase(document, describeFiles(files)), document.parameters);
    const mergedLoss = async (folder: string): Promise<number> => {
      const merged = await readBaseFiles(folder);
      // At its start an adapter changes nothing.
      return lossOf(merged, parseAdapter({ method: 'lora', rank: 1 }, describeFiles(merged)));
    };
    assert.ok(Math.abs((await mergedLoss(exact)) - expected) < 2e-5, `${await mergedLoss(exact)}, ${expected}`);
    assert.ok(Math.abs((await mergedLoss(rounded)) - expected) > 2e-4);
  });

  it('[MRG-2] shards within the limit with an index hold the same as one file', async () => {
    const [base, whole, cut] = [await place('base'), await place('whole'), await place('cut')];
    const name = 'peft_gpt2_lora';
    writeFixtureBase(name, base);
    const document = documentOf(name, fixtureBase(name));
    await mergeCheckpoint({ base, document, out: whole, shardBytesMax: 1e9 });
    const { files } = await mergeCheckpoint({ base, document, out: cut, shardBytesMax: 40_000 });
    assert.ok(
      files.includes('model.safetensors.index.json') && files.includes('model-00001-of-00004.safetensors'),
      files.join(),
    );
    for (const file of files.filter((one) => one.endsWith('.safetensors')))
      assert.ok((await readFile(join(cut, file))).length < 50_000);
    const expected = readSafetensors(fixture(name, 'expected.safetensors'), name);
    const logits = floatsOf(expected, 'logits');
    assert.equal(await errorOf(cut, expected, logits), await errorOf(whole, expected, logits));
  });

  it('[MRG-3] parts of a fused map are merged into their columns', async () => {
    const [base, whole, parts] = [await place('base'), await place('whole'), await place('parts')];
    const name = 'peft_gpt2_lora';
    writeFixtureBase(name, base);
    const description = fixtureBase(name);
    const ofValue = randomDocument({ method: 'lora', targets: ['v'], rank: 2, alpha: 4 }, description);
    await mergeCheckpoint({ base, document: ofValue, out: parts, shardBytesMax: 1e9 });
    // The same change as one of the whole map: B with rows of zeros for query and key.
    const adapter = parseAdapter({ method: 'lora', targets: ['qkv'], rank: 2, alpha: 4 }, description);
    const layout = layoutOf(adapter.tensors);
    const values = new Map(
      layout.tensors.map((tensor) => {
        const source = ofValue.layout.tensors.find((own) => own.name === tensor.name.replace('.qkv.', '.v.'))!;
        const padded = new Float32Array(tensor.size);
        const own = ofValue.parameters.subarray(source.offset, source.offset + source.size);
        padded.set(own, tensor.size - source.size);
        return [tensor.name, padded];
      }),
    );
    const parameters = flatten(layout, values);
    const document = createAdapterDocument({
      ...ofValue,
      base: description,
      adapter: adapter.configuration,
      layout,
      parameters,
    });
    await mergeCheckpoint({ base, document, out: whole, shardBytesMax: 1e9 });
    assert.deepEqual(
      await readFile(join(parts, 'model.safetensors')),
      await readFile(join(whole, 'model.safetensors')),
    );
  });

  for (const settings of [
    { method: 'lora', targets: ['q', 'v', 'up'], rank: 2, alpha: 4 },
    { method: 'lora', targets: ['k', 'v'], rank: 2, rankPattern: { v: 3 }, rankStabilised: true },
    { method: 'dora', targets: ['q'], rank: 2 },
  ]) {
    it(`[MRG-9:${settings.method}/${settings.targets.join()}] parts of a fused map are, as the file that PEFT reads has them, the same map`, async () => {
      const [base, own, read] = [await place('base'), await place('own'), await place('read')];
      const name = 'peft_gpt2_lora';
      writeFixtureBase(name, base);
      const description = fixtureBase(name);
      const document = randomDocument(settings, description);
      const adapter = adapterOnBase(document, description);
      const baseTensor = fixtureTensor(name);
      const values = unflatten(document.layout, document.parameters);
      const files = writePeft({ adapter, values, base: description, taskType: 'CAUSAL_LM', baseTensor });
      const content = readPeft(files, description, baseTensor);
      const layout = layoutOf(content.adapter.tensors);
      const whole = createAdapterDocument({
        base: description,
        adapter: content.adapter.configuration,
        task: causal,
        layout,
        parameters: flatten(layout, content.values),
      });
      await mergeCheckpoint({ base, document, out: own, shardBytesMax: 1e9 });
      await mergeCheckpoint({ base, document: whole, out: read, shardBytesMax: 1e9 });
      const [left, right] = await Promise.all(
        [own, read].map(async (one) => readSafetensors(await readFile(join(one, 'model.safetensors')), one)),
      );
      for (const tensor of left!.tensors.keys()) {
        const [first, second] = [floatsOf(left!, tensor), floatsOf(right!, tensor)];
        assert.ok(
          first.every((value, index) => Math.abs(value - second[index]!) < 1e-6),
          tensor,
        );
      }
    });
  }

  it('[MRG-4] an adapter that no weight can hold is refused with what works, and nothing is written', async () => {
    const [base, out] = [await place('base'), await place('out')];
    writeFixtureBase('bert', base);
    const document = randomDocument({ method: 'bottleneck', size: 4 }, fixtureBase('bert'));
    await assert.rejects(mergeCheckpoint({ base, document, out, shardBytesMax: 1e9 }), {
      code: 'not-mergeable',
      message: /the method bottleneck .* such as lora; .*--format adapterhub or tributary/,
    });
    assert.deepEqual(await readdir(out), []);
  });

  it('[MRG-7] changes of the base’s own tensors are added, a head alone leaves them as they are', async () => {
    for (const name of ['bert', 'gpt2', 'roberta', 'distilbert', 'llama_gqa', 'llama3_scaled_rope']) {
      const [base, out, same] = [await place('base'), await place('out'), await place('same')];
      writeFixtureBase(name, base);
      const description = fixtureBase(name);
      const document = randomDocument({ method: 'full' }, description);
      const { changedCount } = await mergeCheckpoint({ base, document, out, shardBytesMax: 1e9 });
      assert.equal(changedCount, description.tensors.size);
      const [before, after] = await Promise.all(
        [base, out].map(async (one) => readSafetensors(await readFile(join(one, 'model.safetensors')), one)),
      );
      for (const { name: own, offset, size } of document.layout.tensors) {
        const bare = own.slice('base.'.length);
        const full = [...before!.tensors.keys()].find((one) => one === bare || one.endsWith(`.${bare}`))!;
        const change = document.parameters.subarray(offset, offset + size);
        const [old, found] = [floatsOf(before!, full), floatsOf(after!, full)];
        assert.ok(
          found.every((value, index) => value === Math.fround(old[index]! + change[index]!)),
          own,
        );
      }
      const adapter = parseAdapter({ method: 'none' }, description);
      const task = { kind: 'tokens', labels: ['a', 'b'], lengthMax: 8 } as const;
      const layout = taskLayout(adapter, description, task);
      const parameters = new Float32Array(layout.dim).fill(0.5);
      const headAlone = createAdapterDocument({
        base: description,
        adapter: adapter.configuration,
        task,
        layout,
        parameters,
      });
      const merged = await mergeCheckpoint({ base, document: headAlone, out: same, shardBytesMax: 1e9 });
      assert.equal(merged.changedCount, 0);
      networkFrom(await readBaseFiles(same)).dispose();
    }
  });

  it('[MRG-10] a head that reads what the published model does not is refused, one that is fitted to it says so', async () => {
    const [base, out] = [await place('base'), await place('out')];
    writeFixtureBase('bert', base);
    const description = fixtureBase('bert');
    const adapter = parseAdapter({ method: 'lora', rank: 2 }, description);
    const documentFor = (pooling: 'mean' | 'first') => {
      const task = { kind: 'classification', labels: ['a', 'b'], pooling, lengthMax: 8 } as const;
      const layout = taskLayout(adapter, description, task);
      const parameters = new Float32Array(layout.dim);
      return createAdapterDocument({ base: description, adapter: adapter.configuration, task, layout, parameters });
    };
    await assert.rejects(mergeCheckpoint({ base, document: documentFor('mean'), out, shardBytesMax: 1e9 }), {
      code: 'not-exportable',
      message:
        /reads the mean of all tokens, models of bert .* the first token; train with task\.pooling first \(--pooling first\), or merge what/,
    });
    const { remarks } = await mergeCheckpoint({ base, document: documentFor('first'), out, shardBytesMax: 1e9 });
    assert.match(
      remarks.join(),
      /The head is linear, that of bert has a dense map \(bert\.pooler\.dense\) with tanh in front/,
    );
  });

  it('[MRG-8] a merge that fails leaves no weights behind', async () => {
    const [base, out] = [await place('base'), await place('out')];
    writeFixtureBase('llama_gqa', base);
    const document = randomDocument({ method: 'bias', targets: ['down'] }, fixtureBase('llama_gqa'));
    await assert.rejects(mergeCheckpoint({ base, document, out, shardBytesMax: 1e9 }), { code: 'not-mergeable' });
    assert.deepEqual(await readdir(out), []);
  });

  it('[MRG-5] another base is refused with both digests', async () => {
    const [base, out] = [await place('base'), await place('out')];
    writeFixtureBase('peft_bert_rslora', base);
    const made = fixtureBase('peft_bert_lora');
    const document = documentOf('peft_bert_lora', made);
    const other = fixtureBase('peft_bert_rslora');
    assert.notEqual(made.digest, other.digest);
    await assert.rejects(mergeCheckpoint({ base, document, out, shardBytesMax: 1e9 }), (thrown: Error) => {
      assert.ok(thrown.message.includes(made.digest) && thrown.message.includes(other.digest), thrown.message);
      return true;
    });
  });

  for (const [type, error] of [
    ['BF16', 0.05],
    ['F16', 0.005],
  ] as const) {
    it(`[MRG-6:${type}] a narrower type halves the file and stays near`, async () => {
      const [base, out] = [await place('base'), await place('out')];
      const name = 'peft_gpt2_lora';
      writeFixtureBase(name, base);
      const merged = await mergeCheckpoint({
        base,
        document: documentOf(name, fixtureBase(name)),
        out,
        type,
        shardBytesMax: 1e9,
      });
      assert.equal(merged.type, type);
      const expected = readSafetensors(fixture(name, 'expected.safetensors'), name);
      assert.ok((await errorOf(out, expected, floatsOf(expected, 'logits'))) < error);
      const before = (await readFile(join(base, 'model.safetensors'))).length;
      assert.ok((await readFile(join(out, 'model.safetensors'))).length < 0.6 * before);
    });
  }
});
