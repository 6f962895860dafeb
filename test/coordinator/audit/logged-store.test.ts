import { strict as assert } from 'node:assert';
import { entryOf, keyOf } from '../../../coordinator/audit/log-store.ts';
import { loggedStore } from '../../../coordinator/audit/logged-store.ts';
import { openAudit } from '../../../coordinator/audit/open-audit.ts';
import { openQuarantine, releaseClient } from '../../../coordinator/enrolment/quarantine.ts';
import { type CoordinatorState, memoryState } from '../../../coordinator/store/state.ts';
import type { CoordinatorStore } from '../../../coordinator/store/store.ts';
import type { Happening } from '../../../shared/audit/entry.ts';
import { type ClientId, type Digest, type FederationId, parseClientId, parseDigest } from '../../../shared/core/ids.ts';
import { manualClock, seededEntropy } from '../harness.ts';

const digest = (index: number): Digest => parseDigest(index.toString(16).padStart(64, '0'));
const id = (index: number): ClientId => parseClientId(index.toString(16).padStart(64, '0'));
const clock = manualClock();

/** What a coordinator and its operator do, one change of the state each. */
interface Hands {
  readonly store: CoordinatorStore;
  readonly note: (happening: Happening) => Promise<void>;
}
const federation = {
  federationId: digest(30) as string as FederationId,
  planHash: digest(1),
  baseDigest: digest(2),
  layoutHash: digest(3),
  plan: '{}',
  baseFiles: [],
  tensors: [],
  createdMs: 0,
};
const invite = (index: number) => ({
  tokenHash: digest(index),
  organisation: `Hospital ${index}`,
  approval: 'manual' as const,
  expiresMs: 100,
  redeemedBy: null,
});
const redeem = (store: CoordinatorStore, index: number) =>
  store.redeemInvite(digest(index), { clientId: id(index), publicKey: '00', name: 'site', enrolledMs: 1 }, 1);
const update = {
  roundIndex: 0,
  clientId: id(1),
  bodyHash: digest(7),
  delta: digest(8),
  exampleCount: 1,
  receipt: digest(9),
};
const bookOf = ({ store, note }: Hands) => openQuarantine({ store, rule: { marks: 1, rounds: 3 }, note });

const changes: Readonly<Record<string, (hands: Hands) => Promise<unknown>>> = {
  federation: ({ store }) => store.createFederation(federation),
  invite: ({ store }) => store.addInvite(invite(1)),
  enrolment: ({ store }) => redeem(store, 1),
  approval: ({ store }) => store.approveClient(id(1)),
  'second invite': ({ store }) => store.addInvite(invite(2)),
  'second enrolment': ({ store }) => redeem(store, 2),
  'second approval': ({ store }) => store.approveClient(id(2)),
  revocation: ({ store }) => store.revokeClient(id(2)),
  round: ({ store }) => store.openRound(0, digest(20), 2),
  'new attempt': ({ store }) => store.reopenRound(0, digest(21), 2),
  aside: async (hands) => {
    const book = await bookOf(hands);
    book.mark(id(1), 'bad-dealer');
    await book.settle(0);
  },
  ejection: async (hands) => (await bookOf(hands)).eject(id(1), 0),
  'an update': ({ store }) => store.addUpdate(update),
  release: ({ store, note }) => releaseClient(store, id(1), note),
  void: ({ store }) => store.voidRound(0, 1, 'stopped'),
};

/** Makes every change; with `killedAt`, whoever makes that one ends after the state and before the log, and the next start comes after it. */
async function logAfter(killedAt: string | null): Promise<string[]> {
  const state: CoordinatorState = memoryState(seededEntropy(5));
  const { store: bare, identity } = state;
  const audit = await openAudit(state, null, clock);
  for (const [name, change] of Object.entries(changes)) {
    const isKilled = name === killedAt;
    const record = async (...happenings: readonly Happening[]): Promise<void> => {
      if (isKilled) throw new Error('killed');
      await audit.log.record(...happenings);
    };
    const log = { ...audit.log, record };
    const store = loggedStore({
      ...{ store: bare, log, retains: false, coordinatorKey: identity.publicKey },
      takeEvidence: () => [],
    });
    if (isKilled) {
      await assert.rejects(change({ store, note: record }), /killed/, name);
      await audit.start(digest(1));
    } else await change({ store, note: record });
  }
  const keys = (await bare.log.rows(0)).map((row) => keyOf(entryOf(row)));
  return keys.filter((key) => !key.startsWith('coordinator-started'));
}

describe('logged store', () => {
  it('[LGS-1] killed between any change of the state and its entry, the next start logs it: the log is that of a life without it', async () => {
    const whole = await logAfter(null);
    assert.equal(whole.length, Object.keys(changes).length);
    for (const name of Object.keys(changes)) assert.deepEqual((await logAfter(name)).sort(), [...whole].sort(), name);
  });
});
