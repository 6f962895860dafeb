/** What every store of the coordinator must do; each implementation runs this whole suite. */
import { strict as assert } from 'node:assert';
import type {
  ClientRecord,
  CoordinatorStore,
  FederationRecord,
  InviteRecord,
  UpdateRecord,
  VersionRow,
} from '../../coordinator/store/store.ts';
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';

const hex = (digits: string): string => digits.repeat(32);
const [first, second] = [hex('01') as ClientId, hex('02') as ClientId];
const digest = (digits: string): Digest => hex(digits) as Digest;
const federation: FederationRecord = {
  federationId: hex('fe') as FederationId,
  planHash: digest('a1'),
  baseDigest: digest('a2'),
  layoutHash: digest('a3'),
  plan: '{}',
  baseFiles: [{ name: 'config.json', digest: digest('a4') }],
  tensors: [{ name: 'head.bias', shape: [2], aggregationClass: 'mean', decays: false }],
  createdMs: 5,
};
const invite: InviteRecord = {
  tokenHash: digest('b1'),
  organisation: 'Clinic',
  approval: 'automatic',
  expiresMs: 1_000,
  redeemedBy: null,
};
const applicant: Omit<ClientRecord, 'organisation' | 'status'> = {
  clientId: first,
  publicKey: hex('33'),
  name: 'ward 3',
  enrolledMs: 7,
};
const update = (clientId: ClientId, bodyHash = digest('c1')): UpdateRecord => ({
  roundIndex: 0,
  clientId,
  bodyHash,
  delta: digest('c2'),
  exampleCount: 12,
  receipt: digest('c3'),
});
const version = (number: number, roundIndex: number): VersionRow => ({
  version: number,
  roundIndex,
  adapter: digest('d1'),
  modelHash: digest('d2'),
  ruleState: null,
  record: 'aa',
  signature: 'bb',
  publishedMs: 9,
  contributed: 2,
});

/** How a suite makes its stores: `open` gives an empty one, or, called again with its `place`, the same one after an orderly stop. */
export interface StoreMaker {
  readonly open: (place: number) => CoordinatorStore;
  /** Whether anything survives a stop. */
  readonly durable: boolean;
}

