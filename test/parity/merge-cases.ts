/** Folders `peft_bert_merge_*`: adapters of PEFT, each alone and merged, and the logits of all of them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tensor } from '@tensorflow/tfjs-core';
import { type AdapterDocument, createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { peftFiles, readPeft } from '../../shared/adapters/formats/peft.ts';
import type { MergeKind } from '../../shared/adapters/merging/kinds.ts';
import { type MergeOptions, mergeDocuments } from '../../shared/adapters/merging/merge-documents.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import { flatten, unflatten } from '../../shared/update/vector.ts';
import type { CaseKind, Findings } from './case.ts';
import { batchOf, objectOf, readObject, readTensors } from './fixture-files.ts';

/** The kind of `peft_bert_merge_*`. */
export const mergeCases: CaseKind = {
  recognises: ({ entries }) => entries.has('a0'),
  open: ({ name, path, entries }) =>
    Promise.resolve([{ name, missing: null, compute: (base) => compute(base, path, entries) }]),
};

async function compute(base: BaseModel, path: string, entries: ReadonlySet<string>): Promise<Findings> {
  const expected = await readTensors(join(path, 'expected.safetensors'));
  const { weights, combinations } = await readObject(join(path, 'case.json'));
  const names = [...entries].filter((name) => /^a\d+$/.test(name)).sort();
  const documents = await Promise.all(names.map((name) => documentOf(base, join(path, name))));
  const batch = batchOf(expected);
  const logitsOf = ({ adapter: configuration, layout, parameters }: AdapterDocument): Float32Array => {
    const adapter = parseAdapter(configuration, base.description);
    const named = [...unflatten(layout, parameters)].map(([name, values]) => {
      const { shape } = adapter.tensors.find((own) => own.name === name)!;
      return [name, tensor(values, [...shape])] as const;
    });
    const hooks = adapter.hooks({ parameters: new Map(named), training: false, random: seededRandom(0) });
    return base.languageModelScores(base.encode(batch, hooks)).dataSync() as Float32Array;
  };
  const merged = Object.entries(objectOf(combinations, 'combinations')).map(([type, options]) => {
    const settings = objectOf(options, type) as Partial<MergeOptions>;
    const kind = type.replace('_', '-') as MergeKind;
    const { document } = mergeDocuments(documents, { ...settings, kind, weights: weights as number[] });
    return [`logits.${type}`, logitsOf(document)] as const;
  });
  const alone = documents.map((document, index) => [`logits.${names[index]}`, logitsOf(document)] as const);
  return { expected, outputs: new Map([...alone, ...merged]), gradients: new Map(), inputs: /^weights$/ };
}

async function documentOf({ description }: BaseModel, path: string): Promise<AdapterDocument> {
  const [configuration, tensors] = await Promise.all([
    readFile(join(path, peftFiles.configuration)),
    readFile(join(path, peftFiles.tensors)),
  ]);
  const { adapter, values } = readPeft({ configuration, tensors }, description);
  const layout = layoutOf(adapter.tensors);
  const task = { kind: 'masked', lengthMax: 16, maskFraction: 0.15 } as const;
  return createAdapterDocument({
    base: description,
    adapter: adapter.configuration,
    task,
    layout,
    parameters: flatten(layout, values),
  });
}
