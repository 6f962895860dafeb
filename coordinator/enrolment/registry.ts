/**
 * The coordinator as keeper of what a consortium signed: takes documents in, shows them to clients, and holds clients to them at the door. Without
 * a consortium it vouches for clients itself, and then clients must trust it not to invent any.
 */
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { Clock, Entropy } from '../../shared/core/ports.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { type CertificateFacts, judgeMember, readCertificate } from '../../shared/identity/certificate.ts';
import {
  type Consortium,
  consortiumFingerprint,
  consortiumHashOf,
  decodeConsortium,
} from '../../shared/identity/consortium.ts';
import type { IdentityDocument } from '../../shared/identity/office.ts';
import { judgeApproval } from '../../shared/identity/plan-approval.ts';
import { openRevocations, type Revocations } from '../../shared/identity/revocations.ts';
import { describe, type Violation, violation } from '../../shared/protocol/violations.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { ClientRecord, CoordinatorStore } from '../store/store.ts';
import { approvalTaken, certificateTaken, consortiumTaken, revocationsTaken } from './document-happenings.ts';
import { keepRotation } from './rotated-keys.ts';

/** What clients are shown; bytes of what is there. */
export interface ShownDocuments {
  readonly consortium: Uint8Array | null;
  readonly revocations: Uint8Array | null;
  readonly approval: Uint8Array | null;
  readonly certificate: Uint8Array | null;
}

/** The keeper. */
export interface Registry {
  /** What certificates are judged by, as of the last time that somebody asked; null without a consortium. */
  readonly facts: () => CertificateFacts | null;
  /** Who says that a client is one, in words. */
  describe(): Promise<string>;
  /** Why the client may not come in, or null. */
  judge(clientId: ClientId): Promise<Violation | null>;
  /** What the client is shown. */
  shown(clientId: ClientId): Promise<ShownDocuments>;
  /** Takes a document in, if it is good: what it was, in words. @throws UsageError `bad-document`, `other-consortium`, `unknown-client`, `wrong-organisation`. */
  take(document: IdentityDocument): Promise<string>;
}

