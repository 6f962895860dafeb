/** Files of other libraries that are broken, hostile, or say what this version does not compute. */
import { strict as assert } from 'node:assert';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAnyAdapter, writeAdapterFiles } from '../../../../shared/adapters/formats/adapter-folders.node.ts';
import { readAdapterHub } from '../../../../shared/adapters/formats/adapterhub.ts';
import { importFiles } from '../../../../shared/adapters/formats/import-files.ts';
import { narrowBytes } from '../../../../shared/adapters/formats/narrow-floats.ts';
import { contentOfFiles, type OpenBase, openBase } from '../../../../shared/adapters/formats/open-base.ts';
import { peftFiles, readPeft } from '../../../../shared/adapters/formats/peft.ts';
import { concatBytes, utf8 } from '../../../../shared/core/bytes.ts';
import { readSafetensors, tensorValues, writeSafetensors } from '../../../../shared/model/safetensors.ts';
import { fixture, parsed } from './fixtures.ts';

type Tensors = Map<string, { shape: readonly number[]; values: Float32Array }>;

function tensorsOf(bytes: Uint8Array): Tensors {
  const { tensors } = readSafetensors(bytes, 'tensors');
  return new Map([...tensors].map(([name, entry]) => [name, { shape: entry.shape, values: tensorValues(entry) }]));
}

