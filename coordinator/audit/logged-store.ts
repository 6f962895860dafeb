/**
 * A store whose changes stand in the log: every change is applied first, then its entry, and only when both are durable the caller goes on, so that
 * nothing is announced or acknowledged that the log does not know. They share one flush of the disk. A coordinator that ends in between logs what
 * is missing when it starts ({@link happeningsOf}); what is in the log already is not logged again.
 */
import type { Happening } from '../../shared/audit/entry.ts';
import { assert } from '../../shared/core/assert.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { openVersionRecord, resultHashOf } from '../../shared/protocol/version-record.ts';
import { measureOf, phaseMeasure, recordsOf } from '../library/places.ts';
import type { ClientRecord, CoordinatorStore, RoundRecord, UpdateRecord, VersionRow } from '../store/store.ts';
import type { AuditLog } from './audit-log.ts';
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

const enrolled = ({ clientId, publicKey }: Pick<ClientRecord, 'clientId' | 'publicKey'>): Happening => ({
  type: 'client-enrolled',
  subject: clientId,
  payload: { clientId, publicKey },
});
const aboutClient = (type: 'client-approved' | 'client-revoked', clientId: string): Happening => ({
  type,
  subject: clientId,
  payload: { clientId },
});
const opened = ({
  roundIndex,
  roundHash,
  asked,
}: Pick<RoundRecord, 'roundIndex' | 'roundHash' | 'asked'>): Happening => ({
  type: 'round-opened',
  subject: String(roundIndex),
  payload: { roundIndex, roundHash, asked },
});
const voided = ({
  roundIndex,
  contributed,
  detail,
  frame,
}: Pick<RoundRecord, 'roundIndex' | 'contributed' | 'detail'> & {
  /** What the coordinator signed; absent of a round that ended with its coordinator. */
  readonly frame?: Uint8Array | undefined;
}): Happening => ({
  type: 'round-void',
  subject: String(roundIndex),
  payload: { roundIndex, contributed, detail, ...(frame === undefined ? {} : { record: toHex(frame) }) },
});
const stored = ({ roundIndex, clientId, bodyHash, receipt }: UpdateRecord): Happening => ({
  type: 'update-stored',
  subject: `${roundIndex}/${receipt}`,
  payload: { roundIndex, clientId, bodyHash, receipt },
});

/** What logs a version: that a round published it, that a phase begins with it, or that an operator took versions back. */
function published(row: VersionRow, coordinatorKey: Uint8Array): Happening {
  const happening = publication(row, coordinatorKey);
  if (row.roundIndex !== -1 || row.version === 0) return happening;
  const [record] = recordsOf([row], coordinatorKey);
  const type = measureOf(record!, phaseMeasure) === null ? 'version-withdrawn' : 'phase-started';
  return { ...happening, type, subject: String(row.version) };
}

function publication(row: VersionRow, coordinatorKey: Uint8Array): Happening {
  const encoded = fromHex(row.record);
  const signed = openVersionRecord(coordinatorKey, { record: encoded, signature: fromHex(row.signature) });
  // A record under another key is logged by its hash; whoever checks the lineage says what is wrong with it.
  const record = signed.ok ? signed.value : null;
  return {
    type: 'round-published',
    subject: String(row.roundIndex),
    payload: {
      version: row.version,
      roundIndex: row.roundIndex,
      resultHash: resultHashOf(encoded),
      modelHash: row.modelHash,
      adapterDigest: row.adapter,
      ...(record === null
        ? {}
        : {
            roundHash: record.round?.roundHash ?? null,
            transcriptHash: record.round?.transcriptHash ?? null,
            cohortCount: record.cohort.length,
            cohortHash: digestOf(utf8(record.cohort.join(' '))),
            contributorCount: record.contributors.length,
            contributorsHash: digestOf(utf8(record.contributors.join(' '))),
            rejections: record.rejections.map(({ code, count }) => ({ code, count })),
            privacy: record.privacy,
          }),
    },
  };
}

/** Everything that the state says has happened: what a coordinator that starts logs, as far as it is missing. */
export async function happeningsOf(store: CoordinatorStore, coordinatorKey: Uint8Array): Promise<Happening[]> {
  const record = await store.federation();
  const clients = await store.clients();
  const rounds = await store.rounds();
  return [
    ...(record === null ? [] : [created(record)]),
    ...clients.map(enrolled),
    ...clients
      .filter(({ status }) => status === 'revoked')
      .map(({ clientId }) => aboutClient('client-revoked', clientId)),
    ...rounds.map(opened),
    ...rounds.filter(({ status }) => status === 'void').map(voided),
    ...(await store.versions()).map((row) => published(row, coordinatorKey)),
  ];
}

function created(record: NonNullable<Awaited<ReturnType<CoordinatorStore['federation']>>>): Happening {
  const { federationId, planHash, baseDigest, layoutHash } = record;
  return {
    type: 'federation-created',
    subject: federationId,
    payload: { federationId, planHash, baseDigest, layoutHash },
  };
}

/** `store` with a log of what changes. */
export function loggedStore({ store, log, coordinatorKey, retains, takeEvidence }: LoggedStorePorts): CoordinatorStore {
  const checkpoint = async (): Promise<void> => {
    const record = await store.federation();
    assert(record !== null, 'rounds are of a federation');
    await log.checkpoint(record.federationId);
  };
  /** Keeps what a replay of the round needs; whether it did. */
  const retain = async (roundIndex: number): Promise<boolean> => {
    const evidence = takeEvidence();
    if (!retains) return false;
    const masked = await store.attemptOf(roundIndex);
    await store.log.keepTranscript({
      roundIndex,
      updates: await store.updatesOf(roundIndex),
      evidence,
      roundParams: masked?.attempt.roundParams ?? null,
      messages: masked?.messages ?? [],
    });
    return true;
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
        const { tokenHash, approval, expiresMs } = invite;
        const subject = digestOf(fromHex(tokenHash));
        await log.record({ type: 'invite-made', subject, payload: { approval, expiresMs } });
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
        const payload = { roundIndex, roundHash, asked };
        await log.record({ type: 'round-reopened', subject: `${roundIndex}/${roundHash}`, payload });
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
