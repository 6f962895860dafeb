/**
 * What the log says about a change of the state, made from what the state holds: so that whatever a coordinator could not log before it ended is
 * logged when the next one starts. What is in the log already is not logged again.
 */
import type { Happening } from '../../shared/audit/entry.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { openVersionRecord, resultHashOf } from '../../shared/protocol/version-record.ts';
import { documentHappenings } from '../enrolment/document-happenings.ts';
import { fileOf, happeningsOfFile } from '../enrolment/quarantine.ts';
import { measureOf, phaseMeasure, recordsOf } from '../library/places.ts';
import type {
  ClientRecord,
  CoordinatorStore,
  FederationRecord,
  InviteRecord,
  RoundRecord,
  UpdateRecord,
  VersionRow,
} from '../store/store.ts';

/** A client is enrolled. */
export const enrolled = ({ clientId, publicKey }: Pick<ClientRecord, 'clientId' | 'publicKey'>): Happening => ({
  type: 'client-enrolled',
  subject: clientId,
  payload: { clientId, publicKey },
});
/** An operator let a client in, or shut it out; or it withdrew. */
export const aboutClient = (
  type: 'client-approved' | 'client-revoked' | 'client-withdrew',
  clientId: string,
): Happening => ({
  type,
  subject: clientId,
  payload: { clientId },
});
/** A code was made; what is stored of its token is hashed once more. */
export const invited = ({ tokenHash, approval, expiresMs }: InviteRecord): Happening => ({
  type: 'invite-made',
  subject: digestOf(fromHex(tokenHash)),
  payload: { approval, expiresMs },
});
/** A round number is used up. */
export const opened = ({
  roundIndex,
  roundHash,
  asked,
}: Pick<RoundRecord, 'roundIndex' | 'roundHash' | 'asked'>): Happening => ({
  type: 'round-opened',
  subject: String(roundIndex),
  payload: { roundIndex, roundHash, asked },
});
/** A masked round began anew. */
export const reopened = ({
  roundIndex,
  roundHash,
  asked,
}: Pick<RoundRecord, 'roundIndex' | 'roundHash' | 'asked'>): Happening => ({
  type: 'round-reopened',
  subject: `${roundIndex}/${roundHash}`,
  payload: { roundIndex, roundHash, asked },
});
/** A round ended without a version. */
export const voided = ({
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
/** An update is durable. */
export const stored = ({ roundIndex, clientId, bodyHash, receipt }: UpdateRecord): Happening => ({
  type: 'update-stored',
  subject: `${roundIndex}/${receipt}`,
  payload: { roundIndex, clientId, bodyHash, receipt },
});

/** What logs a version: that a round published it, that a phase begins with it, or that an operator took versions back. */
export function published(row: VersionRow, coordinatorKey: Uint8Array): Happening {
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

/** The federation begins. */
export function created(record: FederationRecord): Happening {
  const { federationId, planHash, baseDigest, layoutHash } = record;
  return {
    type: 'federation-created',
    subject: federationId,
    payload: { federationId, planHash, baseDigest, layoutHash },
  };
}

/** Everything that the state says has happened: what a coordinator that starts logs, as far as it is missing. */
export async function happeningsOf(store: CoordinatorStore, coordinatorKey: Uint8Array): Promise<Happening[]> {
  const record = await store.federation();
  const clients = await store.clients();
  const rounds = await store.rounds();
  const found: Happening[] = record === null ? [] : [created(record)];
  found.push(...(await store.invites()).map(invited), ...clients.map(enrolled));
  for (const { clientId, letIn } of clients) if (letIn === true) found.push(aboutClient('client-approved', clientId));
  found.push(...(await documentHappenings(store, record)));
  for (const { clientId, status } of clients) {
    if (status === 'revoked') found.push(aboutClient('client-revoked', clientId));
    if ((await store.documents.get(`withdrawal/${clientId}`)) !== null && status === 'revoked')
      found.push(aboutClient('client-withdrew', clientId));
  }
  found.push(...rounds.map(opened));
  for (const round of rounds) {
    if (round.attempt > 0) found.push(reopened(round));
    if (round.status === 'open') found.push(...(await store.updatesOf(round.roundIndex)).map(stored));
    if (round.status === 'void') found.push(voided(round));
  }
  for (const { clientId } of clients) found.push(...happeningsOfFile(clientId, await fileOf(store, clientId)));
  found.push(...(await store.versions()).map((row) => published(row, coordinatorKey)));
  return found;
}
