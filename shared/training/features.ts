/**
 * States of texts under the frozen base, computed once per example where only the head trains. They do not depend on anything that is trained,
 * so reusing them over epochs and rounds changes no result.
 */
import { tensor2d, tidy } from '@tensorflow/tfjs-core';
import { seededRandom } from '../core/random.ts';
import { sortedBatches } from '../data/batches.ts';
import type { ExampleSource } from '../data/example-source.ts';
import type { ScoredStates, TaskModel } from './task-model.ts';
import { nextTurn } from './turn.ts';

/** Examples per forward pass: without gradients, memory allows more than a training batch. */
const rowsPerPass = 32;
/** Values that are kept per source, 256 MB of float32; a larger source goes through the base anew in every epoch. */
const valuesMax = 2 ** 26;

/** The states of a source's examples by index. */
export interface Features {
  gather(indices: readonly number[]): ScoredStates;
}

/**
 * The states of all examples of `source`, kept with the model as long as the source is; null where they depend on the adapter, or are too
 * many to be kept.
 * @throws the reason of `signal` when it aborts.
 */
export async function featuresOf(
  model: TaskModel,
  source: ExampleSource,
  signal?: AbortSignal,
): Promise<Features | null> {
  const { hiddenSize } = model;
  if (!model.isHeadAlone || source.count * hiddenSize > valuesMax) return null;
  const values = model.textStates.get(source) ?? (await computeStates(model, source, signal));
  model.textStates.set(source, values);
  return {
    gather: (indices) => {
      const rows = new Float32Array(indices.length * hiddenSize);
      for (const [row, index] of indices.entries())
        rows.set(values.subarray(index * hiddenSize, (index + 1) * hiddenSize), row * hiddenSize);
      return { states: tensor2d(rows, [indices.length, hiddenSize]), hooks: {} };
    },
  };
}

async function computeStates(model: TaskModel, source: ExampleSource, signal?: AbortSignal): Promise<Float32Array> {
  const { hiddenSize } = model;
  const values = new Float32Array(source.count * hiddenSize);
  const random = seededRandom(0);
  for (const indices of sortedBatches(source.lengths, rowsPerPass)) {
    signal?.throwIfAborted();
    const arranged = model.arrange(await source.read(indices), () => random);
    const states = tidy(() => model.states(new Map(), arranged, { training: false, random }).states);
    const found = (await states.data()) as Float32Array;
    for (const [row, index] of indices.entries())
      values.set(found.subarray(row * hiddenSize, (row + 1) * hiddenSize), index * hiddenSize);
    states.dispose();
    await nextTurn();
  }
  return values;
}
