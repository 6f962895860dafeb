/** Folders of Transformers with AdapterHub: `cases.json`, `adapters/`, `expected/`; the base's own outputs are the case `base`. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { div, mul, sum, type Tensor, tensor } from '@tensorflow/tfjs-core';
import { readAdapterHub } from '../../shared/adapters/formats/adapterhub.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { runAdapted } from './adapted-case.ts';
import { computeBase } from './base-cases.ts';
import { brokenCase, type CaseKind, type Findings, type FixtureFolder, missingCase, type ParityCase } from './case.ts';
import { compositionCase } from './composition-cases.ts';
import { batchOf, checkpointFiles, entryOf, floatsOf, objectOf, readObject, readTensors } from './fixture-files.ts';

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
  return Promise.all([...names].map((name) => adapterCase(folder, name, listed[name])));
}

async function adapterCase(folder: FixtureFolder, caseName: string, entry: unknown): Promise<ParityCase> {
  const name = `${folder.name}/${caseName}`;
  try {
    const settings = objectOf(entry, `cases.json: ${caseName}`);
    const composition = compositionCase(folder, caseName, settings);
    if (composition !== null) return composition;
    const adapters = objectOf(settings.adapters, 'adapters');
    const [only, ...others] = Object.keys(adapters);
    if (only === undefined) throw new Error('the case has no adapter');
    if (others.length > 0) return missingCase(name, `composition ${String(settings.active)}`);
    const files = {
      configuration: utf8(JSON.stringify({ name: only, config: adapters[only], version: 'adapters.1.2.0' })),
      tensors: await readFile(join(folder.path, 'adapters', `${caseName}.safetensors`)),
    };
    try {
      readAdapterHub(files, describeFiles(await checkpointFiles(folder.path)));
    } catch (cause) {
      if (!(cause instanceof FederationError)) throw cause;
      if (cause.code === 'unsupported-adapter') return missingCase(name, cause.message);
      if (cause.code !== 'unsupported-family') throw cause;
    }
    return { name, missing: null, compute: (model) => compute(model, folder.path, caseName, settings, files) };
  } catch (cause) {
    return brokenCase(name, cause);
  }
}

async function compute(
  base: BaseModel,
  path: string,
  caseName: string,
  settings: Readonly<Record<string, unknown>>,
  files: Parameters<typeof readAdapterHub>[0],
): Promise<Findings> {
  const inputs = await readTensors(join(path, 'expected', 'base.safetensors'));
  const expected = await readTensors(join(path, 'expected', `${caseName}.safetensors`));
  const { adapter, values, mappings } = readAdapterHub(files, base.description);
  const count = [...values.values()].reduce((total, { length }) => total + length, 0);
  if (count !== settings.parameters)
    throw new Error(`cases.json says ${String(settings.parameters)} parameters, found ${count}`);
  const batch = batchOf(inputs);
  const probe = tensor(floatsOf(expected, 'probe'), [...entryOf(expected, 'probe').shape]);
  const mask = batch.attentionMask.toFloat().expandDims(2);
  // The reference's loss is sum(hidden * probe * mask) / sum(mask).
  const lossOf = (hidden: Tensor) => div(sum(mul(mul(hidden, probe), mask)), sum(mask));
  const outputOf = (hidden: Tensor) => hidden;
  const { output, loss, gradients } = await runAdapted({ base, batch, adapter, values, mappings, outputOf, lossOf });
  return {
    expected,
    outputs: new Map([
      ['last_hidden_state', output],
      ['loss', loss],
    ]),
    gradients,
  };
}
