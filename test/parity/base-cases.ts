/** A base without adapter: hidden states and scores of the language-model head, as far as the fixture has them. */
import { join } from 'node:path';
import { tidy } from '@tensorflow/tfjs-core';
import type { BaseModel } from '../../shared/model/base-model.ts';
import type { CaseKind, Findings } from './case.ts';
import { batchOf, readTensors } from './fixture-files.ts';

/** Runs a base on the inputs of `path` and gives what the file holds. */
export async function computeBase(base: BaseModel, path: string): Promise<Findings> {
  const expected = await readTensors(path);
  const outputs = new Map<string, Float32Array>();
  tidy(() => {
    let index = 0;
    const hidden = base.encode(batchOf(expected), undefined, (state) => {
      const name = `hidden_states.${index++}`;
      if (expected.tensors.has(name)) outputs.set(name, state.dataSync() as Float32Array);
    });
    outputs.set('logits', base.languageModelScores(hidden).dataSync() as Float32Array);
  });
  return { expected, outputs, gradients: new Map() };
}

/** The kind of folders that hold a checkpoint and `expected.safetensors` alone. */
export const baseOnlyCases: CaseKind = {
  recognises: ({ entries }) => entries.has('config.json') && entries.has('expected.safetensors'),
  open: ({ name, path }) => {
    const compute = (base: BaseModel) => computeBase(base, join(path, 'expected.safetensors'));
    return Promise.resolve([{ name, missing: null, compute }]);
  },
};
