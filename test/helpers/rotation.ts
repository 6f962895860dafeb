/** A certificate by which one key takes the place of another, signed by that key alone. */
import type { Identity } from '../../shared/crypto/identity.ts';
import { encodeCertificate, encodeMember, signRotation } from '../../shared/identity/certificate.ts';

/** The certificate of `next` in place of `old`; `signer` is somebody else where the rotation is to be forged. */
export function rotationOf(old: Identity, next: Identity, signer: Identity = old): Uint8Array {
  const memberOf = ({ clientId, publicKey }: Identity, epoch: number): Uint8Array => {
    const serial = `0${epoch}`.repeat(16) as never;
    const facts = { organisation: 'Clinic', notBeforeMs: 0, notAfterMs: 1, serial, epoch };
    return encodeMember({ consortium: 'ab'.repeat(32) as never, clientId, publicKey, ...facts });
  };
  const previous = encodeCertificate({ member: memberOf(old, 0), signatures: [], rotation: null });
  const member = memberOf(next, 1);
  return encodeCertificate({ member, signatures: [], rotation: { previous, signature: signRotation(signer, member) } });
}
