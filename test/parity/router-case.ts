/** The folder `switch_router`: top-1 routing with a capacity, and its two losses. */
import { join } from 'node:path';
import { add, softmax, type Tensor, type Tensor2D, tensor, transpose, valueAndGrads } from '@tensorflow/tfjs-core';
import { balanceLoss, dispatchTokens, routerLoss } from '../../shared/adapters/routing.ts';
import { trainableMatMul } from '../../shared/compute/products.ts';
import type { SafetensorsFile } from '../../shared/model/safetensors.ts';
import type { CaseKind, Findings } from './case.ts';
import { entryOf, floatsOf, readObject, readTensors } from './fixture-files.ts';

/** The kind of `switch_router`. */
export const routerCases: CaseKind = {
  recognises: ({ name }) => name === 'switch_router',
  open: ({ name, path }) => {
    const compute = () => computeCase(path);
    return Promise.resolve([{ name, missing: null, compute, computeAlone: compute }]);
  },
};

async function computeCase(path: string): Promise<Findings> {
  const { experts, capacity, batch, sequence, hidden } = await readObject(join(path, 'case.json'));
  const expected = withFloats(await readTensors(join(path, 'expected.safetensors')), 'dispatch_after_capacity');
  const [expertCount, sequenceLength, hiddenSize] = [Number(experts), Number(sequence), Number(hidden)];
  const tokenCount = Number(batch) * sequenceLength;
  const x = tensor(floatsOf(expected, 'x'), [tokenCount, hiddenSize]);
  const router = tensor(floatsOf(expected, 'classifier.weight'), [expertCount, hiddenSize]).transpose();
  const groups = Array.from({ length: tokenCount }, (_, token) => Math.floor(token / sequenceLength));
  const options = { expertCount, choices: 1, groups };
  const outputs = new Map<string, Float32Array>();
  const lossOf = (...tensors: Tensor[]): Tensor => {
    const logits = trainableMatMul(tensors[0] as Tensor2D, tensors[1] as Tensor2D);
    const probabilities: Tensor2D = softmax(logits);
    const values = probabilities.dataSync() as Float32Array;
    const dispatch = dispatchTokens({ ...options, probabilities: values, capacityOf: () => Number(capacity) });
    const taken = new Float32Array(tokenCount * expertCount);
    for (const [expert, own] of dispatch.tokens.entries())
      for (const token of own) taken[token * expertCount + expert] = 1;
    const losses = [routerLoss(logits), balanceLoss(probabilities, dispatch, options)] as const;
    outputs.set('logits', logits.dataSync() as Float32Array);
    outputs.set('dispatch_after_capacity', taken);
    outputs.set('top_probability', probabilities.max(1).dataSync() as Float32Array);
    outputs.set('z_loss', losses[0].dataSync() as Float32Array);
    outputs.set('load_balancing_loss', losses[1].dataSync() as Float32Array);
    return add(...losses);
  };
  const { grads } = valueAndGrads((...tensors: Tensor[]) => lossOf(...tensors).asScalar())([x, router]);
  const gradients = new Map([
    ['x', grads[0]!.dataSync() as Float32Array],
    ['classifier.weight', transpose(grads[1]!).dataSync() as Float32Array],
  ]);
  return { expected, outputs, gradients, inputs: /^(x|classifier\.weight)$/ };
}

/** The file with one tensor of 64-bit integers as float32. */
function withFloats(file: SafetensorsFile, name: string): SafetensorsFile {
  const { shape, bytes } = entryOf(file, name);
  const integers = new BigInt64Array(Uint8Array.from(bytes).buffer);
  const values = Float32Array.from(integers, Number);
  const entry = { dtype: 'F32', shape, bytes: new Uint8Array(values.buffer) } as const;
  return { ...file, tensors: new Map([...file.tensors, [name, entry]]) };
}
