/** A classifier of PEFT with its saved head: scores, and its merged checkpoint, against what PEFT computed. */
import { strict as assert } from 'node:assert';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor1d, tidy } from '@tensorflow/tfjs-core';
import type { AdapterDocument } from '../../../../shared/adapters/adapter-document.ts';
import { adapterOnBase } from '../../../../shared/adapters/document-on-base.ts';
import { readHead } from '../../../../shared/adapters/formats/heads.ts';
import { importFiles } from '../../../../shared/adapters/formats/import-files.ts';
import { mergeCheckpoint } from '../../../../shared/adapters/formats/merge.node.ts';
import { contentOfFiles, openBase } from '../../../../shared/adapters/formats/open-base.ts';
import { peftFiles } from '../../../../shared/adapters/formats/peft.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { BaseModel } from '../../../../shared/model/base-model.ts';
import { readBaseFiles } from '../../../../shared/model/load.node.ts';
import { networkFrom } from '../../../../shared/model/load.ts';
import { readSafetensors, tensorValues } from '../../../../shared/model/safetensors.ts';
import type { Task } from '../../../../shared/plan/task.ts';
import { nameTensors, splitFlat } from '../../../../shared/training/parameters.ts';
import { createTaskModel } from '../../../../shared/training/task-model.ts';
import { batchOf, floatsOf } from '../../../parity/fixture-files.ts';
import { fixture, parsed, writeFixtureBase } from './fixtures.ts';

const name = 'peft_bert_seqcls';
const expected = readSafetensors(fixture(name, 'expected.safetensors'), name);

/** Scores of the fixture's texts. */
function scoresOf(base: BaseModel, document: Pick<AdapterDocument, 'adapter' | 'task' | 'parameters'>): Float32Array {
  return tidy(() => {
    const { inputIds, attentionMask } = batchOf(expected);
    const [ids, mask] = [inputIds.arraySync(), attentionMask.arraySync()];
    const examples = ids.map((row, index) => {
      const length = mask[index]!.reduce((sum, value) => sum + value, 0);
      return { ids: Int32Array.from(row.slice(0, length)), targets: Int32Array.of(0) };
    });
    const adapter = parseAdapter(document.adapter, base.description);
    const model = createTaskModel({ base, adapter, task: document.task });
    const parameters = nameTensors(splitFlat(tensor1d(document.parameters), model.layout), model.layout);
    const draw = (row: number) => seededRandom(row);
    const mode = { training: false, random: seededRandom(0) };
    const states = model.states(parameters, model.arrange(examples, draw), mode);
    return model.scores(parameters, states).dataSync() as Float32Array;
  });
}

function errorOf(scores: Float32Array): number {
  const logits = floatsOf(expected, 'logits');
  assert.equal(scores.length, logits.length);
  return scores.reduce((worst, value, index) => Math.max(worst, Math.abs(value - logits[index]!)), 0);
}

describe('a classifier of PEFT', () => {
  let folder = '';
  let document: AdapterDocument;
  before(async () => {
    await useBackend('wasm');
    folder = await mkdtemp(join(tmpdir(), 'tributary-seqcls-'));
    writeFixtureBase(name, folder);
    const base = openBase(contentOfFiles(await readBaseFiles(folder)));
    const files = [peftFiles.configuration, peftFiles.tensors].map((file) => [file, fixture(name, file)] as const);
    ({ document } = importFiles(new Map(files), base, { labels: ['a', 'b', 'c', 'd', 'e'] }));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('[CLS-1] scores as PEFT does, with the pooler of the base in its head', async () => {
    const base = networkFrom(await readBaseFiles(folder));
    assert.deepEqual(document.task, {
      kind: 'classification',
      labels: ['a', 'b', 'c', 'd', 'e'],
      pooling: 'first',
      lengthMax: document.task.lengthMax,
      head: { hidden: 'tanh' },
    });
    adapterOnBase(document, base.description);
    assert.ok(errorOf(scoresOf(base, document)) < 2e-5);
    base.dispose();
  });

  it('[CLS-2] its merged checkpoint is a plain base whose own head scores the same', async () => {
    const out = await mkdtemp(join(folder, 'merged'));
    await mergeCheckpoint({ base: folder, document, out, shardBytesMax: 1e9 });
    const base = networkFrom(await readBaseFiles(out));
    const { tensors } = readSafetensors(await readFile(join(out, 'model.safetensors')), 'merged');
    const published = new Map(
      [...tensors].map(([own, entry]) => [own, { shape: entry.shape, values: tensorValues(entry) }]),
    );
    const host = { ...base.description, baseTensor: () => assert.fail('the head stands in the checkpoint') };
    const head = readHead(published, 'text', host);
    const task = document.task as Extract<Task, { kind: 'classification' }>;
    const parameters = Float32Array.from([...head.hidden!.kernel, ...head.hidden!.bias, ...head.kernel, ...head.bias!]);
    assert.ok(errorOf(scoresOf(base, { adapter: { method: 'none' }, task, parameters })) < 2e-5);
    base.dispose();
    const configuration = parsed(await readFile(join(out, 'config.json')));
    assert.deepEqual(configuration.architectures, ['BertForSequenceClassification']);
    assert.deepEqual(configuration.id2label, { 0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e' });
    assert.deepEqual(configuration.label2id, { a: 0, b: 1, c: 2, d: 3, e: 4 });
    assert.equal(configuration.problem_type, 'single_label_classification');
    const strangers = [...tensors.keys()].filter((own) => !/^(bert|classifier)\./.test(own));
    assert.deepEqual(strangers, []);
  });
});
