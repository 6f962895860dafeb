/** A federation whose members a consortium certifies, with masked rounds and receipts, without sockets: real coordinator, real clients. */
import { strict as assert } from 'node:assert';
import { createAuditLog } from '../../coordinator/audit/audit-log.ts';
import { openAudit } from '../../coordinator/audit/open-audit.ts';
import { keysOf, replayRound } from '../../coordinator/audit/replay.ts';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import { createRegistry } from '../../coordinator/enrolment/registry.ts';
import { makeRollback } from '../../coordinator/library/publish.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { toHex } from '../../shared/core/bytes.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { fingerprint, identityFromSeed } from '../../shared/crypto/identity.ts';
import { judgeCertificates } from '../../shared/identity/certificate.ts';
import { type Consortium, encodeConsortium } from '../../shared/identity/consortium.ts';
import { requestFormat } from '../../shared/identity/documents.ts';
import { type IdentityDocument, revokeSerials, signDocument } from '../../shared/identity/office.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { encodeCanonical } from '../../shared/protocol/canonical.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { fixedBase, fixedBaseDigest, fixedLayout, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, startWorld, testPlan, until } from '../coordinator/harness.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 12;
const policy = parsePolicy({}, 'the test');
const plan = {
  ...testPlan({
    rounds: { count: 2, cohortSize: 3, quorum: 3 },
    secureAggregation: { mode: 'on', organisationsMin: 3 },
    audit: { retainUpdates: true },
  }),
  base: { digest: fixedBaseDigest(fixedBase) },
};
const admins = [61, 62].map((seed) => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto));
const consortium: Consortium = {
  name: 'Hospitals',
  threshold: 2,
  keys: admins.map(({ publicKey }) => publicKey).sort((left, right) => (toHex(left) < toHex(right) ? -1 : 1)),
};

describe('certified federation', () => {
  afterEach(closeWorlds);

  it('[CFD-1] three hospitals of a consortium train with masked rounds; each holds receipts that its auditor finds in the log', async () => {
    const state = memoryState(seededEntropy(63));
    const world = await startWorld({
      plan,
      state,
      ...fixedStart(dim),
    });
    const entropy = seededEntropy(64);
    const log = createAuditLog({ store: state.store.log, identity: state.identity, clock: world.clock });
    const registry = createRegistry({ store: state.store, log, clock: world.clock, entropy });
    const ports = (index: number) => ({ consortium, identity: admins[index]!, nowMs: world.clock.nowMs(), entropy });
    const take = (document: IdentityDocument) =>
      registry.take(signDocument(document, { ...ports(1), fingerprint: undefined, days: 1 }));
    await registry.take({ kind: 'consortium', bytes: encodeConsortium(consortium) });
    await take(revokeSerials([], { ...ports(0), last: null, isRotated: false }));

    const platforms = [0, 1, 2].map((index) => platformIn(world, 930 + index));
    const clients: Awaited<ReturnType<typeof runClient>>[] = [];
    for (const [index, platform] of platforms.entries()) {
      const learner = fixedLearner({ dim, exampleCount: 10, delta: () => new Float32Array(dim).fill(index) });
      clients.push(await runClient(world, { platform, learner, policy, organisation: `Hospital ${index}` }));
    }
    let pending = 0;
    await until(() => {
      void state.store.clients().then((all) => {
        pending = all.filter(({ status }) => status === 'pending').length;
      });
      return pending === 3;
    }, 'three clients that wait for their certificates');
    for (const { publicKey, organisation } of await state.store.clients()) {
      const key = Uint8Array.from(Buffer.from(publicKey, 'hex'));
      const bytes = encodeCanonical(requestFormat, { publicKey: key, organisation });
      const request = { kind: 'request' as const, bytes };
      await take(signDocument(request, { ...ports(0), fingerprint: fingerprint(key), days: 90 }));
    }
    await world.clock.advance(60_000);
    await world.coordinator.ended;
    await Promise.all(clients.map(({ ended }) => ended));

    assert.deepEqual(
      clients.flatMap(({ problems }) => problems),
      [],
    );
    const library = await world.coordinator.library();
    assert.equal(library.length, 3);
    assert.equal(library[2]!.record.contributors.length, 3);
    assert.match(library[2]!.record.privacy, /\(members are certified by the consortium that sites pinned\)/);
    const { federationId } = world.coordinator;
    const receipts = platforms.flatMap(({ evidenceFiles }) =>
      [0, 1].map((round) => {
        const file = evidenceFiles.get(`${federationId}-receipt-${round}.json`);
        assert.ok(file !== undefined, `receipt of round ${round}`);
        return { source: `${round}`, proof: JSON.parse(new TextDecoder().decode(file)).proof as string };
      }),
    );
    const document = {
      federation: (await state.store.federation())!,
      coordinatorKey: toHex(state.identity.publicKey),
      rows: await state.store.log.rows(0),
      checkpoints: await state.store.log.checkpoints(),
      versions: await state.store.versions(),
    };
    assert.deepEqual(verifyLog(document, receipts).faults, []);

    const exchange = exchangeOf(plan.aggregation, fixedLayout(dim));
    const transcript = (await state.store.log.transcript(1))!;
    const keys = keysOf(await state.store.clients());
    const judgeAt = (nowMs: number) => judgeCertificates(() => ({ consortium, revocations: null, nowMs }));
    const source = { plan, exchange, transcript, versions: library, keys, blobs: state.blobs, judgeAt };
    assert.deepEqual((await replayRound(source)).faults, []);
    const lost = { ...transcript, messages: transcript.messages.slice(0, -2) };
    const found = await replayRound({ ...source, transcript: lost });
    assert.deepEqual(
      found.faults.map(({ code }) => code),
      ['transcript-damaged'],
    );
    const tampered = library.toSpliced(2, 1, {
      ...library[2]!,
      record: { ...library[2]!.record, adapterDigest: 'ab'.repeat(32) as never },
    });
    const caught = await replayRound({ ...source, versions: tampered });
    assert.deepEqual(
      caught.faults.map(({ code }) => code),
      ['aggregate-tamper'],
    );

    // A version that is taken back to says of its clients what it said before, and version 0 nothing about who vouches for clients that it does not hold.
    const lineage = { identity: state.identity, plan, record: document.federation, publishedMs: world.clock.nowMs() };
    const audit = await openAudit(state, null, world.clock);
    await audit.store.addVersion(makeRollback(lineage, { latest: library[2]!.row, target: library[1]! }));
    await audit.store.addVersion(
      makeRollback(lineage, { latest: (await state.store.versions())[3]!, target: library[0]! }),
    );
    const [first, one, , again, start] = (await world.coordinator.library()).map(({ record }) => record.privacy);
    assert.match(one!, /\(members are certified by the consortium that sites pinned\)/);
    assert.equal(again, one);
    assert.equal(first, 'none: no update of a client of this federation is in it');
    assert.equal(start, first);
    const { log: kept } = state.store;
    const [rows, checkpoints] = [await kept.rows(0), await kept.checkpoints()];
    const whole = { ...document, rows, checkpoints, versions: await state.store.versions() };
    assert.deepEqual(verifyLog(whole, receipts).faults, []);
  });
});