/** Registers the suite. */
export function storeContract(name: string, { open, durable }: StoreMaker): void {
  describe(`store contract: ${name}`, () => {
    let store: CoordinatorStore;
    let place = 0;
    beforeEach(() => {
      store = open(++place);
    });
    afterEach(() => store.close());

    it('[STO-1] holds one federation, once', async () => {
      assert.equal(await store.federation(), null);
      await store.createFederation(federation);
      assert.deepEqual(await store.federation(), federation);
      await assert.rejects(store.createFederation(federation), { code: 'federation-exists' });
    });

    it('[STO-2] an invite is redeemed once', async () => {
      await store.addInvite(invite);
      const client = await store.redeemInvite(invite.tokenHash, applicant, 999);
      assert.deepEqual(client, { ...applicant, organisation: 'Clinic', status: 'approved' });
      assert.equal(await store.redeemInvite(invite.tokenHash, { ...applicant, clientId: second }, 999), null);
      assert.equal((await store.invites())[0]?.redeemedBy, first);
      assert.deepEqual(await store.clients(), [client]);
    });

    it('[STO-3] an unknown or expired invite gives nothing and stores nobody', async () => {
      await store.addInvite(invite);
      assert.equal(await store.redeemInvite(invite.tokenHash, applicant, 1_000), null);
      assert.equal(await store.redeemInvite(digest('ee'), applicant, 1), null);
      assert.equal(await store.client(first), null);
    });

    it('[STO-4] a client of a manual invite waits for approval', async () => {
      await store.addInvite({ ...invite, approval: 'manual' });
      assert.equal((await store.redeemInvite(invite.tokenHash, applicant, 1))?.status, 'pending');
      assert.equal(await store.approveClient(first), true);
      assert.equal(await store.approveClient(first), false);
      assert.equal(await store.approveClient(second), false);
      assert.equal((await store.client(first))?.status, 'approved');
    });

    it('[STO-12] a client is revoked once and for good', async () => {
      await store.addInvite({ ...invite, approval: 'manual' });
      await store.redeemInvite(invite.tokenHash, applicant, 1);
      assert.equal(await store.revokeClient(second), false);
      assert.equal(await store.revokeClient(first), true);
      assert.equal(await store.revokeClient(first), false);
      assert.equal(await store.approveClient(first), false);
      assert.equal((await store.client(first))?.status, 'revoked');
    });

    it('[STO-13] keeps the address that was set last', async () => {
      assert.equal(await store.address(), null);
      await store.setAddress('http://one');
      await store.setAddress('http://two');
      assert.equal(await store.address(), 'http://two');
    });

    it('[STO-5] sequence numbers only rise, and only for known clients', async () => {
      await store.addInvite(invite);
      await store.redeemInvite(invite.tokenHash, applicant, 1);
      assert.equal(await store.sequenceOf(first), 0);
      assert.equal(await store.advanceSequence(first, 5), true);
      assert.equal(await store.advanceSequence(first, 5), false);
      assert.equal(await store.advanceSequence(first, 4), false);
      assert.equal(await store.advanceSequence(second, 1), false);
      assert.equal(await store.sequenceOf(first), 5);
    });

    it('[STO-6] a round number opens once', async () => {
      await store.openRound(0, digest('f1'), 3);
      await assert.rejects(store.openRound(0, digest('f2'), 3), { code: 'round-exists' });
      assert.deepEqual(await store.rounds(), [
        { roundIndex: 0, roundHash: digest('f1'), status: 'open', attempt: 0, asked: 3, contributed: 0, detail: '' },
      ]);
    });

    it('[STO-25] writes that follow each other count and resolve together, and what fails among them is told', async () => {
      const seen = await store.durably(async () => {
        await store.openRound(0, digest('f1'), 3);
        return (await store.rounds()).length;
      });
      assert.equal(seen, 1);
      const failing = store.durably(async () => {
        await store.openRound(1, digest('f1'), 3);
        await store.openRound(0, digest('f1'), 3);
      });
      await assert.rejects(failing, { code: 'round-exists' });
      assert.equal((await store.rounds()).length, 2);
    });

    it('[STO-14] writes of the same moment count one by one: what fails takes nothing else along', async () => {
      await store.openRound(0, digest('e1'), 2);
      const outcomes = await Promise.allSettled([
        store.openRound(1, digest('e1'), 2),
        store.openRound(0, digest('e1'), 2),
        store.publish(version(7, 0), 'too early'),
        store.openRound(2, digest('e1'), 2),
      ]);
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
      );
      assert.deepEqual(
        (await store.rounds()).map(({ roundIndex, status }) => [roundIndex, status]),
        [0, 1, 2].map((roundIndex) => [roundIndex, 'open']),
      );
    });

    it('[STO-7] the first update of a client stays; others see it', async () => {
      await store.addUpdate(update(second));
      await store.addUpdate(update(first));
      assert.deepEqual(await store.addUpdate(update(first, digest('c9'))), update(first));
      assert.deepEqual(await store.updatesOf(0), [update(first), update(second)]);
      assert.deepEqual(await store.updatesOf(1), []);
    });

    it('[STO-20] an attempt keeps its messages in order until its round is opened anew or ends', async () => {
      await store.openRound(0, digest('f1'), 3);
      assert.equal(await store.attemptOf(0), null);
      const attempt = { roundIndex: 0, roundParams: 'aa', asked: [first], invited: [first] };
      await store.openAttempt(attempt);
      for (const message of ['{"first":1}', '"second"']) await store.addAttemptMessage(0, message);
      assert.deepEqual(await store.attemptOf(0), { attempt, messages: ['{"first":1}', '"second"'] });
      assert.deepEqual(await store.reopenRound(0, digest('f2'), 2), []);
      assert.equal(await store.attemptOf(0), null);
      const [round] = await store.rounds();
      assert.deepEqual([round?.roundHash, round?.attempt, round?.asked], [digest('f2'), 1, 2]);
      await store.openAttempt(attempt);
      await store.voidRound(0, 0, 'over');
      assert.equal(await store.attemptOf(0), null);
      await assert.rejects(store.reopenRound(0, digest('f3'), 2), { code: 'round-closed' });
    });
    it('[STO-8] publishing ends the round, gives its updates back and happens once', async () => {
      await store.createVersion(version(0, -1));
      await assert.rejects(store.createVersion(version(0, -1)), { code: 'version-exists' });
      await store.openRound(0, digest('f1'), 2);
      await store.addUpdate(update(first));
      assert.deepEqual(await store.publish(version(1, 0), 'completed with 2 of 2'), [update(first)]);
      await assert.rejects(store.publish(version(2, 0), 'again'), { code: 'round-closed' });
      assert.deepEqual(await store.updatesOf(0), []);
      assert.deepEqual((await store.rounds())[0], {
        roundIndex: 0,
        roundHash: digest('f1'),
        status: 'published',
        attempt: 0,
        asked: 2,
        contributed: 2,
        detail: 'completed with 2 of 2',
      });
      assert.deepEqual(await store.versions(), [version(0, -1), version(1, 0)]);
      assert.deepEqual(await store.latestVersion(), version(1, 0));
    });

    it('[STO-9] a version that is not the next one is refused and leaves the round open with its updates', async () => {
      await store.createVersion(version(0, -1));
      await store.openRound(0, digest('f1'), 2);
      await store.addUpdate(update(first));
      await assert.rejects(store.publish(version(2, 0), 'gap'), { code: 'round-closed' });
      assert.equal((await store.rounds())[0]?.status, 'open');
      assert.deepEqual(await store.updatesOf(0), [update(first)]);
    });

    it('[STO-10] a void round gives its updates back and cannot be published', async () => {
      await store.createVersion(version(0, -1));
      await store.openRound(0, digest('f1'), 2);
      await store.addUpdate(update(first));
      assert.deepEqual(await store.voidRound(0, 1, 'below quorum'), [update(first)]);
      assert.deepEqual(await store.voidRound(0, 1, 'below quorum'), []);
      await assert.rejects(store.publish(version(1, 0), 'late'), { code: 'round-closed' });
    });

    if (!durable) return;
    it('[STO-11] everything survives a stop', async () => {
      await store.createFederation(federation);
      await store.addInvite(invite);
      await store.redeemInvite(invite.tokenHash, applicant, 1);
      await store.advanceSequence(first, 9);
      await store.createVersion(version(0, -1));
      await store.openRound(0, digest('f1'), 2);
      await store.addUpdate(update(first));
      await store.close();
      store = open(place);
      assert.deepEqual(await store.federation(), federation);
      assert.equal(await store.sequenceOf(first), 9);
      assert.deepEqual(await store.updatesOf(0), [update(first)]);
      assert.deepEqual(await store.latestVersion(), version(0, -1));
    });
  });
}
