/** Reads the parity fixtures: a base checkpoint and what the reference implementation computed with it. */
import { readFileSync } from 'node:fs';
import { type Tensor, type Tensor2D, tensor, tensor2d } from '@tensorflow/tfjs-core';
import type { BaseModel, TokenBatch } from '../../../shared/model/base-model.ts';
import { networkFrom } from '../../../shared/model/load.ts';
import { readSafetensors, type SafetensorsFile, tensorValues } from '../../../shared/model/safetensors.ts';
import { completeCheckpoint } from '../../parity/complete-checkpoint.ts';

/** Families that have fixtures here. */
export const fixtureFamilies = ['bert', 'gpt2'] as const;

/** Bytes of one file of a family's fixture. */
export function fixtureBytes(family: string, path: string): Uint8Array {
  return readFileSync(new URL(`../../parity/fixtures/${family}/${path}`, import.meta.url));
}

/** The files that make a base model. */
export function fixtureFiles(family: string): Map<string, Uint8Array> {
  return new Map([
    ['config.json', fixtureBytes(family, 'config.json')],
    ['model.safetensors', completeCheckpoint(fixtureBytes(family, 'model.safetensors'))],
  ]);
}

/** The base on the current back end. */
export function fixtureBase(family: string): BaseModel {
  return networkFrom(fixtureFiles(family));
}

/** Expected tensors of a case; `base` is the base alone. */
export function fixtureExpected(family: string, name: string): SafetensorsFile {
  return readSafetensors(fixtureBytes(family, `expected/${name}.safetensors`), `${name}.safetensors`);
}

/** The batch of token ids that all cases of a family share. */
export function fixtureBatch(family: string): TokenBatch {
  const { tensors } = fixtureExpected(family, 'base');
  const integers = (name: string): Tensor2D => {
    const { bytes, shape } = tensors.get(name)!;
    return tensor2d(new Int32Array(new Uint8Array(bytes).buffer), shape as [number, number], 'int32');
  };
  return { inputIds: integers('input_ids'), attentionMask: integers('attention_mask') };
}

/** One expected tensor as float32. */
export function expectedValues(file: SafetensorsFile, name: string): Float32Array {
  return tensorValues(file.tensors.get(name)!);
}

/** One expected tensor on the back end. */
export function expectedTensor(file: SafetensorsFile, name: string): Tensor {
  return tensor(expectedValues(file, name), [...file.tensors.get(name)!.shape]);
}

/** The largest difference of two lists of numbers of the same length; infinite where one is not a number. */
export function largestError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let index = 0; index < found.length; index++) {
    const error = Math.abs(found[index]! - expected[index]!);
    if (!(error <= largest)) largest = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
  }
  return largest;
}
