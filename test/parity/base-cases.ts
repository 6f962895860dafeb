/**
 * A base without adapter: hidden states and scores of the language-model head, as far as the fixture has them; where it holds the loss of the
 * next token and gradients of the base's own weights, these too.
 */
import { join } from 'node:path';
import {
  add,
  clone,
  reshape,
  slice,
  type Tensor,
  type Tensor2D,
  transpose,
  valueAndGrads,
  zeros,
} from '@tensorflow/tfjs-core';
import { crossEntropy } from '../../shared/compute/cross-entropy.ts';
import type { BaseModel, SiteHooks, TokenBatch } from '../../shared/model/base-model.ts';
import type { CaseKind, Findings } from './case.ts';
import { batchOf, gradientPrefix, readTensors } from './fixture-files.ts';

/** Runs a base on the inputs of `path` and gives what the file holds. */
export async function computeBase(base: BaseModel, path: string): Promise<Findings> {
  const expected = await readTensors(path);
  const outputs = new Map<string, Float32Array>();
  const gradients = new Map<string, Float32Array>();
  const read = async (values: Tensor) => (await values.data()) as Float32Array;
  const batch = batchOf(expected);
  const states: Tensor[] = [];
  const hidden = base.encode(batch, undefined, (state) => states.push(clone(state)));
  for (const [index, state] of states.entries()) {
    const name = `hidden_states.${index}`;
    if (expected.tensors.has(name)) outputs.set(name, await read(state));
  }
  outputs.set('logits', await read(base.languageModelScores(hidden)));
  if (!expected.tensors.has('loss')) return { expected, outputs, gradients };
  const weights = [...expected.tensors.keys()].flatMap((name) =>
    name.startsWith(gradientPrefix) ? [name.slice(gradientPrefix.length)] : [],
  );
  const tokens = (await batch.inputIds.data()) as Int32Array;
  const { loss, slopes } = nextTokenGradients(base, { batch, tokens }, weights);
  outputs.set('loss', await read(loss));
  for (const [name, slope] of slopes) gradients.set(name, await read(slope));
  return { expected, outputs, gradients };
}

/** A batch and its tokens, row by row. */
interface Texts {
  readonly batch: TokenBatch;
  readonly tokens: Int32Array;
}

/** Loss of the next token, and its gradients by weights of the base under their published names and in their published orientation. */
function nextTokenGradients(base: BaseModel, texts: Texts, weights: readonly string[]) {
  const { batch } = texts;
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
    return nextTokenLoss(base.languageModelScores(base.encode(batch, hooks), hooks), texts);
  };
  const { value, grads } = valueAndGrads(lossOf)(changes);
  const slopes = weights.map((name, index): [string, Tensor] => {
    const slope = grads[index]!;
    return [name, slope.rank === 2 ? transpose(slope) : slope];
  });
  return { loss: value, slopes };
}

/** Mean cross-entropy of every token after the first. */
function nextTokenLoss(scores: Tensor, { batch, tokens }: Texts) {
  const [rowCount, length] = batch.inputIds.shape;
  const predicting = slice(scores, [0, 0, 0], [rowCount, length - 1, -1]);
  const wanted = tokens.filter((_, index) => index % length !== 0);
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