describe('strictness of adapter files', () => {
  let base: OpenBase;
  before(() => {
    const files = ['config.json', 'model.safetensors'].map((file) => [file, fixture('peft_bert_lora', file)] as const);
    base = openBase(contentOfFiles(new Map(files)));
  });

  const lora = (changes: Record<string, unknown>, change: (tensors: Tensors) => void = () => undefined) => {
    const tensors = tensorsOf(fixture('peft_bert_lora', peftFiles.tensors));
    change(tensors);
    const configuration = { ...parsed(fixture('peft_bert_lora', peftFiles.configuration)), ...changes };
    const files = { configuration: utf8(JSON.stringify(configuration)), tensors: writeSafetensors(tensors) };
    return readPeft(files, base.description);
  };

  const refusals: readonly [string, Record<string, unknown>, RegExp][] = [
    ['a type', { peft_type: 'LOKR' }, /peft_type must be one of LORA, VERA, IA3, .*found "LOKR"/],
    ['a bias', { bias: 'all' }, /bias must be "none", found "all"/],
    [
      'a changed base',
      { init_lora_weights: 'pissa' },
      /init_lora_weights must be .*: others change the base, found "pissa"/,
    ],
    ['replicated layers', { layer_replication: [[0, 2]] }, /layer_replication must be null/],
    ['trained tokens', { trainable_token_indices: [1] }, /trainable_token_indices must be null/],
    ['an unknown field that says something', { lora_gamma: 2 }, /the field lora_gamma is not known here/],
    ['a misspelt field', { rank_patern: { query: 2 } }, /rank_patern is not known here; did you mean rank_pattern\?/],
    ['a rank', { r: 0 }, /r must be a whole number of at least 1, found 0/],
    ['no module', { target_modules: ['nothing'] }, /target_modules must mean .*at least one of this bert/],
    ['an expression that takes forever', { target_modules: '((.+)+)+x' }, /repeats a group that repeats or chooses/],
    ['many repetitions', { target_modules: `${'.*'.repeat(7)}x` }, /repeats 7 times without bound/],
    ['a choice that is repeated', { rank_pattern: { '(a|aa)*query': 2 } }, /repeats a group that repeats or chooses/],
    ['a broken expression', { target_modules: '(' }, /must be a regular expression/],
    ['an irregular choice', { target_modules: '.*(0.*query|1.*value)' }, /the same maps in every layer/],
  ];
  for (const [what, changes, message] of refusals) {
    it(`[SCT-1] a configuration with ${what} is refused by name`, () => {
      assert.throws(() => lora(changes), { code: 'unsupported-adapter', message });
    });
  }

  it('[SCT-2] an unknown field that says nothing is left out, and reported', () => {
    const { notes } = lora({ some_config: null, use_something: false });
    assert.equal(notes.length, 2);
    assert.match(notes[0]!, /unknown field some_config is null and was left out/);
  });

  const first = 'base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight';
  const tensorFaults: readonly [string, (tensors: Tensors) => void, RegExp][] = [
    ['missing', (tensors) => tensors.delete(first), /missing base_model.*query\.lora_A\.weight/],
    ['surplus', (tensors) => tensors.set('other', { shape: [1], values: new Float32Array(1) }), /surplus other/],
    [
      'of another shape',
      (tensors) => tensors.set(first, { shape: [32, 4], values: tensors.get(first)!.values }),
      /lora_A\.weight has the shape \[32, 4\], expected \[4, 32\]/,
    ],
    [
      'of a layer that the base has not',
      (tensors) => tensors.set(first.replace('layer.0', 'layer.7'), tensors.get(first)!),
      /surplus .*layer\.7/,
    ],
  ];
  for (const [what, change, message] of tensorFaults) {
    it(`[SCT-3] a tensor that is ${what} is named`, () => {
      assert.throws(() => lora({}, change), { code: 'bad-adapter-folder', message });
    });
  }

  it('[SCT-4] a key that stands twice is refused', () => {
    const configuration = utf8('{"peft_type": "LORA", "r": 4, "r": 8, "target_modules": ["query"]}');
    const tensors = fixture('peft_bert_lora', peftFiles.tensors);
    assert.throws(() => readPeft({ configuration, tensors }, base.description), {
      code: 'bad-json',
      message: /"r" twice/,
    });
  });

  it('[SCT-5] targets may be a list, a regular expression, or longer ends of paths', () => {
    const wanted = lora({}).values;
    for (const targets of [
      ['query', 'value'],
      '.*\\.(query|value)',
      '(.*[.(])?(query|value)',
      ['attention.self.query', 'self.value'],
    ])
      assert.deepEqual(lora({ target_modules: targets }).values, wanted);
  });

  it('[SCT-11] values of half width are read exactly', () => {
    const wanted = tensorsOf(fixture('peft_bert_lora', peftFiles.tensors));
    for (const dtype of ['F16', 'BF16'] as const) {
      // The same file with two bytes to a value, as PEFT saves adapters of half-precision models.
      const parts = [...wanted].map(([name, { shape, values }]) => ({
        name,
        shape,
        bytes: narrowBytes(values, dtype, name),
      }));
      let offset = 0;
      const header = Object.fromEntries(
        parts.map(({ name, shape, bytes }) => {
          const start = offset;
          offset += bytes.length;
          return [name, { dtype, shape, data_offsets: [start, offset] }];
        }),
      );
      const text = utf8(JSON.stringify(header));
      const length = new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer);
      const tensors = concatBytes(length, text, ...parts.map(({ bytes }) => bytes));
      const files = { configuration: fixture('peft_bert_lora', peftFiles.configuration), tensors };
      const read = readPeft(files, base.description).values;
      for (const { name, bytes, shape } of parts) {
        const own = name.replace(
          /^.*layer\.(\d)\.attention\.self\.(\w).*lora_([AB]).*$/,
          (_, layer, target, part) => `layers.${layer}.${target}.lora.${String(part).toLowerCase()}`,
        );
        assert.deepEqual(read.get(own), tensorValues({ dtype, shape, bytes }).slice());
      }
    }
  });

  const bottleneck = (changes: Record<string, unknown>, envelope: Record<string, unknown> = {}) => {
    const { adapters } = parsed(fixture('bert', 'cases.json')).pfeiffer as { adapters: { a: object } };
    const whole = { name: 'a', version: 'adapters.1.2.0', config: { ...adapters.a, ...changes }, ...envelope };
    const tensors = fixture('bert', 'adapters', 'pfeiffer.safetensors');
    return readAdapterHub({ configuration: utf8(JSON.stringify(whole)), tensors }, base.description);
  };
  const hubRefusals: readonly [string, () => unknown, RegExp][] = [
    ['an invertible adapter', () => bottleneck({ inv_adapter: 'nice' }), /inv_adapter must be null, found "nice"/],
    ['an architecture', () => bottleneck({ architecture: 'reft' }), /architecture must be .*found "reft"/],
    ['an activation', () => bottleneck({ non_linearity: 'mish' }), /non_linearity must be one of relu/],
    ['an unknown field', () => bottleneck({ twist: 1 }), /config: the field twist is not known here/],
    [
      'another family',
      () => bottleneck({}, { model_type: 'roberta' }),
      /model_type must be bert, as the base is, found "roberta"/,
    ],
    ['another width', () => bottleneck({}, { hidden_size: 768 }), /hidden_size must be 32, as the base has, found 768/],
  ];
  for (const [what, read, message] of hubRefusals) {
    it(`[SCT-6] a file of AdapterHub with ${what} is refused by name`, () => {
      assert.throws(read, { code: 'unsupported-adapter', message });
    });
  }

  it('[SCT-7] LoRA of AdapterHub before version 1.1.0 has the scale 1, as it was computed', () => {
    const { adapters } = parsed(fixture('bert', 'cases.json')).lora_qv as { adapters: { a: object } };
    const files = ['1.0.1', '1.1.0'].map((version) => ({
      configuration: utf8(JSON.stringify({ name: 'a', version: `adapters.${version}`, config: adapters.a })),
      tensors: fixture('bert', 'adapters', 'lora_qv.safetensors'),
    }));
    const base3 = openBase(
      contentOfFiles(new Map(['config.json', 'model.safetensors'].map((file) => [file, fixture('bert', file)]))),
    ).description;
    const alphas = files.map((pair) => readAdapterHub(pair, base3).adapter.configuration.alpha);
    assert.deepEqual(alphas, [4, 8]);
  });

  it('[SCT-8] tasks and labels that do not fit are refused', () => {
    const files = (changes: Record<string, unknown>) =>
      new Map([
        [
          peftFiles.configuration,
          utf8(JSON.stringify({ ...parsed(fixture('peft_bert_seqcls', peftFiles.configuration)), ...changes })),
        ],
        [peftFiles.tensors, fixture('peft_bert_seqcls', peftFiles.tensors)],
      ]);
    const own = openBase(
      contentOfFiles(
        new Map(['config.json', 'model.safetensors'].map((file) => [file, fixture('peft_bert_seqcls', file)])),
      ),
    );
    assert.throws(() => importFiles(files({}), own, { labels: ['a', 'b'] }), {
      code: 'wrong-labels',
      message: /has 5 outputs, expected as many labels, found 2/,
    });
    assert.match(importFiles(files({}), own).notes.join(), /LABEL_0, LABEL_1/);
    assert.throws(() => importFiles(files({ task_type: 'QUESTION_ANS', modules_to_save: ['classifier'] }), own), {
      code: 'unsupported-adapter',
      message: /task_type QUESTION_ANS is no task/,
    });
    assert.throws(() => importFiles(files({ task_type: null }), own), {
      code: 'bad-adapter-folder',
      message: /surplus .*classifier/,
    });
  });

  describe('folders', () => {
    let folder = '';
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tributary-formats-'));
    });
    afterEach(() => rm(folder, { recursive: true, force: true }));

    for (const [file, configuration, remedy] of [
      ['adapter_model.bin', '{"peft_type": "LORA"}', /safe_serialization=True/],
      ['pytorch_adapter.bin', '{"config": {}}', /save_adapter\(DIR, NAME, use_safetensors=True\)/],
      ['pytorch_model_head.bin', '{"config": {}}', /save_head\(DIR, NAME, use_safetensors=True\)/],
    ] as const) {
      it(`[STR-9:${file}] a pickle is refused with the reason and the way to convert it`, async () => {
        await writeFile(join(folder, 'adapter_config.json'), configuration);
        if (file === 'pytorch_model_head.bin') await writeFile(join(folder, 'adapter.safetensors'), '');
        await writeFile(join(folder, file), 'runs code');
        await assert.rejects(readAnyAdapter(folder, base), (thrown: Error & { code?: string }) => {
          assert.equal(thrown.code, 'unsafe-file');
          assert.match(thrown.message, /is a pickle, which runs code when it is read; convert it/);
          assert.match(thrown.message, remedy);
          return true;
        });
      });
    }

    it('[SCT-10] a folder without an adapter, and one that holds another format, are named', async () => {
      await assert.rejects(readAnyAdapter(folder, base), { code: 'no-adapter' });
      await mkdir(join(folder, 'own'));
      await writeFile(join(folder, 'own', 'adapter.json'), '{}');
      await assert.rejects(
        writeAdapterFiles(join(folder, 'own'), new Map([['adapter_config.json', utf8('{}')]]), 'peft'),
        {
          code: 'folder-not-empty',
          message: /already holds an adapter in the format tributary/,
        },
      );
      assert.deepEqual(await readdir(join(folder, 'own')), ['adapter.json']);
    });
  });
});
