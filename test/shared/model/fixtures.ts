/** Reads the parity fixtures: a base checkpoint and what the reference implementation computed with it. */
import { existsSync, readFileSync } from 'node:fs';
import { onesLike, type Tensor2D, tensor2d } from '@tensorflow/tfjs-core';
import type { BaseModel, TokenBatch } from '../../../shared/model/base-model.ts';
import { networkFrom } from '../../../shared/model/load.ts';
import { readSafetensors, type SafetensorsFile, tensorValues } from '../../../shared/model/safetensors.ts';
import { completeCheckpoint } from '../../parity/complete-checkpoint.ts';

/** Fixtures that together take every path through a base: norms after and before, fused maps, rotations, shared keys, norms of heads. */
export const fixtureFamilies = ['bert', 'gpt2', 'qwen3'] as const;

/** Fixtures of all families. */
export const allFixtures = [
  ...fixtureFamilies,
  'roberta',
  'distilbert',
  'llama_gqa',
  'llama_mha',
  'llama3_scaled_rope',
  'qwen2',
] as const;

/** Bytes of one file of a family's fixture. */
export function fixtureBytes(family: string, path: string): Uint8Array {
  return readFileSync(fixtureUrl(family, path));
}

function fixtureUrl(family: string, path: string): URL {
  return new URL(`../../parity/fixtures/${family}/${path}`, import.meta.url);
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

/** What the reference gave for the base alone. */
export function fixtureExpected(family: string): SafetensorsFile {
  const path = existsSync(fixtureUrl(family, 'expected')) ? 'expected/base.safetensors' : 'expected.safetensors';
  return readSafetensors(fixtureBytes(family, path), path);
}

/** The batch of token ids that all cases of a family share; where the fixture has no mask, all are tokens. */
export function fixtureBatch(family: string): TokenBatch {
  const { tensors } = fixtureExpected(family);
  const integers = (name: string): Tensor2D | null => {
    const entry = tensors.get(name);
    if (entry === undefined) return null;
    return tensor2d(new Int32Array(new Uint8Array(entry.bytes).buffer), entry.shape as [number, number], 'int32');
  };
  const inputIds = integers('input_ids')!;
  return { inputIds, attentionMask: integers('attention_mask') ?? onesLike(inputIds) };
}

/** One expected tensor as float32. */
export function expectedValues(file: SafetensorsFile, name: string): Float32Array {
  return tensorValues(file.tensors.get(name)!);
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
