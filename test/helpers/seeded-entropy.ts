/** Entropy for tests that must be repeatable. */
import type { Entropy } from '../../shared/core/ports.ts';
import { seededRandom } from '../../shared/core/random.ts';

/** The same bytes for the same seed: never for anything but tests. */
export function seededEntropy(seed: number): Entropy {
  const random = seededRandom(seed, 'entropy');
  return { bytes: (count) => Uint8Array.from({ length: count }, () => random.integer(256)) };
}
