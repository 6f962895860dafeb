/**
 * What a withdrawal erases. Raw updates of ended rounds are kept only where a plan retains them (`audit.retainUpdates`). When a client withdraws, those of every
 * round without masks that it took part in are deleted, of all its clients, with the seed of its noise: the version and the updates of the others would give the
 * update of the one that left. What was signed stays, with its hashes and counts of rows, so that an auditor sees that the round is what its transcript says, and why
 * it cannot be made again. Masked vectors stay: nobody can read one, and all of them are needed to check their sum.
 */
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';
import { openWithdrawal } from '../../shared/identity/withdrawal.ts';
import { keysOfSite } from '../enrolment/rotated-keys.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { CoordinatorStore } from '../store/store.ts';
import { forgetNoise } from './central-noise.ts';
import type { RetainedUpdate, Transcript } from './log-store.ts';

type Documents = Pick<CoordinatorStore, 'documents'>;

/** Those of `clientIds` that withdrew. */
export async function withdrawnAmong({ documents }: Documents, clientIds: Iterable<ClientId>): Promise<Set<ClientId>> {
  const withdrawn = new Set<ClientId>();
  for (const clientId of new Set(clientIds))
    if ((await documents.get(`withdrawal/${clientId}`)) !== null) withdrawn.add(clientId);
  return withdrawn;
}

/** Retained updates: those that stay, and those of rounds of which a withdrawal erases them. */
async function sortRetained(
  store: CoordinatorStore,
): Promise<{ readonly kept: readonly RetainedUpdate[]; readonly erased: readonly RetainedUpdate[] }> {
  const retained = await store.log.retained();
  const open = retained.filter(({ isMasked }) => !isMasked);
  const withdrawn = await withdrawnAmong(
    store,
    open.map(({ clientId }) => clientId),
  );
  const rounds = new Set(open.filter(({ clientId }) => withdrawn.has(clientId)).map(({ roundIndex }) => roundIndex));
  return {
    kept: retained.filter(({ roundIndex }) => !rounds.has(roundIndex)),
    erased: retained.filter(({ roundIndex }) => rounds.has(roundIndex)),
  };
}

/** Vectors that retained updates need, of all rounds: equal updates are one blob. */
export async function neededVectors(store: CoordinatorStore): Promise<Set<Digest>> {
  return new Set((await sortRetained(store)).kept.map(({ delta }) => delta));
}

/** Deletes what withdrawals erase. Does nothing the second time; a coordinator that starts goes on with what was left. */
export async function eraseWithdrawn({
  store,
  blobs,
}: {
  readonly store: CoordinatorStore;
  readonly blobs: Pick<CoordinatorBlobs, 'delete'>;
}): Promise<void> {
  const { kept, erased } = await sortRetained(store);
  const needed = new Set<Digest>(kept.map(({ delta }) => delta));
  // Equal updates are one blob. Of a round that has its transcript already nothing is read any more.
  const past = new Set([...kept, ...erased].map(({ roundIndex }) => roundIndex));
  for (const { roundIndex, status } of await store.rounds())
    if (status === 'open' && !past.has(roundIndex))
      for (const { delta } of await store.updatesOf(roundIndex)) needed.add(delta);
  for (const { delta } of erased) if (!needed.has(delta)) await blobs.delete(delta);
  for (const roundIndex of new Set(erased.map((update) => update.roundIndex))) await forgetNoise(store, roundIndex);
}

/** Rounds of which a site's own withdrawal erased the updates, ascending. */
export async function roundsErasedFor(
  { log }: Pick<CoordinatorStore, 'log'>,
  keys: readonly ClientId[],
): Promise<number[]> {
  const own = (await log.retained()).filter(({ clientId, isMasked }) => keys.includes(clientId) && !isMasked);
  return [...new Set(own.map(({ roundIndex }) => roundIndex))].sort((left, right) => left - right);
}

/**
 * Clients by whose withdrawal updates of a round are gone; empty where they are there, or where nobody signed a withdrawal: then whatever is missing was taken away.
 */
export async function erasedBy(
  { updates, roundParams }: Transcript,
  {
    store,
    blobs,
    keys,
    federationId,
  }: {
    readonly store: Documents;
    readonly blobs: Pick<CoordinatorBlobs, 'has'>;
    readonly keys: ReadonlyMap<ClientId, string>;
    readonly federationId: FederationId;
  },
): Promise<ClientId[]> {
  const there = await Promise.all(updates.map(({ delta }) => blobs.has(delta)));
  if (roundParams !== null || there.every(Boolean)) return [];
  const signed: ClientId[] = [];
  for (const { clientId } of updates) {
    const evidence = await store.documents.get(`withdrawal/${clientId}`);
    if (evidence === null) continue;
    const bytes = fromHex(evidence);
    const opened = openWithdrawal(
      { withdrawal: toHex(bytes.subarray(0, -64)), signature: toHex(bytes.subarray(-64)) },
      federationId,
    );
    // By the key of that time, or by the one that took its place.
    const key = opened.ok ? keys.get(opened.value.clientId) : undefined;
    if (!opened.ok || key === undefined || !opened.value.isSignedBy(fromHex(key))) continue;
    if ((await keysOfSite(store, opened.value.clientId)).includes(clientId)) signed.push(clientId);
  }
  return signed;
}
