/** Who is asked to take part in a round: a seeded uniform sample without replacement, the same on every machine. */
import type { ClientId } from '../../shared/core/ids.ts';
import { seededRandom } from '../../shared/core/random.ts';

/**
 * Puts `clients` into the order in which round `roundIndex` asks them; the first `cohortSize` are the cohort, the rest its reserve. Does not
 * depend on the order of `clients`. The seed is public, so this is fair but not unpredictable: it hides nobody.
 */
export function samplingOrder(
  clients: readonly ClientId[],
  options: { readonly seed: number; readonly roundIndex: number },
): ClientId[] {
  return seededRandom(options.seed, 'cohort', options.roundIndex).shuffle([...clients].sort());
}
