/**
 * Identifiers as branded strings of lower-case hex, each made by one parse function, so that a client id is never passed where a digest
 * is expected.
 */
import { FormatError } from './errors.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** SHA-256 of some bytes: 64 hex digits. */
export type Digest = Branded<'Digest'>;
/** Who holds data: SHA-256 of `"TRIB-ID"` and the client's Ed25519 public key, 64 hex digits. */
export type ClientId = Branded<'ClientId'>;
/** One base model, one plan and its rounds: 64 hex digits. */
export type FederationId = Branded<'FederationId'>;
/** One attempt of one round: 32 hex digits. */
export type SessionId = Branded<'SessionId'>;

function parseHex<Id extends string>(kind: string, digitCount: number) {
  const pattern = new RegExp(`^[0-9a-f]{${digitCount}}$`);
  return (text: string): Id => {
    if (!pattern.test(text)) {
      throw new FormatError(
        'bad-identifier',
        `${kind} must be ${digitCount} lower-case hex digits, found ${text.length} characters`,
      );
    }
    return text as Id;
  };
}

/** Parses a digest. @throws FormatError unless it is 64 lower-case hex digits. */
export const parseDigest = parseHex<Digest>('a digest', 64);
/** Parses a client id. @throws FormatError unless it is 64 lower-case hex digits. */
export const parseClientId = parseHex<ClientId>('a client id', 64);
/** Parses a federation id. @throws FormatError unless it is 64 lower-case hex digits. */
export const parseFederationId = parseHex<FederationId>('a federation id', 64);
/** Parses a session id. @throws FormatError unless it is 32 lower-case hex digits. */
export const parseSessionId = parseHex<SessionId>('a session id', 32);
