/** Reads fixtures: JSON, safetensors, tensors of a batch. */
import { readFile } from 'node:fs/promises';
import { onesLike, type Tensor2D, tensor2d } from '@tensorflow/tfjs-core';
import type { TokenBatch } from '../../shared/model/base-model.ts';
import { readBaseFiles } from '../../shared/model/load.node.ts';
import {
  readSafetensors,
  type SafetensorsEntry,
  type SafetensorsFile,
  tensorValues,
} from '../../shared/model/safetensors.ts';
import { completeCheckpoint } from './complete-checkpoint.ts';

/** The files of the checkpoint in a folder, with the biases that the fixtures lack. */
export async function checkpointFiles(path: string): Promise<Map<string, Uint8Array>> {
  const files = await readBaseFiles(path);
  const weights = files.get('model.safetensors');
  if (weights !== undefined) files.set('model.safetensors', completeCheckpoint(weights));
  return files;
}

/** A safetensors file. */
export async function readTensors(path: string): Promise<SafetensorsFile> {
  return readSafetensors(await readFile(path), path);
}

/** A JSON object. */
export async function readObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  const value: unknown = JSON.parse(await readFile(path, 'utf8'));
  return objectOf(value, path);
}

/** `value` as an object. @throws Error naming `what` when it is none. */
export function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${what} is no object`);
  return value as Readonly<Record<string, unknown>>;
}

/** One tensor of a file. @throws Error when it is not there. */
export function entryOf(file: SafetensorsFile, name: string): SafetensorsEntry {
  const entry = file.tensors.get(name);
  if (entry === undefined) throw new Error(`the fixture has no tensor ${name}`);
  return entry;
}

/** Float values of one tensor. */
export function floatsOf(file: SafetensorsFile, name: string): Float32Array {
  return tensorValues(entryOf(file, name));
}

function integers(file: SafetensorsFile, name: string): Tensor2D {
  const { dtype, shape, bytes } = entryOf(file, name);
  if (dtype !== 'I32' || shape.length !== 2) throw new Error(`the fixture's ${name} is no table of 32-bit integers`);
  return tensor2d(new Int32Array(Uint8Array.from(bytes).buffer), [shape[0]!, shape[1]!], 'int32');
}

/** `input_ids` and `attention_mask` on the current back end; without a mask all are tokens. */
export function batchOf(file: SafetensorsFile): TokenBatch {
  const inputIds = integers(file, 'input_ids');
  const attentionMask = file.tensors.has('attention_mask') ? integers(file, 'attention_mask') : onesLike(inputIds);
  return { inputIds, attentionMask };
}

/** What stands before the names of gradients. */
export const gradientPrefix = 'grad.';
