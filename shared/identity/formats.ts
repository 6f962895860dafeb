/** Formats of identity documents beside those of the protocol. */
import { identifier } from '../protocol/canonical.ts';

export { clientId, digest, maybe, structure, text } from '../protocol/canonical-compound.ts';

declare const brand: unique symbol;
/** Number of a certificate: 32 hex digits, drawn at random. */
export type Serial = string & { readonly [brand]: 'Serial' };

/** A serial number. */
export const identifierOfSerial = identifier<Serial>(16);
