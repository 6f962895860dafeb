/**
 * The sum of masked vectors and the masks that are taken off it, in threads where the vector is worth it. Vectors are added one durable blob after
 * the other, so that memory is one vector, and one that the threads share, however many clients there are.
 */
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import type { GroupOpening } from '../../shared/secure-aggregation/grouped-server.ts';
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import { maskThreads } from '../../shared/secure-aggregation/mask-threads.node.ts';
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
  try {
    const sum = zeroMaskedVector(shape);
    for (const root of roots) await blobs.scan(root, vectorAdder(sum));
    await maskThreads.apply(sum, masksToRemove(opening), suite);
    return sum;
  } finally {
    for (const { secret } of [...opening.survivors, ...opening.vanished]) secret.fill(0);
  }
}

/** A sum that can be opened, once. */
export interface OpenableSum {
  /** Index of its group; 0 in a complete graph. */
  readonly group: number;
  /** Sorted. */
  readonly contributors: readonly ClientId[];
  /** Adds the vectors up and takes the masks off. Memory: one vector. @throws StoreError when a vector is missing or damaged. */
  open(): Promise<MaskedVector>;
}

/** The sums of these groups; `rootOf` names the vector of a client. */
export function openableSums(
  openings: readonly GroupOpening[],
  { rootOf, ...source }: Omit<SumSource, 'roots' | 'opening'> & { readonly rootOf: (clientId: ClientId) => Digest },
): OpenableSum[] {
  return openings.map(({ group, opening }) => {
    const summed = opening.survivors.map(({ place }) => opening.members.members[place]!.clientId);
    const open = () => openSum({ ...source, roots: summed.map(rootOf), opening });
    return { group, contributors: [...summed].sort(), open };
  });
}
