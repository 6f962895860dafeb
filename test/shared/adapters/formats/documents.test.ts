/** Whole adapters through files of other libraries and back, in memory. */
import { strict as assert } from 'node:assert';
import { type AdapterDocument, createAdapterDocument } from '../../../../shared/adapters/adapter-document.ts';
import { type AdapterFormat, exportFiles, manifestName } from '../../../../shared/adapters/formats/export-files.ts';
import { importFiles } from '../../../../shared/adapters/formats/import-files.ts';
import { contentOfFiles, type OpenBase, openBase } from '../../../../shared/adapters/formats/open-base.ts';
import { peftFiles } from '../../../../shared/adapters/formats/peft.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { bytesOf, toHex, utf8 } from '../../../../shared/core/bytes.ts';
import { parseDigest, parseFederationId } from '../../../../shared/core/ids.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { digestOf } from '../../../../shared/crypto/hash.ts';
import { identityFromSeed } from '../../../../shared/crypto/identity.ts';
import { readSafetensors } from '../../../../shared/model/safetensors.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import type { Task } from '../../../../shared/plan/task.ts';
import { sealVersionRecord } from '../../../../shared/protocol/version-record.ts';
import { taskLayout } from '../../../../shared/training/initial-adapter.ts';
import { completeCheckpoint } from '../../../parity/complete-checkpoint.ts';
import { fixture, parsed } from './fixtures.ts';

function open(name: string): OpenBase {
  return openBase(
    contentOfFiles(
      new Map([
        ['config.json', fixture(name, 'config.json')],
        ['model.safetensors', completeCheckpoint(fixture(name, 'model.safetensors'))],
      ]),
    ),
  );
}

function documentOn(base: OpenBase, adapter: Plan['adapter'], task: Task): AdapterDocument {
  const bound = parseAdapter(adapter, base.description);
  const layout = taskLayout(bound, base.description, task);
  const random = seededRandom(3);
  const parameters = Float32Array.from({ length: layout.dim }, () => 0.1 * random.normal());
  return createAdapterDocument({ base: base.description, adapter: bound.configuration, task, layout, parameters });
}

const labels = ['no', 'yes', 'später'];
const byFirst: Task = { kind: 'classification', labels, pooling: 'first', lengthMax: 16 };
const byLast: Task = { ...byFirst, pooling: 'last' };
const names = { name: 'own', baseName: 'hub/base' };

