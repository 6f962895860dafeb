/**
 * The part `quarantine` of a plan: when a client is set aside. It is marked in a round in which an update of it is refused, in which it provably
 * breaks the protocol of masks, or in which its update is much longer than those of the others; with so many marked rounds among its latest it is
 * asked no more, until an operator releases it.
 *
 * It does not find who keeps within the rules: a mark says that something was refused, not that somebody meant it.
 */
import * as z from 'zod/mini';
import { numberField, sectionField, wholeField } from './fields.ts';

/** When a client is set aside. */
export interface Quarantine {
  /** Marked rounds with which a client is set aside; 0 never sets anybody aside. */
  readonly marks: number;
  /** Round numbers back to which marks count. */
  readonly rounds: number;
  /** Where updates are readable: an update longer than so many times the median length of its round is a mark. */
  readonly lengthFactor?: number | undefined;
}

/** The section as a schema. */
export const quarantineSchema = sectionField({
  marks: z._default(wholeField(0, 1000), 3),
  rounds: z._default(wholeField(1, 100_000), 10),
  lengthFactor: z.optional(numberField({ above: 1, atMost: 1e6 })),
});
