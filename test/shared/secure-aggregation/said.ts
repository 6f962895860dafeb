/** Everything that is said and computed in a masked round of four, one of whom is lost after it dealt shares, as one hash. */
import { bytesOf, concatBytes } from '../../../shared/core/bytes.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { runCohort } from './cohort.ts';

/** The hash. */
export function said(): string {
  const { sent, masked, sum } = runCohort({ clientCount: 4, vanishing: new Map([[2, 'MASKED']]) });
  const messages = sent.flatMap((event) => ('body' in event ? [event.body, event.signature] : []));
  const vectors = [...masked.values(), sum!].map(({ coordinates, tail }) =>
    concatBytes(bytesOf(coordinates as Uint32Array), bytesOf(tail)),
  );
  return digestOf(...messages, ...vectors);
}