describe('adapters in files of other libraries', () => {
  const bases = new Map<string, OpenBase>();
  before(() => {
    for (const name of ['bert', 'roberta', 'distilbert', 'gpt2', 'llama_gqa']) bases.set(name, open(name));
  });

  const cases: readonly [AdapterFormat, string, Plan['adapter'], Task][] = [
    ['peft', 'bert', { method: 'lora', rank: 3, dropout: 0.1 }, byFirst],
    ['peft', 'bert', { method: 'lora', rank: 2, rankStabilised: true }, { ...byFirst, head: { hidden: 'tanh' } }],
    [
      'peft',
      'roberta',
      { method: 'lora', targets: ['down'], rank: 2, layers: [1] },
      { ...byFirst, kind: 'multi-label' },
    ],
    ['peft', 'roberta', { method: 'ia3' }, { kind: 'tokens', labels, lengthMax: 16 }],
    [
      'peft',
      'distilbert',
      { method: 'lora', targets: 'all-linear', rank: 2 },
      { ...byFirst, head: { hidden: 'relu' } },
    ],
    ['peft', 'gpt2', { method: 'lora', rank: 2, rankPattern: { 'layers.1': 4 } }, { ...byLast, head: { bias: false } }],
    ['peft', 'gpt2', { method: 'vera', rank: 4, projections: 'stored' }, { kind: 'causal', lengthMax: 16 }],
    ['peft', 'llama_gqa', { method: 'lora', rank: 2 }, { ...byLast, head: { bias: false } }],
    ['peft', 'llama_gqa', { method: 'prefix', length: 3, positions: 'shifted' }, { kind: 'causal', lengthMax: 16 }],
    ['adapterhub', 'bert', { method: 'bottleneck', size: 5, gate: true, normAfter: true }, byFirst],
    ['adapterhub', 'roberta', { method: 'bottleneck', placement: 'adapterplus' }, { ...byFirst, kind: 'multi-label' }],
    [
      'adapterhub',
      'distilbert',
      { method: 'bottleneck', placement: 'houlsby' },
      { ...byFirst, head: { hidden: 'tanh' } },
    ],
    ['adapterhub', 'gpt2', { method: 'lora', targets: ['q', 'v'] }, byLast],
    [
      'adapterhub',
      'bert',
      { method: 'prompt', length: 3, place: 'embeddings', initialisation: 'uniform' },
      { kind: 'masked', lengthMax: 16, maskFraction: 0.15 },
    ],
    ['adapterhub', 'gpt2', { method: 'compacter' }, { kind: 'tokens', labels, lengthMax: 16 }],
    ['adapterhub', 'llama_gqa', { method: 'bottleneck', placement: 'parallel', scaling: 'learned' }, byLast],
  ];
  for (const [format, family, adapter, task] of cases) {
    it(`[DOC-1:${format}/${family}/${adapter.method}/${task.kind}] come back with the same values, task and settings`, () => {
      const base = bases.get(family)!;
      const document = documentOn(base, adapter, task);
      const { files } = exportFiles({ document, base, format, ...names });
      const { document: back, notes } = importFiles(files, base);
      assert.deepEqual(notes, []);
      assert.deepEqual(back, document);
      // Without our manifest, which other tools do not keep, labels of PEFT and settings of training are gone, the maths is not.
      const foreign = new Map([...files].filter(([name]) => name !== manifestName));
      const options = 'labels' in task && format === 'peft' ? { labels: task.labels } : {};
      const read = importFiles(foreign, base, { ...options, lengthMax: task.lengthMax }).document;
      assert.deepEqual(read.parameters, document.parameters);
      if (task.kind !== 'multi-label' || format === 'adapterhub') assert.deepEqual(read.task, document.task);
    });
  }

  it('[DOC-7] magnitudes of DoRA come back but for the rounding of PEFT’s form, which holds them as whole norms', () => {
    const base = bases.get('bert')!;
    const document = documentOn(
      base,
      { method: 'dora', rank: 2 },
      { kind: 'masked', lengthMax: 16, maskFraction: 0.15 },
    );
    const { files } = exportFiles({ document, base, format: 'peft', ...names });
    const { document: back, notes } = importFiles(files, base);
    const error = back.parameters.reduce(
      (worst, value, index) => Math.max(worst, Math.abs(value - document.parameters[index]!)),
      0,
    );
    assert.ok(error > 0 && error < 1e-6, String(error));
    assert.match(notes.join(), /the files hold other values than tributary\.json describes/);
    const again = exportFiles({ document: back, base, format: 'peft', ...names }).files;
    assert.deepEqual(again.get(peftFiles.tensors), files.get(peftFiles.tensors));
  });

  it('[DOC-2] another base is refused with both digests, before a tensor is read', () => {
    const [base, other] = [bases.get('bert')!, bases.get('roberta')!];
    const document = documentOn(base, { method: 'lora', rank: 2 }, byFirst);
    for (const format of ['peft', 'adapterhub'] as const) {
      const { files } = exportFiles({ document, base, format, ...names });
      const foreign = new Map([...files].filter(([name]) => name !== manifestName));
      for (const some of [files, foreign]) {
        assert.throws(
          () => importFiles(some, other),
          (thrown: Error & { code?: string }) => {
            assert.equal(thrown.code, 'wrong-base');
            assert.ok(
              thrown.message.includes(base.description.digest) && thrown.message.includes(other.description.digest),
            );
            return true;
          },
        );
      }
      assert.throws(() => exportFiles({ document, base: other, format, ...names }), { code: 'wrong-base' });
    }
  });

  it('[DOC-3] changed values lose the lineage and say so; changed settings are taken from the file', () => {
    const base = bases.get('bert')!;
    const document = documentOn(base, { method: 'lora', rank: 2, alpha: 4 }, byFirst);
    const { files } = exportFiles({ document, base, format: 'peft', ...names });
    const configuration = { ...parsed(files.get(peftFiles.configuration)!), lora_alpha: 6 };
    const { document: read, notes } = importFiles(
      new Map([...files, [peftFiles.configuration, utf8(JSON.stringify(configuration))]]),
      base,
    );
    assert.equal(read.adapter.alpha, 6);
    assert.match(notes.join(), /configuration was changed after the export/);
    const tensors = files.get(peftFiles.tensors)!.slice();
    tensors[tensors.length - 4] = tensors[tensors.length - 4]! ^ 1;
    const changed = importFiles(new Map([...files, [peftFiles.tensors, tensors]]), base);
    assert.match(changed.notes.join(), /the files hold other values than tributary\.json describes/);
    assert.equal(changed.document.lineage, null);
  });

  it('[DOC-4] without the head the file holds the adapter alone, and says which rank servers must allow', () => {
    const base = bases.get('llama_gqa')!;
    const document = documentOn(base, { method: 'lora', rank: 12 }, { ...byLast, pooling: 'mean' });
    const { files, remarks } = exportFiles({ document, base, format: 'peft', loraOnly: true, ...names });
    assert.match(remarks.join(), /Largest rank: 12\. .*--max-lora-rank of at least 12/);
    const { tensors } = readSafetensors(files.get(peftFiles.tensors)!, 'tensors');
    assert.ok([...tensors.keys()].every((name) => /\.lora_[AB]\.weight$/.test(name)));
    const { modules_to_save, task_type } = parsed(files.get(peftFiles.configuration)!);
    assert.deepEqual([modules_to_save, task_type], [null, 'CAUSAL_LM']);
    const { document: read, notes } = importFiles(files, base);
    assert.equal(read.task.kind, 'causal');
    assert.match(notes.join(), /hold no head/);
  });

  it('[DOC-5] pooling that the published model has not is refused with what works', () => {
    const base = bases.get('bert')!;
    const document = documentOn(base, { method: 'lora', rank: 2 }, { ...byFirst, pooling: 'mean' });
    for (const format of ['peft', 'adapterhub'] as const)
      assert.throws(() => exportFiles({ document, base, format, ...names }), {
        code: 'not-exportable',
        message:
          /reads the mean of all tokens, models of bert .* the first token; train with task\.pooling first \(--pooling first\), .*--lora-only/,
      });
  });

  it('[DOC-8] a head beside virtual tokens, which other libraries would read with it, is refused', () => {
    const base = bases.get('bert')!;
    for (const [format, adapter] of [
      ['peft', { method: 'prompt', length: 2 }],
      ['peft', { method: 'prefix', length: 2, positions: 'shifted' }],
      ['adapterhub', { method: 'prompt', length: 2, place: 'embeddings' }],
    ] as const) {
      const document = documentOn(base, adapter, byFirst);
      assert.throws(() => exportFiles({ document, base, format, ...names }), {
        code: 'not-exportable',
        message: /--lora-only/,
      });
      assert.ok(exportFiles({ document, base, format, loraOnly: true, ...names }).files.size >= 3);
    }
  });

  it('[DOC-9] a signed lineage goes through files of other libraries, for the values it was signed for', () => {
    const base = bases.get('bert')!;
    for (const [format, adapter] of [
      ['peft', { method: 'lora', rank: 2 }],
      ['adapterhub', { method: 'bottleneck', size: 4 }],
    ] as const) {
      const plain = documentOn(base, adapter, byFirst);
      const identity = identityFromSeed(new Uint8Array(32).fill(7));
      const { record, signature } = sealVersionRecord(identity, {
        federationId: parseFederationId('fe'.repeat(32)),
        versionIndex: 0,
        round: null,
        modelHash: plain.modelHash,
        parentModelHash: null,
        baseDigest: base.description.digest,
        planHash: parseDigest('aa'.repeat(32)),
        layoutHash: plain.layoutHash,
        adapterDigest: digestOf(bytesOf(plain.parameters)),
        aggregationRule: 'fedavg',
        contributors: [],
        cohort: [],
        survivorCount: 0,
        rejections: [],
        totalWeight: 0,
        metrics: null,
        measures: [],
        privacy: 'none',
        createdAtMs: 0,
      });
      const coordinatorKey = toHex(identity.publicKey);
      const document = { ...plain, lineage: { record: toHex(record), signature: toHex(signature), coordinatorKey } };
      const { files } = exportFiles({ document, base, format, ...names });
      assert.deepEqual(importFiles(files, base).document, document);
      const forged = {
        ...parsed(files.get(manifestName)!),
        lineage: { ...document.lineage, signature: 'ab'.repeat(64) },
      };
      assert.throws(() => importFiles(new Map([...files, [manifestName, utf8(JSON.stringify(forged))]]), base), {
        code: 'bad-adapter-folder',
        message: /lineage is refused/,
      });
    }
  });

  it('[DOC-6] names are those of the published classes, labels those of the task', () => {
    const base = bases.get('bert')!;
    const document = documentOn(base, { method: 'bottleneck', size: 4 }, byFirst);
    const { files } = exportFiles({ document, base, format: 'adapterhub', ...names });
    const envelope = {
      hidden_size: 32,
      model_class: 'BertAdapterModel',
      model_name: 'hub/base',
      model_type: 'bert',
      name: 'own',
      version: 'adapters.1.2.0',
    };
    const { config: _, ...found } = parsed(files.get('adapter_config.json')!);
    assert.deepEqual(found, envelope);
    const { config, ...around } = parsed(files.get('head_config.json')!);
    assert.deepEqual(around, envelope);
    assert.deepEqual(config, {
      activation_function: 'tanh',
      bias: true,
      dropout_prob: null,
      head_type: 'classification',
      label2id: { no: 0, yes: 1, später: 2 },
      layers: 1,
      num_labels: 3,
      use_pooler: false,
    });
    // Python holds these as floats, and the library asks for one.
    assert.match(new TextDecoder().decode(files.get('adapter_config.json')), /"scaling": 1\.0,/);
    assert.match(new TextDecoder().decode(files.get('head_config.json')), /"sp\\u00e4ter": 2/);
    const heads = readSafetensors(files.get('model_head.safetensors')!, 'head').tensors;
    assert.deepEqual(
      [...heads].map(([name, { shape }]) => [name, shape]),
      [
        ['heads.own.1.bias', [3]],
        ['heads.own.1.weight', [3, 32]],
      ],
    );
  });
});
