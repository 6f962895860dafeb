/** Which readable updates of a round are much longer than the others: what the plan's quarantine takes for a mark. */
import { float32Of } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { UpdateRecord } from '../store/store.ts';

/** Fewest updates of which a median says something. */
const updatesMin = 3;

/** Clients whose update is longer than `factor` times the median length. Reads every update once. @throws StoreError. */
export async function longUpdates(
  updates: readonly UpdateRecord[],
  factor: number,
  blobs: Pick<CoordinatorBlobs, 'scan'>,
): Promise<ClientId[]> {
  if (updates.length < updatesMin) return [];
  const lengths: number[] = [];
  for (const { delta } of updates) {
    let squares = 0;
    await blobs.scan(delta, (part) => {
      const values = float32Of(part);
      for (let index = 0; index < values.length; index++) squares += values[index]! ** 2;
    });
    lengths.push(Math.sqrt(squares));
  }
  // The lower of two middle ones: half of the clients do not decide what is long.
  const median = lengths.toSorted((left, right) => left - right)[(lengths.length - 1) >> 1]!;
  return updates.filter((_, index) => lengths[index]! > factor * median).map(({ clientId }) => clientId);
}
