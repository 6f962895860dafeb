/**
 * Examples by index, wherever they lie: training and evaluation ask for one batch at a time and never need to hold the rest. Examples in
 * memory are one such source, `spool.node.ts` (a temporary file) another; both pass one contract suite.
 */
import { assert } from '../core/assert.ts';
import type { EncodedExample } from './encode.ts';

/** A fixed list of examples that are read in any order, any number of times, also by several readers at once. */
export interface ExampleSource {
  readonly count: number;
  /** Token ids of every example, `[count]`; known without reading one. Not to be changed. */
  readonly lengths: Int32Array;
  /**
   * The examples at `indices`, in that order; an index may come up twice. Their arrays are not to be changed.
   * @throws InvariantError on an index out of range.
   */
  read(indices: readonly number[]): Promise<readonly EncodedExample[]>;
}

/** A source over a list in memory, which must not change afterwards. */
export function memorySource(examples: readonly EncodedExample[]): ExampleSource {
  return {
    count: examples.length,
    lengths: Int32Array.from(examples, ({ ids }) => ids.length),
    read: async (indices) => {
      requireIndices(indices, examples.length);
      return indices.map((index) => examples[index]!);
    },
  };
}

/** States that every index names one of `count` examples. @throws InvariantError */
export function requireIndices(indices: readonly number[], count: number): void {
  for (const index of indices) {
    assert(Number.isInteger(index) && index >= 0 && index < count, `there is no example ${index} of ${count}`);
  }
}
