/** Invites: one-time enrolment codes, and the approval of clients that came with a manual one. */

import { fromHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { inviteLifetimeHours } from '../../shared/core/limits.ts';
import type { Clock, Entropy } from '../../shared/core/ports.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import { consortiumFingerprint, consortiumHashOf, decodeConsortium } from '../../shared/identity/consortium.ts';
import { formatEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { nonceBytes } from '../../shared/protocol/handshake.ts';
import { type Violation, violation } from '../../shared/protocol/violations.ts';
import type { ClientRecord, CoordinatorStore, FederationRecord } from '../store/store.ts';

/** What an invite is for. */
export interface InviteRequest {
  /** Who is invited, for people: 1 to 200 characters. */
  readonly organisation: string;
  /** `manual`: the operator also compares the client's fingerprint before it may connect. */
  readonly approval: 'automatic' | 'manual';
  /** Address of the coordinator as the client reaches it. */
  readonly url: string;
}

/** An invite that was made. */
export interface CreatedInvite {
  readonly code: string;
  readonly expiresMs: number;
  /** `manual` wherever a consortium decides. */
  readonly approval: InviteRequest['approval'];
  /** Fingerprint of the consortium that the code pins, or null. */
  readonly consortium: string | null;
}

/** Makes an invite and returns its code, which is shown once: only the hash of its token is stored. */
export async function createInvite(
  request: InviteRequest,
  ports: {
    readonly store: CoordinatorStore;
    readonly identity: Identity;
    readonly record: FederationRecord;
    readonly clock: Clock;
    readonly entropy: Entropy;
  },
): Promise<CreatedInvite> {
  const { organisation, url } = request;
  const { store, identity, record, clock, entropy } = ports;
  const token = entropy.bytes(nonceBytes);
  const expiresMs = clock.nowMs() + inviteLifetimeHours * 3_600_000;
  const known = await store.documents.get('consortium');
  const decoded = known === null ? null : decodeConsortium(fromHex(known));
  const consortium = decoded?.ok ? consortiumHashOf(decoded.value) : null;
  // Where a consortium decides who is a member, a token alone lets nobody in.
  const approval = consortium === null ? request.approval : 'manual';
  await store.addInvite({ tokenHash: digestOf(token), organisation, approval, expiresMs, redeemedBy: null });
  const { federationId } = record;
  return {
    code: formatEnrolmentCode({ url, federationId, coordinatorKey: identity.publicKey, token, approval, consortium }),
    expiresMs,
    approval,
    consortium: decoded?.ok ? consortiumFingerprint(decoded.value) : null,
  };
}

/** What a client is told that was revoked. */
export function clientRevoked(): Violation {
  return violation('revoked-client', 'the operator revoked this client, or its site withdrew');
}

/**
 * Approves the pending client with this fingerprint, as its operator read it out.
 * @throws UsageError `no-such-fingerprint` when no pending client has it.
 */
export async function approveFingerprint(store: CoordinatorStore, wanted: string): Promise<ClientRecord> {
  const client = await findClient(store, wanted, ['pending']);
  await store.approveClient(client.clientId);
  return { ...client, status: 'approved' };
}

/**
 * Revokes the client with this fingerprint: it is not let in again, and nothing that it says counts any more.
 * @throws UsageError `no-such-fingerprint` when no client has it that is not revoked yet.
 */
export async function revokeFingerprint(store: CoordinatorStore, wanted: string): Promise<ClientRecord> {
  const client = await findClient(store, wanted, ['pending', 'approved']);
  await store.revokeClient(client.clientId);
  return { ...client, status: 'revoked' };
}

async function findClient(
  store: CoordinatorStore,
  wanted: string,
  statuses: readonly ClientRecord['status'][],
): Promise<ClientRecord> {
  const plain = (text: string): string => text.replaceAll(/[\s-]/g, '').toUpperCase();
  const eligible = (await store.clients()).filter(({ status }) => statuses.includes(status));
  const client = eligible.find(({ publicKey }) => plain(fingerprint(fromHex(publicKey))) === plain(wanted));
  if (client !== undefined) return client;
  const next = 'compare all groups with the client, and see `tributary invite list`';
  throw new UsageError(
    'no-such-fingerprint',
    `none of the ${eligible.length} clients that are ${statuses.join(' or ')} has this fingerprint; ${next}`,
  );
}
