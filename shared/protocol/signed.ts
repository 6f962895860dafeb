/**
 * Messages that the coordinator signs: the frame is `{ body, signature }`, the body canonical bytes. The signature's type is the kind of the
 * message, so that no message passes as one of another kind.
 */
import * as z from 'zod/mini';
import type { Result } from '../core/result.ts';
import { refuse } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import type { SignatureType } from '../crypto/signature-input.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical, encodeCanonical, type Format } from './canonical.ts';
import { decodeMessage, encodeMessage } from './codec.ts';
import { type Violation, violation } from './violations.ts';

const signedSchema = z.strictObject({ body: z.instanceof(Uint8Array), signature: z.instanceof(Uint8Array) });

/** The frame of a signed message. */
export function sealSigned<Body>(
  identity: Identity,
  type: SignatureType,
  format: Format<Body>,
  value: Body,
): Uint8Array {
  const body = encodeCanonical(format, value);
  return encodeMessage({ body, signature: identity.sign(type, body) });
}

/** The body of a signed message, once its signature is checked: else `bad-frame` or `wrong-signature`. */
export function openSigned<Body>(
  publicKey: Uint8Array,
  type: SignatureType,
  format: Format<Body>,
  frame: Uint8Array,
): Result<Body, Violation> {
  const decoded = decodeMessage(signedSchema, frame);
  if (!decoded.ok) return decoded;
  const { body, signature } = decoded.value;
  if (!verifyStrict(publicKey, type, body, signature)) {
    return refuse(violation('wrong-signature', `${type} is not signed by the expected key`));
  }
  return decodeCanonical(format, body, type);
}
