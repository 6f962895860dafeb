/**
 * What an Ed25519 signature covers: `"TRIB-SIG-v1\0" ‖ u8 length ‖ type ‖ SHA-256(body)`. The type separates domains: a signature of one
 * kind of message never passes as one of another kind. Bodies are hashed first, so that a large body costs one fast SHA-256.
 */
import { assert } from '../core/assert.ts';
import { concatBytes, utf8 } from '../core/bytes.ts';
import { sha256 } from './hash.ts';

/** Everything that is signed, by the name that its signature binds. */
export const signatureTypes = [
  'CHALLENGE',
  'ENROL',
  'AUTH',
  'WELCOME',
  'OFFER',
  'ACCEPT',
  'DECLINE',
  'UPDATE',
  'EVALUATE',
  'EVALUATION',
  'RESULT',
  'VOID',
  'VERSION',
  'CANARY',
  'CHECKPOINT',
  'MEMBER',
  'ROTATE',
  'REVOCATIONS',
  'PLAN',
  'WITHDRAW',
  'ADVERT',
  'DRAW',
  'SHARES',
  'MASKED',
  'AGREE',
  'UNMASK',
  'READY',
  'STAGE',
  'VOUCHER',
] as const;
/** Kind of a signed message. */
export type SignatureType = (typeof signatureTypes)[number];

const prefix = utf8('TRIB-SIG-v1\0');

/** The bytes that are signed for a body of the given type, at most 64 bytes. */
export function signatureInput(type: string, body: Uint8Array): Uint8Array {
  const name = utf8(type);
  assert(
    name.length > 0 && name.length === type.length && name.length <= 20,
    'a signature type is 1 to 20 ASCII characters',
  );
  return concatBytes(prefix, Uint8Array.of(name.length), name, sha256(body));
}
