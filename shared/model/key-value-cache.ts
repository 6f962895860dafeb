/** Keys and values of the tokens that a layer has seen, kept between steps of a generation. */
import { concat, dispose, keep, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import { type AttentionShape, type SeenHeads, seenHeads } from '../compute/attention.ts';

/** What one layer has seen. */
export interface LayerCache {
  isEmpty(): boolean;
  /**
   * Adds keys and values `[batch * tokens, keyValueHeads * headSize]` and gives all so far, which stay this cache's own until the next call.
   * Every call copies what was there: for the lengths at hand that costs less than the attention that follows.
   */
  append(k: Tensor2D, v: Tensor2D, shape: AttentionShape): SeenHeads;
  /** Frees what is kept. */
  dispose(): void;
}

/** An empty cache. */
export function createLayerCache(): LayerCache {
  let kept: SeenHeads | null = null;
  const free = () => {
    if (kept !== null) dispose([kept.turnedKeys, kept.values]);
    kept = null;
  };
  return {
    isEmpty: () => kept === null,
    append: (k, v, shape) => {
      const added = seenHeads(k, v, shape);
      const joined = (before: Tensor3D | undefined, after: Tensor3D, axis: number): Tensor3D =>
        keep(before === undefined ? after : concat([before, after], axis));
      const all: SeenHeads = {
        turnedKeys: joined(kept?.turnedKeys, added.turnedKeys, 2),
        values: joined(kept?.values, added.values, 1),
      };
      free();
      kept = all;
      return all;
    },
    dispose: free,
  };
}
