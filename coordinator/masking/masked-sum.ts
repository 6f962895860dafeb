/**
 * The sum of masked vectors and the masks that are taken off it. Vectors are added one durable blob after the other, so that memory is one
 * vector however many clients there are.
 */
import type { Digest } from '../../shared/core/ids.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../shared/secure-aggregation/mask.ts';
import { masksToRemove } from '../../shared/secure-aggregation/opening.ts';
import type { Opening } from '../../shared/secure-aggregation/server-state.ts';
import { type VectorShape, vectorAdder, zeroMaskedVector } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';

/** What a sum is made of. */
export interface SumSource {
  readonly shape: VectorShape;
  readonly suite: MaskedSuite;
  /** Roots of the survivors' vectors. */
  readonly roots: readonly Digest[];
  readonly opening: Opening;
  readonly blobs: Pick<CoordinatorBlobs, 'scan'>;
}

/** The opened sum; zeroes the secrets of `opening`. @throws StoreError when a vector is missing or damaged. */
export async function openSum({ shape, suite, roots, opening, blobs }: SumSource): Promise<MaskedVector> {
  const sum = zeroMaskedVector(shape);
  for (const root of roots) await blobs.scan(root, vectorAdder(sum));
  for (const { seed, sign } of masksToRemove(opening)) {
    applyMask(sum, seed, sign, suite);
    wipeSeed(seed);
    await giveTurn();
  }
  for (const { secret } of [...opening.survivors, ...opening.vanished]) secret.fill(0);
  return sum;
}

function giveTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
