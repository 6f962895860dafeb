/** What a client counts in the mean of a round. */
import type { Weighting } from './federated-layout.ts';

/**
 * A client's weight in front of its vector; a client without examples counts nothing whatever the weighting. What sites put on top of it
 * (`given`, `quality`) they multiply in themselves.
 */
export function weightOf(weighting: Weighting, exampleCount: number): number {
  return weighting === 'examples' || weighting === 'quality' ? exampleCount : Math.min(exampleCount, 1);
}
