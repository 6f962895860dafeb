/** A store in memory, for tests and simulations. */
import { StoreError } from '../../shared/core/errors.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { createMemoryLog } from '../audit/log-memory.ts';
import { createMemoryDocuments } from '../enrolment/document-store.ts';
import type {
  AttemptRecord,
  ClientRecord,
  CoordinatorStore,
  FederationRecord,
  InviteRecord,
  RoundRecord,
  UpdateRecord,
  VersionRow,
} from './store.ts';

/** An empty store. */
export function createMemoryStore(): CoordinatorStore {
  let federation: FederationRecord | null = null;
  let address: string | null = null;
  const clients = new Map<ClientId, ClientRecord>();
  const sequences = new Map<ClientId, number>();
  const invites = new Map<Digest, InviteRecord>();
  const rounds = new Map<number, RoundRecord>();
  const updates = new Map<string, UpdateRecord>();
  const versions: VersionRow[] = [];
  const attempts = new Map<number, { readonly attempt: AttemptRecord; readonly messages: string[] }>();

  const takeUpdates = (roundIndex: number): UpdateRecord[] => {
    const taken = sortedUpdates(roundIndex);
    for (const update of taken) updates.delete(`${roundIndex}/${update.clientId}`);
    attempts.delete(roundIndex);
    return taken;
  };
  const sortedUpdates = (roundIndex: number): UpdateRecord[] =>
    [...updates.values()]
      .filter((update) => update.roundIndex === roundIndex)
      .sort((left, right) => (left.clientId < right.clientId ? -1 : 1));

  return {
    log: createMemoryLog(),
    documents: createMemoryDocuments(),
    federation: async () => federation,
    createFederation: async (record) => {
      if (federation !== null) throw new StoreError('federation-exists', 'this state already holds a federation');
      federation = record;
    },
    address: async () => address,
    setAddress: async (url) => {
      address = url;
    },
    client: async (clientId) => clients.get(clientId) ?? null,
    clients: async () => [...clients.values()].sort((left, right) => (left.clientId < right.clientId ? -1 : 1)),
    approveClient: async (clientId) => {
      const client = clients.get(clientId);
      if (client?.status !== 'pending') return false;
      clients.set(clientId, { ...client, status: 'approved', letIn: true });
      return true;
    },
    revokeClient: async (clientId) => {
      const client = clients.get(clientId);
      if (client === undefined || client.status === 'revoked') return false;
      clients.set(clientId, { ...client, status: 'revoked' });
      return true;
    },
    sequenceOf: async (clientId) => sequences.get(clientId) ?? 0,
    advanceSequence: async (clientId, sequence) => {
      if (!clients.has(clientId) || sequence <= (sequences.get(clientId) ?? 0)) return false;
      sequences.set(clientId, sequence);
      return true;
    },
    addInvite: async (invite) => void invites.set(invite.tokenHash, invite),
    invites: async () => [...invites.values()],
    redeemInvite: async (tokenHash, client, nowMs) => {
      const invite = invites.get(tokenHash);
      if (
        invite === undefined ||
        invite.redeemedBy !== null ||
        invite.expiresMs <= nowMs ||
        clients.has(client.clientId)
      )
        return null;
      const status = invite.approval === 'automatic' ? 'approved' : 'pending';
      const record: ClientRecord = { ...client, organisation: invite.organisation, status };
      invites.set(tokenHash, { ...invite, redeemedBy: client.clientId });
      clients.set(client.clientId, record);
      return record;
    },
    openRound: async (roundIndex, roundHash, asked) => {
      if (rounds.has(roundIndex)) throw new StoreError('round-exists', `round ${roundIndex} was opened before`);
      rounds.set(roundIndex, { roundIndex, roundHash, status: 'open', attempt: 0, asked, contributed: 0, detail: '' });
    },
    voidRound: async (roundIndex, contributed, detail) => {
      const round = rounds.get(roundIndex);
      if (round?.status !== 'open') return [];
      rounds.set(roundIndex, { ...round, status: 'void', contributed, detail });
      return takeUpdates(roundIndex);
    },
    reopenRound: async (roundIndex, roundHash, asked) => {
      const round = rounds.get(roundIndex);
      if (round?.status !== 'open') throw new StoreError('round-closed', `round ${roundIndex} is not open`);
      rounds.set(roundIndex, { ...round, roundHash, asked, attempt: round.attempt + 1 });
      return takeUpdates(roundIndex);
    },
    openAttempt: async (attempt) => void attempts.set(attempt.roundIndex, { attempt, messages: [] }),
    addAttemptMessage: async (roundIndex, message) => void attempts.get(roundIndex)?.messages.push(message),
    attemptOf: async (roundIndex) => {
      const found = attempts.get(roundIndex);
      return found === undefined ? null : { attempt: found.attempt, messages: [...found.messages] };
    },
    rounds: async () => [...rounds.values()].sort((left, right) => left.roundIndex - right.roundIndex),
    addUpdate: async (update) => {
      const key = `${update.roundIndex}/${update.clientId}`;
      const stored = updates.get(key);
      if (stored === undefined) updates.set(key, update);
      return stored ?? update;
    },
    updatesOf: async (roundIndex) => sortedUpdates(roundIndex),
    createVersion: async (version) => {
      if (versions.length > 0) throw new StoreError('version-exists', 'this state already holds an adapter');
      versions.push(version);
    },
    publish: async (version, detail) => {
      const round = rounds.get(version.roundIndex);
      if (round?.status !== 'open' || version.version !== versions.length) {
        throw new StoreError(
          'round-closed',
          `round ${version.roundIndex} is not open or version ${version.version} exists`,
        );
      }
      versions.push(version);
      rounds.set(version.roundIndex, {
        ...round,
        status: 'published',
        contributed: version.contributed,
        detail,
      });
      return takeUpdates(version.roundIndex);
    },
    addVersion: async (version) => {
      if (version.version !== versions.length)
        throw new StoreError('round-closed', `version ${version.version} is not the next one`);
      versions.push(version);
    },
    versions: async () => [...versions],
    latestVersion: async () => versions.at(-1) ?? null,
    durably: (work) => work(),
    close: async () => undefined,
  };
}
