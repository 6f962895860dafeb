/**
 * Who gets in: challenges, enrolment by one-time invite, and the judgement of every connection. The checks of bytes and signatures are pure
 * (`shared/protocol/handshake.ts`); here are the facts: which nonces were issued, who is enrolled, what time it is.
 *
 * An unknown, a used and an expired token get the same answer after the same work. Tokens are found by their SHA-256, so that the time of a
 * comparison says nothing about a token.
 */
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { challengeLifetimeMs } from '../../shared/core/limits.ts';
import type { Clock, Entropy } from '../../shared/core/ports.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { clientIdOf } from '../../shared/crypto/identity.ts';
import { openWithdrawal } from '../../shared/identity/withdrawal.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import {
  checkAuth,
  nonceBytes,
  openAuth,
  openEnrolment,
  sealChallenge,
  sealWelcome,
} from '../../shared/protocol/handshake.ts';
import type { FederationStatus } from '../../shared/protocol/messages.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import { roundsErasedFor } from '../audit/erasure.ts';
import { contributionsOf } from '../library/contributions.ts';
import { checkLineage } from '../library/lineage.ts';
import { phaseNamesOf } from '../library/places.ts';
import type { ClientRecord, CoordinatorStore, FederationRecord } from '../store/store.ts';
import type { HttpAnswer } from '../transport/transport.ts';
import { clientRevoked } from './invites.ts';
import { keysOfSite } from './rotated-keys.ts';

/** Challenges that may be open at once: 30 s of 300 connections a second. Beyond it the oldest is forgotten, and its client asks again. */
const openChallengesMax = 10_000;

/** A client that was just enrolled. */
export type EnrolledClient = ClientRecord & { readonly status: 'approved' | 'pending' };

/** What the gate works with. */
export interface GateOptions {
  readonly identity: Identity;
  readonly record: FederationRecord;
  readonly store: CoordinatorStore;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly status: () => FederationStatus;
  /** Why the consortium keeps a client out, or null. */
  readonly judgeMember: (clientId: ClientId) => Promise<Violation | null>;
  /** A client withdrew: for the log, and what is kept of it is erased. */
  readonly onWithdrawn: (clientId: ClientId) => Promise<void>;
  readonly onEnrolled: (client: EnrolledClient) => void;
  /** Somebody was turned away, or asked for something in a form that is wrong. */
  readonly onRejected: (clientId: ClientId | null, found: Violation) => void;
}

/** The door of a federation. */
export interface Gate {
  challenge(): Promise<HttpAnswer>;
  enrol(body: unknown): Promise<HttpAnswer>;
  /** Shuts a client out that asks for it; says where its updates are. */
  withdraw(body: unknown): Promise<HttpAnswer>;
  admit(auth: unknown): Promise<Result<{ readonly clientId: ClientId; readonly welcome: Uint8Array }, Violation>>;
}

