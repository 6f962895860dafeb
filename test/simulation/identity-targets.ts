/** Decoders of identities: what a consortium signs, what coordinators vouch for, files of documents, codes of enrolment. */
import { openBox, sealBox } from '../../shared/crypto/secret-box.ts';
import { verifyStrict } from '../../shared/crypto/verify.ts';
import { encodeCertificate, encodeMember, judgeMember, readCertificate } from '../../shared/identity/certificate.ts';
import {
  addSignature,
  consortiumHashOf,
  decodeConsortium,
  encodeConsortium,
  encodeCountersigned,
} from '../../shared/identity/consortium.ts';
import { readDocument, requestFormat, writeDocument } from '../../shared/identity/documents.ts';
import type { Serial } from '../../shared/identity/formats.ts';
import { encodeApproval, judgeApproval } from '../../shared/identity/plan-approval.ts';
import { encodeRevocations, openRevocations, readRevocations } from '../../shared/identity/revocations.ts';
import { encodeCanonical } from '../../shared/protocol/canonical.ts';
import { formatEnrolmentCode, parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { judgeVouchers, vouchFor } from '../../shared/secure-aggregation/voucher.ts';
import {
  type ByteTarget,
  canonicalTarget,
  someFederation as federationId,
  someDigest as planHash,
  signer,
  textTarget,
} from './fuzz-target.ts';

const { publicKey, clientId } = signer;
const consortium = { name: 'Hospitals', threshold: 1, keys: [publicKey] };
const serial = 'a1'.repeat(16) as Serial;

/** Something that the consortium signed: as it is, and with its body changed and signed again. */
function countersignedTargets(
  name: string,
  type: 'REVOCATIONS' | 'PLAN',
  body: Uint8Array,
  open: ByteTarget['decode'],
): ByteTarget[] {
  const sign = (bytes: Uint8Array): Uint8Array =>
    encodeCountersigned({ body: bytes, signatures: addSignature(signer, type, { body: bytes, signatures: [] }) });
  return [
    { name: `${name} with signatures`, samples: [sign(body)], decode: open },
    { name, samples: [body], decode: (bytes) => open(sign(bytes)) },
  ];
}

/** Every target. */
export function identityTargets(): ByteTarget[] {
  const hash = consortiumHashOf(consortium);
  const member = encodeMember({
    ...{
      consortium: hash,
      clientId,
      publicKey,
      organisation: 'Clinic',
      notBeforeMs: 1,
      notAfterMs: 9,
      serial,
      epoch: 0,
    },
  });
  const certify = (body: Uint8Array): Uint8Array =>
    encodeCertificate({
      member: body,
      signatures: addSignature(signer, 'MEMBER', { body, signatures: [] }),
      rotation: null,
    });
  const rotated = encodeCertificate({
    member,
    signatures: addSignature(signer, 'MEMBER', { body: member, signatures: [] }),
    rotation: { previous: certify(member), signature: signer.sign('ROTATE', member) },
  });
  const revocations = encodeRevocations({
    ...{ consortium: hash, number: 1, issuedMs: 5, revoked: [{ serial, fromMs: 5 }] },
  });
  const code = formatEnrolmentCode({
    ...{ url: 'https://example.org', federationId, coordinatorKey: publicKey, token: new Uint8Array(32).fill(3) },
    ...{ approval: 'automatic', consortium: hash },
  });
  const request = encodeCanonical(requestFormat, { publicKey, organisation: 'Clinic' });
  const facts = { consortium, revocations: null, nowMs: 5 };
  const judgeVoucher = judgeVouchers(publicKey, federationId);
  const voucher = vouchFor(signer, { federationId, clientId, organisation: 'Clinic' });
  const key = new Uint8Array(32).fill(5);
  const body = new Uint8Array(40).fill(1);
  return [
    { name: 'certificate', samples: [certify(member), rotated], decode: readCertificate },
    { name: 'certificate, judged', samples: [certify(member), rotated], decode: (bytes) => judgeMember(bytes, facts) },
    { name: 'member', samples: [member], decode: (bytes) => judgeMember(certify(bytes), facts) },
    { name: 'list of revocations', samples: [revocations], decode: readRevocations },
    ...countersignedTargets('revocations', 'REVOCATIONS', revocations, (bytes) => openRevocations(consortium, bytes)),
    ...countersignedTargets('approval of a plan', 'PLAN', encodeApproval(consortium, planHash), (bytes) =>
      judgeApproval(consortium, planHash, bytes),
    ),
    { name: 'consortium', samples: [encodeConsortium(consortium)], decode: decodeConsortium },
    canonicalTarget('request', requestFormat, [request]),
    { name: 'voucher', samples: [voucher], decode: (bytes) => judgeVoucher(bytes, publicKey) },
    textTarget(
      'document of identity',
      [writeDocument('consortium', encodeConsortium(consortium), { name: 'Hospitals' })],
      (text) => readDocument(text, 'fuzz'),
    ),
    textTarget('enrolment code', [code], parseEnrolmentCode),
    { name: 'secret box', samples: [sealBox(key, body)], decode: (bytes) => openBox(key, bytes) },
    {
      name: 'signature',
      samples: [signer.sign('VOID', body)],
      decode: (signature) => verifyStrict(publicKey, 'VOID', body, signature),
    },
    { name: 'public key', samples: [publicKey], decode: (bytes) => verifyStrict(bytes, 'VOID', body, body) },
  ];
}
