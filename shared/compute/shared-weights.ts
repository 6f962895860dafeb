/**
 * Weights in memory that threads share: one of them loads a base, the others make the same tensors over the same memory, without reading or
 * copying anything. That holds where tensors are arrays of the process (`native`, `cpu`); WebAssembly has a memory of its own in every thread,
 * and devices have theirs, so there every thread loads for itself.
 */
import { getBackend } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';

/** The memory of the tensors of a base, in the order in which they are made. Nobody writes to it once it is shared. */
export type SharedWeights = readonly SharedArrayBuffer[];

/** Where the values of a tensor go. */
export interface WeightPlace<Values = Float32Array> {
  readonly values: Values;
  /** Whether somebody has written them already. */
  readonly isFilled: boolean;
}

/** What is loaded now; null where tensors have memory of their own. */
let loading: ((bytes: number) => Memory) | null = null;

interface Memory {
  readonly memory: ArrayBufferLike;
  readonly isFilled: boolean;
}

const ownMemory = (bytes: number): Memory => ({ memory: new ArrayBuffer(bytes), isFilled: false });

/** Whether the current back end computes on memory that can be shared. */
export function sharesWeights(): boolean {
  return ['native', 'cpu'].includes(getBackend());
}

/** Where `size` values go. */
export function placeFor(size: number): WeightPlace {
  const { memory, isFilled } = (loading ?? ownMemory)(4 * size);
  return { values: new Float32Array(memory), isFilled };
}

/** Where `size` numbers of sixteen bits go that stay as they are. */
export function halvesPlaceFor(size: number): WeightPlace<Uint16Array> {
  const { memory, isFilled } = (loading ?? ownMemory)(2 * size);
  return { values: new Uint16Array(memory), isFilled };
}

/** Runs `load`, which makes the tensors of a base and nothing else, with their values in memory for others. One at a time in a thread. */
export async function loadShared<Base>(
  load: () => Promise<Base>,
): Promise<{ readonly base: Base; readonly weights: SharedWeights }> {
  const weights: SharedArrayBuffer[] = [];
  const base = await loadWith((bytes) => {
    const memory = new SharedArrayBuffer(bytes);
    weights.push(memory);
    return { memory, isFilled: false };
  }, load);
  return { base, weights };
}

/** Runs `load` over the `weights` that another thread got for the same base. */
export async function loadOver<Base>(weights: SharedWeights, load: () => Promise<Base>): Promise<Base> {
  let next = 0;
  const base = await loadWith((bytes) => {
    const memory = weights[next++];
    assert(memory?.byteLength === bytes, `tensor ${next} of the base has the size that it was shared with`);
    return { memory, isFilled: true };
  }, load);
  assert(next === weights.length, `the base makes the ${weights.length} tensors that were shared, made were ${next}`);
  return base;
}

async function loadWith<Base>(place: (bytes: number) => Memory, load: () => Promise<Base>): Promise<Base> {
  assert(loading === null, 'one base is loaded at a time');
  loading = place;
  try {
    return await load();
  } finally {
    loading = null;
  }
}
