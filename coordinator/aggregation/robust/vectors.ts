/**
 * The vectors that a robust rule looks at, block by block: whatever rule it is, no more than `count x block` numbers are in memory. Views
 * (scaled, bucketed) compute their blocks from those below. Vectors stand in client-id order, so results do not depend on arrival.
 */
import { assert } from '../../../shared/core/assert.ts';
import { float32Of } from '../../../shared/core/bytes.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import type { BlobStore } from '../../../shared/core/ports.ts';
import type { UpdateRecord } from '../../store/store.ts';

/** Coordinates of one block. */
export const blockSize = 4096;

/** Vectors `[count, dim]`. */
export interface Vectors {
  readonly count: number;
  readonly dim: number;
  /** Coordinates `from` to `to` of every vector, owned by the caller. */
  block(from: number, to: number): Promise<readonly Float64Array[]>;
}

/** Vectors in memory. */
export function heldVectors(values: readonly ArrayLike<number>[], dim: number = values[0]?.length ?? 0): Vectors {
  assert(
    values.every(({ length }) => length === dim),
    'vectors have one length',
  );
  const block: Vectors['block'] = async (from, to) =>
    values.map((vector) => Float64Array.from({ length: to - from }, (_, index) => vector[from + index]!));
  return { count: values.length, dim, block };
}

/** The deltas of stored updates, in client-id order, read from their blobs. */
export function storedVectors(
  updates: readonly Pick<UpdateRecord, 'clientId' | 'delta'>[],
  dim: number,
  blobs: Pick<BlobStore, 'read'>,
): Vectors {
  const ordered = [...updates].sort((left, right) => (left.clientId < right.clientId ? -1 : 1));
  return blobVectors(
    ordered.map(({ delta }) => delta),
    dim,
    blobs,
  );
}

/** Vectors of float32 in blobs, in this order. */
export function blobVectors(digests: readonly Digest[], dim: number, blobs: Pick<BlobStore, 'read'>): Vectors {
  const block: Vectors['block'] = async (from, to) => {
    const parts: Float64Array[] = [];
    for (const digest of digests) {
      const bytes = await blobs.read(digest, 4 * from, 4 * (to - from));
      parts.push(Float64Array.from(float32Of(bytes)));
    }
    return parts;
  };
  return { count: digests.length, dim, block };
}

/** Calls `take` with every block, and lets others have a turn in between. @throws FederationError `update-not-finite`. */
export async function eachBlock(
  vectors: Vectors,
  take: (parts: readonly Float64Array[], from: number) => void,
): Promise<void> {
  for (let from = 0; from < vectors.dim; from += blockSize) {
    const parts = await vectors.block(from, Math.min(vectors.dim, from + blockSize));
    for (const part of parts) requireFinite(part);
    take(parts, from);
    await giveTurn();
  }
}

function requireFinite(part: Float64Array): void {
  for (let index = 0; index < part.length; index++) {
    if (Number.isFinite(part[index]!)) continue;
    throw new FederationError('update-not-finite', 'an update has values that are no numbers; the round cannot count');
  }
}

/** Squared distances between all vectors, `[count * count]`. Cost: O(count² dim). */
export async function squaredDistances(vectors: Vectors): Promise<Float64Array> {
  const { count } = vectors;
  const distances = new Float64Array(count * count);
  await eachBlock(vectors, (parts) => {
    for (let left = 0; left < count; left++)
      for (let right = left + 1; right < count; right++)
        distances[left * count + right]! += squaredDistance(parts[left]!, parts[right]!);
  });
  for (let left = 0; left < count; left++)
    for (let right = 0; right < left; right++) distances[left * count + right] = distances[right * count + left]!;
  return distances;
}

function squaredDistance(left: Float64Array, right: Float64Array): number {
  let sum = 0;
  for (let index = 0; index < left.length; index++) {
    const difference = left[index]! - right[index]!;
    sum += difference * difference;
  }
  return sum;
}

/** Inner products of all vectors with the last one, `[count]`, and squared norms, `[count]`. */
export async function productsWithLast(
  vectors: Vectors,
): Promise<{ readonly products: Float64Array; readonly squares: Float64Array }> {
  const [products, squares] = [new Float64Array(vectors.count), new Float64Array(vectors.count)];
  await eachBlock(vectors, (parts) => {
    const last = parts.at(-1)!;
    for (const [row, part] of parts.entries()) {
      for (let index = 0; index < part.length; index++) {
        products[row]! += part[index]! * last[index]!;
        squares[row]! += part[index]! ** 2;
      }
    }
  });
  return { products, squares };
}

/** Σ weights[i] vectors[i], `[dim]`. */
export async function combination(vectors: Vectors, weights: ArrayLike<number>): Promise<Float64Array> {
  const sum = new Float64Array(vectors.dim);
  await eachBlock(vectors, (parts, from) => {
    for (const [row, part] of parts.entries()) {
      const weight = weights[row]!;
      if (weight !== 0) for (let index = 0; index < part.length; index++) sum[from + index]! += weight * part[index]!;
    }
  });
  return sum;
}

/** Vectors with one more behind them. */
export function withVector(vectors: Vectors, last: ArrayLike<number>): Vectors {
  assert(last.length === vectors.dim, 'vectors have one length');
  const own = heldVectors([last], vectors.dim);
  return {
    count: vectors.count + 1,
    dim: vectors.dim,
    block: async (from, to) => [...(await vectors.block(from, to)), ...(await own.block(from, to))],
  };
}

/** Lets the event loop answer clients. */
function giveTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
