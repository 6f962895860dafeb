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
export interface WeightPlace {
  readonly values: Float32Array;
  /** Whether somebody has written them already. */
  readonly isFilled: boolean;
}

/** What is loaded now; null where tensors have memory of their own. */
let loading: ((size: number) => WeightPlace) | null = null;

/** Whether the current back end computes on memory that can be shared. */
export function sharesWeights(): boolean {
  return ['native', 'cpu'].includes(getBackend());
}

/** Where `size` values go. */
export function placeFor(size: number): WeightPlace {
  return loading?.(size) ?? { values: new Float32Array(size), isFilled: false };
}

/** Runs `load`, which makes the tensors of a base and nothing else, with their values in memory for others. One at a time in a thread. */
export async function loadShared<Base>(
  load: () => Promise<Base>,
): Promise<{ readonly base: Base; readonly weights: SharedWeights }> {
  const weights: SharedArrayBuffer[] = [];
  const base = await loadWith((size) => {
    const memory = new SharedArrayBuffer(4 * size);
    weights.push(memory);
    return { values: new Float32Array(memory), isFilled: false };
  }, load);
  return { base, weights };
}

/** Runs `load` over the `weights` that another thread got for the same base. */
export async function loadOver<Base>(weights: SharedWeights, load: () => Promise<Base>): Promise<Base> {
  let next = 0;
  const base = await loadWith((size) => {
    const memory = weights[next++];
    assert(memory?.byteLength === 4 * size, `tensor ${next} of the base has the size that it was shared with`);
    return { values: new Float32Array(memory), isFilled: true };
  }, load);
  assert(next === weights.length, `the base makes the ${weights.length} tensors that were shared, made were ${next}`);
  return base;
}

async function loadWith<Base>(place: (size: number) => WeightPlace, load: () => Promise<Base>): Promise<Base> {
  assert(loading === null, 'one base is loaded at a time');
  loading = place;
  try {
    return await load();
  } finally {
    loading = null;
  }
}
