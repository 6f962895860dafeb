/**
 * Batches of examples of similar length, so that little is padding: examples are shuffled, sorted by length within pools of some batches,
 * cut, and the batches shuffled again. Every example stands in exactly one batch of an epoch.
 */
import { assert } from '../core/assert.ts';
import type { SeededRandom } from '../core/random.ts';
import type { EncodedExample } from './encode.ts';

/** Batches whose examples are sorted together: more waste less padding, fewer keep batches more random. */
const batchesPerPool = 16;
/** Sequence lengths are multiples of this: it suits vector units and keeps the number of distinct shapes small. */
const lengthMultiple = 4;

/** Token ids with right padding, ready for a back end. */
export interface EncodedBatch {
  /** `[rowCount * sequenceLength]`, row after row. */
  readonly ids: Int32Array;
  /** Tokens of every row, each from 1 to `sequenceLength`. */
  readonly lengths: Int32Array;
  readonly rowCount: number;
  readonly sequenceLength: number;
}

/**
 * Indices of the batches of one epoch over examples with the given `lengths`; the last batch of the sorted order may be smaller.
 * Draws from `random`.
 */
export function epochBatches(lengths: ArrayLike<number>, batchSize: number, random: SeededRandom): number[][] {
  assert(Number.isInteger(batchSize) && batchSize >= 1, `batch size ${batchSize} is not a positive whole number`);
  const order = random.shuffle(indicesOf(lengths));
  const batches: number[][] = [];
  const poolSize = batchSize * batchesPerPool;
  for (let start = 0; start < order.length; start += poolSize) {
    const pool = order.slice(start, start + poolSize).sort((left, right) => lengths[left]! - lengths[right]!);
    batches.push(...cut(pool, batchSize));
  }
  return random.shuffle(batches);
}

/** Batches in order of length, without chance: for evaluation, where the order changes nothing. */
export function sortedBatches(lengths: ArrayLike<number>, batchSize: number): number[][] {
  return cut(
    indicesOf(lengths).sort((left, right) => lengths[left]! - lengths[right]!),
    batchSize,
  );
}

function indicesOf({ length }: ArrayLike<number>): number[] {
  return Array.from({ length }, (_, index) => index);
}

function cut(indices: readonly number[], batchSize: number): number[][] {
  const batches: number[][] = [];
  for (let start = 0; start < indices.length; start += batchSize) batches.push(indices.slice(start, start + batchSize));
  return batches;
}

/**
 * Puts examples into one batch, padded on the right with `padId` to the longest, rounded up to a small multiple but never beyond
 * `lengthMax` (the positions of the base model).
 */
export function batchOf(
  examples: readonly Pick<EncodedExample, 'ids'>[],
  padId: number,
  lengthMax: number,
): EncodedBatch {
  const longest = examples.reduce((length, example) => Math.max(length, example.ids.length), 1);
  assert(longest <= lengthMax, `an example of ${longest} tokens does not fit ${lengthMax} positions`);
  const sequenceLength = Math.min(lengthMax, Math.ceil(longest / lengthMultiple) * lengthMultiple);
  const ids = new Int32Array(examples.length * sequenceLength).fill(padId);
  for (const [row, example] of examples.entries()) ids.set(example.ids, row * sequenceLength);
  return {
    ids,
    lengths: Int32Array.from(examples, (example) => example.ids.length),
    rowCount: examples.length,
    sequenceLength,
  };
}