/** What a registry works with. */
export interface RegistryPorts {
  readonly store: CoordinatorStore;
  readonly log: AuditLog;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** Milliseconds for which a verdict holds while no document changes: certificates and revocations begin and end by the clock. */
const verdictMs = 1_000;

/** A registry over the documents of a store. */
export function createRegistry({ store, log, clock, entropy }: RegistryPorts): Registry {
  const { documents } = store;
  const bytesOf = async (name: Parameters<typeof documents.get>[0]): Promise<Uint8Array | null> => {
    const hex = await documents.get(name);
    return hex === null ? null : fromHex(hex);
  };
  const consortium = async (): Promise<Consortium | null> => {
    const bytes = await bytesOf('consortium');
    const decoded = bytes === null ? null : decodeConsortium(bytes);
    return decoded?.ok ? decoded.value : null;
  };
  const revocationsOf = async (signer: Consortium): Promise<Revocations | null> => {
    const bytes = await bytesOf('revocations');
    const list = bytes === null ? null : openRevocations(signer, bytes);
    return list?.ok ? list.value : null;
  };
  let newest: Omit<CertificateFacts, 'nowMs'> | null = null;
  /** The facts as they are now; kept for those who cannot wait. */
  const refresh = async (): Promise<CertificateFacts | null> => {
    const signer = await consortium();
    newest = signer === null ? null : { consortium: signer, revocations: await revocationsOf(signer) };
    return newest === null ? null : { ...newest, nowMs: clock.nowMs() };
  };
  const required = async (): Promise<Consortium> => {
    const found = await consortium();
    if (found !== null) return found;
    throw new UsageError('no-consortium', 'this federation has no consortium yet: take its consortium.json in first');
  };
  const refuse = (detail: string) => new UsageError('bad-document', `the document was not taken: ${detail}`);

  const takeConsortium = async (bytes: Uint8Array): Promise<string> => {
    const decoded = decodeConsortium(bytes);
    if (!decoded.ok) throw refuse(describe(decoded.error));
    const known = await bytesOf('consortium');
    if (known !== null && toHex(known) !== toHex(bytes))
      throw new UsageError('other-consortium', 'this federation has another consortium, which its sites have pinned');
    if (known === null && (await store.clients()).length > 0) {
      const why = 'clients are enrolled already, and have pinned none';
      throw new UsageError('other-consortium', `a consortium is set before the first client enrols: ${why}`);
    }
    await documents.put('consortium', toHex(bytes));
    await log.record(consortiumTaken(consortiumHashOf(decoded.value)));
    return `consortium "${decoded.value.name}"`;
  };
  const takeCertificate = async (bytes: Uint8Array): Promise<string> => {
    const signer = await required();
    const facts = { consortium: signer, revocations: await revocationsOf(signer), nowMs: clock.nowMs() };
    const judged = judgeMember(bytes, facts);
    if (!judged.ok) throw refuse(describe(judged.error));
    const { clientId, organisation } = judged.value;
    const invited = (await store.client(clientId)) ?? (await enrolSuccessor(bytes));
    if (invited.organisation !== organisation)
      throw new UsageError(
        'wrong-organisation',
        `the certificate of ${clientId.slice(0, 8)} names the organisation "${organisation}", its invite names "${invited.organisation}": have the request that "tributary invite requests" writes signed, or invite the site anew`,
      );
    await documents.put(`certificate/${clientId}`, toHex(bytes));
    await keepRotation(store, clientId, bytes);
    await store.approveClient(clientId);
    await log.record(certificateTaken(judged.value));
    return `certificate of ${clientId.slice(0, 8)} of "${organisation}"`;
  };
  /** A rotated key is a client of its own; it takes the place of the one that signed for it. */
  const enrolSuccessor = async (bytes: Uint8Array): Promise<ClientRecord> => {
    const read = readCertificate(bytes);
    const rotation = read.ok ? read.value.certificate.rotation : null;
    const previous = rotation === null ? null : readCertificate(rotation.previous);
    const old = previous?.ok ? await store.client(previous.value.member.clientId) : null;
    if (!read.ok || old === null || old.status === 'revoked')
      throw new UsageError(
        'unknown-client',
        'nobody is enrolled with the key of this certificate, nor with the one that it replaces',
      );
    const { clientId, publicKey } = read.value.member;
    const tokenHash = digestOf(entropy.bytes(32));
    const nowMs = clock.nowMs();
    const { organisation, name } = old;
    await store.addInvite({ tokenHash, organisation, approval: 'automatic', expiresMs: nowMs + 1, redeemedBy: null });
    await store.redeemInvite(tokenHash, { clientId, publicKey: toHex(publicKey), name, enrolledMs: nowMs }, nowMs);
    return old;
  };
  const takeRevocations = async (bytes: Uint8Array): Promise<string> => {
    const signer = await required();
    const list = openRevocations(signer, bytes);
    if (!list.ok) throw refuse(describe(list.error));
    const { number, revoked } = list.value;
    const before = await revocationsOf(signer);
    if (before !== null && number <= before.number)
      throw refuse(`list ${number} of revocations is not newer than list ${before.number}`);
    await documents.put('revocations', toHex(bytes));
    await log.record(revocationsTaken(list.value, bytes));
    return `list ${number} of revocations with ${revoked.length} certificates`;
  };
  const takeApproval = async (bytes: Uint8Array): Promise<string> => {
    const signer = await required();
    const record = await store.federation();
    const fault = record === null ? null : judgeApproval(signer, record.planHash, bytes);
    if (record === null || fault !== null)
      throw refuse(fault === null ? 'there is no federation yet' : describe(fault));
    const { planHash } = record;
    await documents.put('plan-approval', toHex(bytes));
    await log.record(approvalTaken(planHash));
    return `approval of plan ${planHash}`;
  };

  /** What was found last of those who ask with every message: signatures are verified again only where something changed, or time may have. */
  const verdicts = new Map<
    ClientId,
    { readonly signed: readonly (string | null)[]; readonly judgedMs: number; readonly found: Violation | null }
  >();
  const judgeAnew = async (clientId: ClientId): Promise<Violation | null> => {
    const facts = await refresh();
    if (facts === null) return null;
    const bytes = await bytesOf(`certificate/${clientId}`);
    if (bytes === null)
      return violation(
        'pending-client',
        'an administrator of the consortium has to compare the fingerprint of this client and sign its certificate',
      );
    const judged = judgeMember(bytes, facts);
    return judged.ok ? null : judged.error;
  };

  return {
    facts: () => (newest === null ? null : { ...newest, nowMs: clock.nowMs() }),
    describe: async () => {
      const signer = await consortium();
      return signer === null
        ? 'this coordinator vouches for the keys of clients itself: masks hold against an honest-but-curious coordinator'
        : `members are certified by the consortium "${signer.name}", fingerprint ${consortiumFingerprint(signer)}`;
    },
    judge: async (clientId) => {
      const signed = await Promise.all(
        (['consortium', 'revocations', `certificate/${clientId}`] as const).map((name) => documents.get(name)),
      );
      const nowMs = clock.nowMs();
      const last = verdicts.get(clientId);
      const isFresh = last !== undefined && Math.abs(nowMs - last.judgedMs) < verdictMs;
      if (isFresh && last.signed.every((hex, index) => hex === signed[index])) return last.found;
      const found = await judgeAnew(clientId);
      verdicts.set(clientId, { signed, judgedMs: nowMs, found });
      return found;
    },
    shown: async (clientId) => {
      await refresh();
      return {
        consortium: await bytesOf('consortium'),
        revocations: await bytesOf('revocations'),
        approval: await bytesOf('plan-approval'),
        certificate: await bytesOf(`certificate/${clientId}`),
      };
    },
    take: ({ kind, bytes }) => {
      switch (kind) {
        case 'consortium':
          return takeConsortium(bytes);
        case 'certificate':
          return takeCertificate(bytes);
        case 'revocations':
          return takeRevocations(bytes);
        case 'plan-approval':
          return takeApproval(bytes);
        case 'request':
        case 'withdrawal':
          throw refuse(`a ${kind} is not for the coordinator`);
        default:
          return kind satisfies never;
      }
    },
  };
}
