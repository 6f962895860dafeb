/**
 * A base without adapter: hidden states and scores of the language-model head, as far as the fixture has them; where it holds the loss of the
 * next token and gradients of the base's own weights, these too.
 */
import { join } from 'node:path';
import {
  add,
  reshape,
  slice,
  type Tensor,
  type Tensor2D,
  tidy,
  transpose,
  valueAndGrads,
  zeros,
} from '@tensorflow/tfjs-core';
import type { BaseModel, SiteHooks, TokenBatch } from '../../shared/model/base-model.ts';
import { crossEntropy } from '../../shared/training/loss.ts';
import type { CaseKind, Findings } from './case.ts';
import { batchOf, gradientPrefix, readTensors } from './fixture-files.ts';

/** Runs a base on the inputs of `path` and gives what the file holds. */
export async function computeBase(base: BaseModel, path: string): Promise<Findings> {
  const expected = await readTensors(path);
  const outputs = new Map<string, Float32Array>();
  const gradients = new Map<string, Float32Array>();
  tidy(() => {
    const batch = batchOf(expected);
    let index = 0;
    const hidden = base.encode(batch, undefined, (state) => {
      const name = `hidden_states.${index++}`;
      if (expected.tensors.has(name)) outputs.set(name, state.dataSync() as Float32Array);
    });
    outputs.set('logits', base.languageModelScores(hidden).dataSync() as Float32Array);
    if (!expected.tensors.has('loss')) return;
    const weights = [...expected.tensors.keys()].flatMap((name) =>
      name.startsWith(gradientPrefix) ? [name.slice(gradientPrefix.length)] : [],
    );
    const { loss, slopes } = nextTokenGradients(base, batch, weights);
    outputs.set('loss', loss);
    for (const [name, slope] of slopes) gradients.set(name, slope);
  });
  return { expected, outputs, gradients };
}

/** Loss of the next token, and its gradients by weights of the base under their published names and in their published orientation. */
function nextTokenGradients(base: BaseModel, batch: TokenBatch, weights: readonly string[]) {
  const shapes = new Map<string, number[]>();
  base.encode(batch, {
    weight: (name, { shape }) => {
      shapes.set(name, shape);
      return undefined;
    },
  });
  const ownNames = weights.map((name) => name.replace(/^model\./, ''));
  const changes = ownNames.map((name) => {
    const shape = shapes.get(name);
    if (shape === undefined) throw new Error(`the base has no tensor ${name}`);
    return zeros(shape);
  });
  const lossOf = (...tensors: Tensor[]) => {
    const hooks: SiteHooks = {
      weight: (name, frozen) => {
        const change = tensors[ownNames.indexOf(name)];
        return change === undefined ? undefined : add(frozen, change);
      },
    };
    return nextTokenLoss(base.languageModelScores(base.encode(batch, hooks), hooks), batch);
  };
  const { value, grads } = valueAndGrads(lossOf)(changes);
  const slopes = weights.map((name, index): [string, Float32Array] => {
    const slope = grads[index]!;
    return [name, (slope.rank === 2 ? transpose(slope) : slope).dataSync() as Float32Array];
  });
  return { loss: value.dataSync() as Float32Array, slopes };
}

/** Mean cross-entropy of every token after the first. */
function nextTokenLoss(scores: Tensor, { inputIds }: TokenBatch) {
  const [rowCount, length] = inputIds.shape;
  const predicting = slice(scores, [0, 0, 0], [rowCount, length - 1, -1]);
  const wanted = slice(inputIds, [0, 1], [rowCount, length - 1]).dataSync();
  const rows: Tensor2D = reshape(predicting, [wanted.length, -1]);
  return crossEntropy(rows, wanted);
}

/** The kind of folders that hold a checkpoint and `expected.safetensors` alone. */
export const baseOnlyCases: CaseKind = {
  recognises: ({ entries }) => entries.has('config.json') && entries.has('expected.safetensors'),
  open: ({ name, path }) => {
    const compute = (base: BaseModel) => computeBase(base, join(path, 'expected.safetensors'));
    return Promise.resolve([{ name, missing: null, compute }]);
  },
};
