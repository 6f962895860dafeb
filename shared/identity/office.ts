/** What an administrator of a consortium signs, as functions of documents: pure, with keys, time and chance as arguments. */
import { equalBytes, toHex } from '../core/bytes.ts';
import { UsageError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import type { Entropy } from '../core/ports.ts';
import { clientIdOf, fingerprint, type Identity } from '../crypto/identity.ts';
import type { SignatureType } from '../crypto/signature-input.ts';
import { isSoundPublicKey } from '../crypto/verify.ts';
import { decodeCanonical } from '../protocol/canonical.ts';
import { describe } from '../protocol/violations.ts';
import { encodeCertificate, encodeMember, judgeMember, readCertificate, rotationOverlapMs } from './certificate.ts';
import {
  addSignature,
  type Consortium,
  consortiumFingerprint,
  consortiumHashOf,
  countersignedFormat,
  countSignatures,
  decodeConsortium,
  encodeCountersigned,
} from './consortium.ts';
import { type DocumentKind, requestFormat } from './documents.ts';
import type { Serial } from './formats.ts';
import { encodeApproval } from './plan-approval.ts';
import { encodeRevocations, type Revocations, readRevocations } from './revocations.ts';

/** A document by its bytes. */
export interface IdentityDocument {
  readonly kind: DocumentKind;
  readonly bytes: Uint8Array;
}

/** Who signs, when. */
export interface OfficePorts {
  readonly consortium: Consortium;
  readonly identity: Identity;
  readonly nowMs: number;
  readonly entropy: Entropy;
}

const dayMs = 24 * 3_600_000;

const countersignedTypes = { revocations: 'REVOCATIONS', 'plan-approval': 'PLAN' } as const satisfies Partial<
  Record<DocumentKind, SignatureType>
>;

/** The document with a signature of `identity`. A request becomes a certificate, if its key has the fingerprint that the site read out. @throws UsageError. */
export function signDocument(
  { kind, bytes }: IdentityDocument,
  ports: OfficePorts & { readonly fingerprint: string | undefined; readonly days: number },
): IdentityDocument {
  const { identity } = ports;
  requireOwnKey(ports);
  switch (kind) {
    case 'request':
      return signRequest(bytes, ports);
    case 'certificate': {
      const read = readCertificate(bytes);
      if (!read.ok) throw unusable(read.error.detail);
      const { certificate, member } = read.value;
      requireOwn(member.consortium, ports);
      const signatures = addSignature(identity, 'MEMBER', {
        body: certificate.member,
        signatures: certificate.signatures,
      });
      return { kind, bytes: encodeCertificate({ ...certificate, signatures }) };
    }
    case 'revocations':
    case 'plan-approval': {
      const opened = decodeCanonical(countersignedFormat, bytes, kind);
      if (!opened.ok) throw unusable(opened.error.detail);
      const { body } = opened.value;
      // Both bodies begin with the hash of their consortium.
      requireOwn(toHex(body.subarray(0, 32)) as Digest, ports);
      const signatures = addSignature(identity, countersignedTypes[kind], opened.value);
      return { kind, bytes: encodeCountersigned({ body, signatures }) };
    }
    case 'consortium':
    case 'withdrawal':
      throw unusable(`nobody signs a ${kind}`);
    default:
      return kind satisfies never;
  }
}

const unusable = (detail: string) => new UsageError('bad-document', `this document cannot be signed: ${detail}`);

function requireOwn(found: Digest, { consortium }: OfficePorts): void {
  if (found !== consortiumHashOf(consortium)) throw unusable(`it is of another consortium than "${consortium.name}"`);
}

function requireOwnKey({ consortium, identity }: OfficePorts): void {
  if (consortium.keys.some((key) => equalBytes(key, identity.publicKey))) return;
  throw new UsageError(
    'foreign-key',
    `the key ${toHex(identity.publicKey)} is none of the consortium "${consortium.name}"`,
  );
}

function signRequest(
  bytes: Uint8Array,
  ports: OfficePorts & { readonly fingerprint: string | undefined; readonly days: number },
): IdentityDocument {
  const { consortium, identity, nowMs, entropy, days } = ports;
  const request = decodeCanonical(requestFormat, bytes, 'request');
  if (!request.ok) throw unusable(request.error.detail);
  const { publicKey, organisation } = request.value;
  if (!isSoundPublicKey(publicKey)) throw unusable('its key is no sound Ed25519 key');
  const plain = (text: string): string => text.replaceAll(/[\s-]/g, '').toUpperCase();
  const next = 'call the site, and give what it reads out as --fingerprint';
  if (ports.fingerprint === undefined)
    throw new UsageError(
      'missing-fingerprint',
      `only the site can say which key the request of "${organisation}" has to be of: ${next}`,
    );
  if (plain(ports.fingerprint) !== plain(fingerprint(publicKey)))
    throw new UsageError(
      'wrong-fingerprint',
      `the request of "${organisation}" is of another key than --fingerprint; ${next}, and do not sign while they differ`,
    );
  const member = encodeMember({
    consortium: consortiumHashOf(consortium),
    clientId: clientIdOf(publicKey),
    publicKey,
    organisation,
    // An hour earlier, because clocks differ.
    notBeforeMs: nowMs - 3_600_000,
    notAfterMs: nowMs - 3_600_000 + days * dayMs,
    serial: toHex(entropy.bytes(16)) as Serial,
    epoch: 0,
  });
  const signatures = addSignature(identity, 'MEMBER', { body: member, signatures: [] });
  return { kind: 'certificate', bytes: encodeCertificate({ member, signatures, rotation: null }) };
}

/** The approval of a plan with the first signature. */
export function signPlan(planHash: Digest, ports: OfficePorts): IdentityDocument {
  requireOwnKey(ports);
  const body = encodeApproval(ports.consortium, planHash);
  const signatures = addSignature(ports.identity, 'PLAN', { body, signatures: [] });
  return { kind: 'plan-approval', bytes: encodeCountersigned({ body, signatures }) };
}

/** The list after `last` with these certificates on it, signed once. @throws UsageError. */
export function revokeSerials(
  certificates: readonly IdentityDocument[],
  ports: OfficePorts & { readonly last: IdentityDocument | null; readonly isRotated: boolean },
): IdentityDocument {
  const { consortium, identity, nowMs, last, isRotated } = ports;
  requireOwnKey(ports);
  const before = last === null ? null : listOf(last);
  if (before !== null) requireOwn(before.consortium, ports);
  const fromMs = isRotated ? nowMs + rotationOverlapMs : nowMs;
  const revoked = new Map(before?.revoked.map((one) => [one.serial, one.fromMs]));
  for (const certificate of certificates) {
    const read = readCertificate(certificate.bytes);
    if (certificate.kind !== 'certificate' || !read.ok) throw unusable('only certificates are revoked');
    const { serial, consortium: signer } = read.value.member;
    requireOwn(signer, ports);
    revoked.set(serial, Math.min(fromMs, revoked.get(serial) ?? fromMs));
  }
  const body = encodeRevocations({
    consortium: consortiumHashOf(consortium),
    number: (before?.number ?? 0) + 1,
    issuedMs: nowMs,
    revoked: [...revoked]
      .map(([serial, from]) => ({ serial, fromMs: from }))
      .sort((a, b) => (a.serial < b.serial ? -1 : 1)),
  });
  const signatures = addSignature(identity, 'REVOCATIONS', { body, signatures: [] });
  return { kind: 'revocations', bytes: encodeCountersigned({ body, signatures }) };
}

function listOf({ kind, bytes }: IdentityDocument): Revocations {
  const opened = decodeCanonical(countersignedFormat, bytes, kind);
  const list = kind === 'revocations' && opened.ok ? readRevocations(opened.value.body) : null;
  if (list?.ok) return list.value;
  throw unusable('--list must name the last list of revocations');
}

/** What a document says, for people and for `about` of its file. `consortium` null: signatures are not judged. */
export function describeDocument(
  { kind, bytes }: IdentityDocument,
  consortium: Consortium | null,
  nowMs: number,
): Readonly<Record<string, unknown>> {
  const broken = { kind, fault: 'it cannot be read' };
  const signed = (
    type: SignatureType,
    body: Uint8Array,
    signatures: Parameters<typeof countSignatures>[2]['signatures'],
  ) =>
    consortium === null
      ? { signatures: signatures.length }
      : {
          signatures: `${countSignatures(consortium, type, { body, signatures })} of ${consortium.threshold} that are needed`,
        };
  switch (kind) {
    case 'consortium': {
      const opened = decodeConsortium(bytes);
      if (!opened.ok) return broken;
      const { name, threshold, keys } = opened.value;
      return { kind, name, threshold, keys: keys.map(toHex), fingerprint: consortiumFingerprint(opened.value) };
    }
    case 'request': {
      const request = decodeCanonical(requestFormat, bytes, kind);
      if (!request.ok) return broken;
      const { publicKey, organisation } = request.value;
      return { kind, organisation, clientId: clientIdOf(publicKey), fingerprint: fingerprint(publicKey) };
    }
    case 'certificate': {
      const read = readCertificate(bytes);
      if (!read.ok) return broken;
      const { certificate, member } = read.value;
      const judged = consortium === null ? null : judgeMember(bytes, { consortium, revocations: null, nowMs });
      return {
        kind,
        organisation: member.organisation,
        clientId: member.clientId,
        fingerprint: fingerprint(member.publicKey),
        serial: member.serial,
        epoch: member.epoch,
        from: new Date(member.notBeforeMs).toISOString(),
        to: new Date(member.notAfterMs).toISOString(),
        ...(certificate.rotation === null
          ? signed('MEMBER', certificate.member, certificate.signatures)
          : { signatures: `${certificate.signatures.length}; one is enough beside that of the key that is replaced` }),
        ...(judged === null ? {} : { verdict: judged.ok ? 'good' : describe(judged.error) }),
      };
    }
    case 'revocations': {
      const opened = decodeCanonical(countersignedFormat, bytes, kind);
      const list = opened.ok ? readRevocations(opened.value.body) : opened;
      if (!opened.ok || !list.ok) return broken;
      const { number, issuedMs, revoked } = list.value;
      const { body, signatures } = opened.value;
      const serials = revoked.map(({ serial }) => serial);
      return {
        kind,
        number,
        issued: new Date(issuedMs).toISOString(),
        revoked: serials,
        ...signed('REVOCATIONS', body, signatures),
      };
    }
    case 'plan-approval': {
      const opened = decodeCanonical(countersignedFormat, bytes, kind);
      if (!opened.ok) return broken;
      const { body, signatures } = opened.value;
      return { kind, planHash: toHex(body.subarray(32)), ...signed('PLAN', body, signatures) };
    }
    case 'withdrawal':
      return { kind };
    default:
      return kind satisfies never;
  }
}
