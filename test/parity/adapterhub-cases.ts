/** Folders of Transformers with AdapterHub: `cases.json`, `adapters/`, `expected/`; the base's own outputs are the case `base`. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { div, mul, sum, type Tensor, tensor } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { tensorValues } from '../../shared/model/safetensors.ts';
import { runAdapted } from './adapted-case.ts';
import { mapAdapterHubName } from './adapterhub-names.ts';
import { type Translated, translateCase } from './adapterhub-settings.ts';
import { computeBase } from './base-cases.ts';
import { brokenCase, type CaseKind, type Findings, type FixtureFolder, missingCase, type ParityCase } from './case.ts';
import { batchOf, entryOf, floatsOf, objectOf, readObject, readTensors } from './fixture-files.ts';

/** The kind of `bert`, `roberta`, `distilbert` and `gpt2`. */
export const adapterHubCases: CaseKind = {
  recognises: ({ entries }) => entries.has('cases.json') || entries.has('expected'),
  open: async (folder) => [baseCase(folder), ...(await adapterCases(folder))],
};

function baseCase({ name, path }: FixtureFolder): ParityCase {
  const compute = (base: BaseModel) => computeBase(base, join(path, 'expected', 'base.safetensors'));
  return { name: `${name}/base`, missing: null, compute };
}

async function adapterCases(folder: FixtureFolder): Promise<ParityCase[]> {
  let listed: Readonly<Record<string, unknown>>;
  let files: string[];
  try {
    listed = await readObject(join(folder.path, 'cases.json'));
    files = await readdir(join(folder.path, 'expected'));
  } catch (cause) {
    return [brokenCase(`${folder.name}/cases.json`, cause)];
  }
  const expected = files
    .filter((file) => file.endsWith('.safetensors'))
    .map((file) => file.replace('.safetensors', ''));
  const names = new Set([...Object.keys(listed), ...expected.filter((name) => name !== 'base')]);
  return [...names].map((name) => adapterCase(folder, name, listed[name]));
}

function adapterCase(folder: FixtureFolder, caseName: string, entry: unknown): ParityCase {
  const name = `${folder.name}/${caseName}`;
  try {
    const settings = objectOf(entry, `cases.json: ${caseName}`);
    const translated = translateCase(settings);
    if ('missing' in translated) return missingCase(name, translated.missing);
    return { name, missing: null, compute: (model) => compute(model, folder.path, caseName, settings, translated) };
  } catch (cause) {
    return brokenCase(name, cause);
  }
}

async function compute(
  base: BaseModel,
  path: string,
  caseName: string,
  settings: Readonly<Record<string, unknown>>,
  { adapter: adapterName, configuration, attentionParts }: Exclude<Translated, { readonly missing: string }>,
): Promise<Findings> {
  const inputs = await readTensors(join(path, 'expected', 'base.safetensors'));
  const expected = await readTensors(join(path, 'expected', `${caseName}.safetensors`));
  const saved = await readTensors(join(path, 'adapters', `${caseName}.safetensors`));
  const adapter = parseAdapter(configuration, base.description);
  const context = { base: base.description, adapter: adapterName, attentionParts };
  const references = [...saved.tensors].map(([reference, entry]) => {
    return { mapping: mapAdapterHubName(reference, context), shape: entry.shape, values: tensorValues(entry) };
  });
  const count = references.reduce((total, { values }) => total + values.length, 0);
  if (count !== settings.parameters)
    throw new Error(`cases.json says ${String(settings.parameters)} parameters, found ${count}`);
  const batch = batchOf(inputs);
  const probe = tensor(floatsOf(expected, 'probe'), [...entryOf(expected, 'probe').shape]);
  const mask = batch.attentionMask.toFloat().expandDims(2);
  // The reference's loss is sum(hidden * probe * mask) / sum(mask).
  const lossOf = (hidden: Tensor) => div(sum(mul(mul(hidden, probe), mask)), sum(mask));
  const { output, loss, gradients } = runAdapted({
    base,
    batch,
    adapter,
    references,
    outputOf: (hidden) => hidden,
    lossOf,
  });
  return {
    expected,
    outputs: new Map([
      ['last_hidden_state', output],
      ['loss', loss],
    ]),
    gradients,
  };
}
