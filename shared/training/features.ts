/**
 * Pooled states of the frozen base, computed once per example where only the head trains. They do not depend on anything that is trained,
 * so reusing them over epochs and rounds changes no result.
 */
import { type Tensor2D, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { seededRandom } from '../core/random.ts';
import { batchOf, sortedBatches } from '../data/batches.ts';
import type { EncodedExample } from '../data/encode.ts';
import type { Classifier } from './classifier.ts';
import { nextTurn } from './turn.ts';

/** Examples per forward pass: without gradients, memory allows more than a training batch. */
const rowsPerPass = 32;

/**
 * Makes sure that `classifier.pooledStates` holds every example. Memory: `hidden` float32 per example, freed with the example.
 * @throws the reason of `signal` when it aborts.
 */
export async function computeFeatures(
  classifier: Classifier,
  examples: readonly EncodedExample[],
  signal?: AbortSignal,
): Promise<void> {
  assert(classifier.isHeadAlone, 'pooled states depend on the adapter, which trains');
  const missing = examples.filter((example) => !classifier.pooledStates.has(example));
  const lengths = missing.map(({ ids }) => ids.length);
  const mode = { training: false, random: seededRandom(0) };
  for (const indices of sortedBatches(lengths, rowsPerPass)) {
    signal?.throwIfAborted();
    const rows = indices.map((index) => missing[index]!);
    const pooled = tidy(() => classifier.pool(new Map(), batchOf(rows, classifier.padId, classifier.lengthMax), mode));
    const values = (await pooled.data()) as Float32Array;
    const width = pooled.shape[1];
    for (const [row, example] of rows.entries()) {
      classifier.pooledStates.set(example, values.slice(row * width, (row + 1) * width));
    }
    pooled.dispose();
    await nextTurn();
  }
}

/** The stored states of `examples` as one tensor `[rows, hidden]`; {@link computeFeatures} must have run for them. */
export function gatherFeatures(classifier: Classifier, examples: readonly EncodedExample[]): Tensor2D {
  const rows = examples.map((example) => {
    const states = classifier.pooledStates.get(example);
    assert(states !== undefined, 'the pooled state of an example was not computed');
    return states;
  });
  const width = rows[0]!.length;
  const values = new Float32Array(rows.length * width);
  for (const [index, states] of rows.entries()) values.set(states, index * width);
  return tensor2d(values, [rows.length, width]);
}
