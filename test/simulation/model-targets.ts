/** Decoders of what comes from hubs and other libraries: checkpoints, tokenizers, adapters of every format. */
import {
  createAdapterDocument,
  encodeAdapterDocument,
  readAdapterTensors,
} from '../../shared/adapters/adapter-document.ts';
import { parseAdapterManifest } from '../../shared/adapters/adapter-manifest.ts';
import { exportFiles } from '../../shared/adapters/formats/export-files.ts';
import { importFiles } from '../../shared/adapters/formats/import-files.ts';
import { contentOfFiles, openBase } from '../../shared/adapters/formats/open-base.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import { parseJsonObject } from '../../shared/model/configuration.ts';
import { readModel } from '../../shared/model/family.ts';
import { parseHubReference } from '../../shared/model/hub/reference.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { readSafetensors, writeSafetensors } from '../../shared/model/safetensors.ts';
import { createTokenizer } from '../../shared/model/tokenizer.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { Task } from '../../shared/plan/task.ts';
import { initialValues, taskLayout } from '../../shared/training/initial-adapter.ts';
import { bertLike } from '../shared/adapters/bases.ts';
import { fixture } from '../shared/adapters/formats/fixtures.ts';
import { sharded } from '../shared/model/checkpoint-files.ts';
import { wordPieces } from '../shared/model/word-pieces.ts';
import { type ByteTarget, type FolderTarget, textTarget, type ValueTarget } from './fuzz-target.ts';

const task: Task = { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 16 };

/** Files of checkpoints and of adapters that this product wrote. */
export function modelTargets(): ByteTarget[] {
  const base = bertLike(1, 4, 8);
  const adapter = parseAdapter({ method: 'lora', rank: 1 }, base);
  const layout = taskLayout(adapter, base, task);
  const parameters = initialValues(layout, adapter, 1);
  const document = createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });
  const { manifest, tensors } = encodeAdapterDocument(document);
  const file = writeSafetensors(
    new Map([
      ['a', { shape: [2, 3], values: new Float32Array(6) }],
      ['b', { shape: [], values: new Float32Array(1) }],
    ]),
    { format: 'pt' },
  );
  const json = utf8(JSON.stringify({ a: { b: [1, 'two', null] }, 'c\u0041': 1 }));
  return [
    { name: 'safetensors', samples: [file], decode: (bytes) => readSafetensors(bytes, 'fuzz') },
    { name: 'JSON object', samples: [json], decode: (bytes) => parseJsonObject(bytes, 'fuzz') },
    { name: 'adapter.json', samples: [manifest], decode: (bytes) => parseAdapterManifest(bytes, 'fuzz') },
    { name: 'adapter.safetensors', samples: [tensors], decode: (bytes) => readAdapterTensors(document, bytes, 'fuzz') },
    textTarget('place on a hub', ['hf:owner/name@main'], parseHubReference),
  ];
}

/** Settings of models and adapters, parsed. */
export function settingsTargets(): ValueTarget[] {
  const base = bertLike(1, 4, 8);
  const configurations = ['bert', 'roberta', 'distilbert', 'gpt2', 'llama_gqa', 'llama3_scaled_rope', 'qwen2', 'qwen3'];
  const methods: readonly Plan['adapter'][] = [
    { method: 'lora', rank: 1, targets: ['q', 'v'] },
    { method: 'bottleneck', size: 4 },
    { method: 'prefix', length: 2 },
    { method: 'ia3' },
    { method: 'mixture', experts: 2 },
  ];
  return [
    ...configurations.map((family) => ({
      name: `config.json of ${family}`,
      sample: parseJsonObject(fixture(family, 'config.json'), family),
      decode: (value: unknown) => readModel(parseJsonObject(utf8(JSON.stringify(value) ?? ''), 'fuzz')),
    })),
    ...methods.map((sample) => ({
      name: `settings of ${sample.method}`,
      sample,
      // A plan has judged that it is an object with a method.
      decode: (value: unknown) => {
        if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
        parseAdapter({ ...value, method: sample.method } as Plan['adapter'], base);
      },
    })),
    {
      name: 'tokenizer.json',
      sample: wordPieces,
      decode: (value) =>
        createTokenizer({
          tokenizer: utf8(JSON.stringify(value) ?? ''),
          settings: undefined,
          configuration: {},
          vocabularySize: 9,
        }).encode('Lost my cards.', 10),
    },
  ];
}

/** Checkpoints and adapters of other libraries, of several files each. */
export function modelFolderTargets(): FolderTarget[] {
  const checkpoint = new Map(['config.json', 'model.safetensors'].map((file) => [file, fixture('bert', file)]));
  const open = openBase(contentOfFiles(checkpoint));
  const base = open.description;
  const adapters: readonly ['peft' | 'adapterhub', Plan['adapter']][] = [
    ['peft', { method: 'lora', rank: 2 }],
    ['adapterhub', { method: 'bottleneck', size: 4 }],
  ];
  return [
    { name: 'checkpoint', files: checkpoint, decode: describeFiles },
    { name: 'checkpoint in shards', files: sharded(checkpoint, 2), decode: describeFiles },
    ...adapters.map(([format, adapter]) => {
      const bound = parseAdapter(adapter, base);
      const layout = taskLayout(bound, base, task);
      const parameters = new Float32Array(layout.dim).fill(0.5);
      const document = createAdapterDocument({ base, adapter: bound.configuration, task, layout, parameters });
      const files = new Map(exportFiles({ document, base: open, format, name: 'a', baseName: '' }).files);
      // With our own manifest the settings of others are not looked at.
      files.delete('tributary.json');
      return {
        name: `folder of ${format}`,
        files,
        decode: (changed: FolderTarget['files']) => importFiles(changed, open),
      };
    }),
  ];
}