/** A gate with no challenge open. */
export function createGate(options: GateOptions): Gate {
  const { identity, record, store, clock, entropy, onEnrolled, onRejected } = options;
  const { federationId } = record;
  /** Nonces that may still be answered, with the time of their issue; oldest first. */
  const issued = new Map<string, number>();

  /** Uses a nonce up; whether it was open. */
  const take = (nonce: Uint8Array): boolean => {
    const key = toHex(nonce);
    const issuedMs = issued.get(key);
    issued.delete(key);
    return issuedMs !== undefined && clock.nowMs() - issuedMs <= challengeLifetimeMs;
  };

  const judge = async (
    auth: unknown,
  ): Promise<Result<{ readonly clientId: ClientId; readonly welcome: Uint8Array }, Violation>> => {
    const opened = openAuth(auth);
    if (!opened.ok) return opened;
    const { clientId, clientNonce, serverNonce } = opened.value;
    if (!take(serverNonce)) return refuse(violation('stale-challenge', 'fetch a new challenge and connect again'));
    const client = await store.client(clientId);
    if (client === null)
      return refuse(violation('unknown-client', `client ${clientId} is not enrolled here; redeem an invite first`));
    const publicKey = fromHex(client.publicKey);
    const refused = checkAuth(opened.value, { publicKey, coordinatorKey: identity.publicKey, nowMs: clock.nowMs() });
    if (refused !== null) return refuse(refused);
    if (client.status === 'revoked') return refuse(clientRevoked());
    if (client.status === 'pending') {
      const pending = violation(
        'pending-client',
        'ask the operator to compare and approve the fingerprint of this client',
      );
      return refuse((await options.judgeMember(clientId)) ?? pending);
    }
    const uncertified = await options.judgeMember(clientId);
    if (uncertified !== null) return refuse(uncertified);
    return succeed({
      clientId,
      welcome: sealWelcome(identity, { serverNonce, clientNonce, federationId, clientId, status: options.status() }),
    });
  };

  return {
    challenge: async () => {
      const serverNonce = entropy.bytes(nonceBytes);
      const serverTimeMs = clock.nowMs();
      for (const [oldest, issuedMs] of issued) {
        if (issued.size < openChallengesMax && serverTimeMs - issuedMs <= challengeLifetimeMs) break;
        issued.delete(oldest);
      }
      issued.set(toHex(serverNonce), serverTimeMs);
      return { status: 200, body: sealChallenge(identity, { serverNonce, serverTimeMs, federationId }) };
    },
    enrol: async (body) => {
      const opened = openEnrolment(body, federationId);
      if (!opened.ok) {
        onRejected(null, opened.error);
        return { status: 400, body: { ok: false, violation: opened.error } };
      }
      const { tokenHash, name, publicKey } = opened.value;
      const clientId = clientIdOf(publicKey);
      const applicant = { clientId, publicKey: toHex(publicKey), name, enrolledMs: clock.nowMs() };
      const redeemed = await store.redeemInvite(tokenHash, applicant, clock.nowMs());
      // A client that heard no answer asks again with the same key: it is enrolled already.
      const redeemer = async (): Promise<ClientId | null> =>
        (await store.invites()).find((invite) => invite.tokenHash === tokenHash)?.redeemedBy ?? null;
      const client = redeemed ?? ((await redeemer()) === clientId ? await store.client(clientId) : null);
      if (client === null) {
        const refused = violation(
          'invite-invalid',
          'this invite is unknown, used or expired; ask the operator for a new one',
        );
        onRejected(null, refused);
        return { status: 403, body: { ok: false, violation: refused } };
      }
      const { status } = client;
      if (status === 'revoked') {
        const refused = clientRevoked();
        onRejected(clientId, refused);
        return { status: 403, body: { ok: false, violation: refused } };
      }
      if (redeemed !== null) onEnrolled({ ...client, status });
      const answer = { status, clientId, federationId, coordinatorKey: toHex(identity.publicKey) };
      return { status: 200, body: answer };
    },
    withdraw: async (body) => {
      const opened = openWithdrawal(body, federationId);
      const client = opened.ok ? await store.client(opened.value.clientId) : null;
      const isSigned = opened.ok && client !== null && opened.value.isSignedBy(fromHex(client.publicKey));
      if (!opened.ok || client === null || !isSigned) {
        const unsigned = violation('wrong-signature', 'the withdrawal is not signed by a client that is enrolled here');
        const refused = opened.ok ? unsigned : opened.error;
        onRejected(null, refused);
        return { status: 403, body: { ok: false, violation: refused } };
      }
      // A site leaves with all of its keys.
      const keys = await keysOfSite(store, client.clientId);
      for (const key of keys) {
        await store.documents.put(`withdrawal/${key}`, toHex(opened.value.evidence));
        await store.revokeClient(key);
        await options.onWithdrawn(key);
      }
      const versions = checkLineage(await store.versions(), { coordinatorKey: identity.publicKey, federation: record });
      const plan = parsePlan(JSON.parse(record.plan), 'the plan of the federation');
      const { direct, all } = contributionsOf(versions, keys, plan);
      const names = phaseNamesOf(
        record,
        versions.map((version) => version.record),
      );
      const phases = [...new Set(all.flatMap((version) => names[version] ?? []))];
      const erased = await roundsErasedFor(store, keys);
      const answer = { status: 'withdrawn', direct, all, phases, latest: versions.length - 1, erased };
      return { status: 200, body: answer };
    },
    admit: async (auth) => {
      const judged = await judge(auth);
      if (!judged.ok) onRejected(null, judged.error);
      return judged;
    },
  };
}
