/**
 * A store whose changes stand in the log: every change is applied first, then its entry, and only when both are durable the caller goes on, so that
 * nothing is announced or acknowledged that the log does not know. They share one flush of the disk. A coordinator that ends in between logs what
 * is missing when it starts (`happenings.ts`); what is in the log already is not logged again.
 */
import { assert } from '../../shared/core/assert.ts';
import type { CoordinatorStore } from '../store/store.ts';
import type { AuditLog } from './audit-log.ts';
import { forgetNoise } from './central-noise.ts';
import { withdrawnAmong } from './erasure.ts';
import { aboutClient, created, enrolled, invited, opened, published, reopened, stored, voided } from './happenings.ts';
import type { Evidence } from './log-store.ts';

/** What a logged store works with. */
export interface LoggedStorePorts {
  readonly store: CoordinatorStore;
  readonly log: AuditLog;
  readonly coordinatorKey: Uint8Array;
  /** Whether updates of published rounds are kept for replay. */
  readonly retains: boolean;
  /** What clients signed in the round in hand; taken when it ends. */
  readonly takeEvidence: () => readonly Evidence[];
}

/** `store` with a log of what changes. */
export function loggedStore({ store, log, coordinatorKey, retains, takeEvidence }: LoggedStorePorts): CoordinatorStore {
  const checkpoint = async (): Promise<void> => {
    const record = await store.federation();
    assert(record !== null, 'rounds are of a federation');
    await log.checkpoint(record.federationId);
  };
  /** Keeps what a replay of the round needs; whether the updates themselves are to stay. */
  const retain = async (roundIndex: number): Promise<boolean> => {
    const evidence = takeEvidence();
    if (!retains) return false;
    const masked = await store.attemptOf(roundIndex);
    const updates = await store.updatesOf(roundIndex);
    await store.log.keepTranscript({
      roundIndex,
      updates,
      evidence,
      roundParams: masked?.attempt.roundParams ?? null,
      messages: masked?.messages ?? [],
    });
    // Somebody may have withdrawn while the round was open. Whoever withdraws from here on finds the transcript.
    const clientIds = masked === null ? updates.map(({ clientId }) => clientId) : [];
    const isErased = (await withdrawnAmong(store, clientIds)).size > 0;
    if (isErased) await forgetNoise(store, roundIndex);
    return !isErased;
  };
  return {
    ...store,
    createFederation: (record) =>
      store.durably(async () => {
        await store.createFederation(record);
        await log.record(created(record));
      }),
    addInvite: (invite) =>
      store.durably(async () => {
        await store.addInvite(invite);
        await log.record(invited(invite));
      }),
    redeemInvite: (...redemption) =>
      store.durably(async () => {
        const client = await store.redeemInvite(...redemption);
        if (client !== null) await log.record(enrolled(client));
        return client;
      }),
    approveClient: (clientId) =>
      store.durably(async () => {
        const isChanged = await store.approveClient(clientId);
        if (isChanged) await log.record(aboutClient('client-approved', clientId));
        return isChanged;
      }),
    revokeClient: (clientId) =>
      store.durably(async () => {
        const isChanged = await store.revokeClient(clientId);
        if (isChanged) await log.record(aboutClient('client-revoked', clientId));
        return isChanged;
      }),
    openRound: (roundIndex, roundHash, asked) =>
      store.durably(async () => {
        await store.openRound(roundIndex, roundHash, asked);
        await log.record(opened({ roundIndex, roundHash, asked }));
      }),
    reopenRound: (roundIndex, roundHash, asked) =>
      store.durably(async () => {
        const forgotten = await store.reopenRound(roundIndex, roundHash, asked);
        takeEvidence();
        await log.record(reopened({ roundIndex, roundHash, asked }));
        return forgotten;
      }),
    addUpdate: (update) =>
      store.durably(async () => {
        // Both are asked for in one turn; whichever update is the first of its client is the one that is logged.
        const [kept] = await Promise.all([store.addUpdate(update), log.record(stored(update))]);
        return kept;
      }),
    voidRound: (roundIndex, contributed, detail, frame) =>
      store.durably(async () => {
        const isOpen = (await store.rounds()).some(
          (round) => round.roundIndex === roundIndex && round.status === 'open',
        );
        const forgotten = await store.voidRound(roundIndex, contributed, detail);
        if (!isOpen) return forgotten;
        takeEvidence();
        await log.record(voided({ roundIndex, contributed, detail, frame }));
        await checkpoint();
        return forgotten;
      }),
    createVersion: (version) =>
      store.durably(async () => {
        await store.createVersion(version);
        await log.record(published(version, coordinatorKey));
      }),
    addVersion: (version) =>
      store.durably(async () => {
        await store.addVersion(version);
        await log.record(published(version, coordinatorKey));
        await checkpoint();
      }),
    publish: (version, detail) =>
      store.durably(async () => {
        const isRetained = await retain(version.roundIndex);
        const forgotten = await store.publish(version, detail);
        await log.record(published(version, coordinatorKey));
        await checkpoint();
        return isRetained ? [] : forgotten;
      }),
  };
}
