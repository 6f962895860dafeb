import { strict as assert } from 'node:assert';
import type { ClientEvent } from '../../client/events.ts';
import type { Calls } from '../../client/transport/calls.ts';
import { createTrust } from '../../client/trust.ts';
import { createAuditLog } from '../../coordinator/audit/audit-log.ts';
import { createMemoryLog } from '../../coordinator/audit/log-memory.ts';
import { toHex } from '../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import { succeed } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { fingerprint, type Identity, identityFromSeed } from '../../shared/crypto/identity.ts';
import { type Consortium, consortiumHashOf, encodeConsortium } from '../../shared/identity/consortium.ts';
import { requestFormat } from '../../shared/identity/documents.ts';
import { type IdentityDocument, revokeSerials, signDocument, signPlan } from '../../shared/identity/office.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { encodeCanonical } from '../../shared/protocol/canonical.ts';
import type { Offer, RoundResult } from '../../shared/protocol/messages.ts';
import { vouchFor } from '../../shared/secure-aggregation/voucher.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { memoryPlatform } from './memory-platform.ts';

const identityOf = (seed: number): Identity => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto);
const [coordinator, site] = [identityOf(1), identityOf(2)];
const admins = [3, 4].map(identityOf);
const consortium: Consortium = {
  name: 'Hospitals',
  threshold: 2,
  keys: admins.map(({ publicKey }) => publicKey).sort((left, right) => (toHex(left) < toHex(right) ? -1 : 1)),
};
const federationId = 'f'.repeat(64) as FederationId;
const digest = (digits: string) => digits.repeat(32) as Digest;
const never = new AbortController().signal;
const hour = 3_600_000;

/** A client's trust in a coordinator whose answers tests decide. */
function scene({ pinned = null as Digest | null, policy = {}, platform = memoryPlatform(5) } = {}) {
  const { clock } = platform;
  const store = createMemoryLog();
  const log = createAuditLog({ store, identity: coordinator, clock });
  const events: ClientEvent[] = [];
  let shown: Record<string, Uint8Array | null> = {
    consortium: null,
    revocations: null,
    approval: null,
    certificate: null,
  };
  let prove = (size: number, roundIndex: number, receipt: Digest | null) =>
    log.prove(federationId, size, [
      { type: 'round-published', subject: String(roundIndex) },
      { type: 'update-stored', subject: String(receipt) },
    ]);
  const calls = {
    commitUpdate: async () => succeed(digest('ab')),
    prove: async ({ size, roundIndex, receipt }: { size: number; roundIndex: number; receipt: Digest | null }) =>
      succeed(await prove(size, roundIndex, receipt)),
    membership: async () => succeed({ ok: true, ...shown }),
  };
  const trust = createTrust({
    platform,
    calls: calls as unknown as Calls,
    credentials: {
      url: 'https://c.example',
      federationId,
      coordinatorKey: toHex(coordinator.publicKey),
      clientId: site.clientId,
      consortium: pinned,
    },
    identity: site,
    policy: parsePolicy(policy, 'the test'),
    onEvent: (event) => events.push(event),
    signal: never,
  });
  const result = (roundIndex: number) =>
    ({ roundHash: digest('a1'), roundIndex, resultHash: digest('a2'), newModelHash: digest('a3') }) as RoundResult;
  return {
    platform,
    trust,
    details: () => events.flatMap((event) => (event.type === 'problem' ? [event.detail] : [])),
    problems: () => events.flatMap((event) => (event.type === 'problem' ? [event.code] : [])),
    publish: (roundIndex: number, clientId: string = site.clientId) =>
      log.record(
        { type: 'update-stored', subject: digest('ab'), payload: { receipt: digest('ab'), clientId } },
        {
          type: 'round-published',
          subject: String(roundIndex),
          payload: { roundHash: digest('a1'), resultHash: digest('a2'), modelHash: digest('a3') },
        },
      ),
    witness: async (roundIndex: number, changes: Partial<RoundResult> = {}) => {
      trust.witness({ ...result(roundIndex), ...changes });
      await trust.settled();
    },
    show: (documents: typeof shown) => {
      shown = { ...shown, ...documents };
    },
    answer: (other: typeof prove) => {
      prove = other;
    },
    judge: (planHash = digest('cc')) => trust.judgeOffer({ roundParams: { planHash } } as Offer, never),
  };
}

describe('trust of a client', () => {
  it('[TRU-1] keeps the checkpoint and the receipt of its update, with the proof that an auditor reads', async () => {
    const { publish, witness, trust, platform, problems } = scene();
    await publish(0);
    await trust.calls.commitUpdate(digest('a1'), never);
    await witness(0);
    assert.deepEqual(problems(), []);
    assert.equal(trust.head().size, 2);
    const file = platform.evidenceFiles.get(`${federationId}-receipt-0.json`);
    const receipt = JSON.parse(new TextDecoder().decode(file));
    assert.equal(receipt.format, 'tributary-receipt-1');
    assert.equal(receipt.receipt, digest('ab'));
    assert.ok(platform.evidenceFiles.has(`${federationId}-checkpoint.json`));
  });

  it('[TRU-2] log-fork: a log that does not go on from what was seen ends its part, and what proves it is kept', async () => {
    const { publish, witness, answer, problems, judge, platform, trust } = scene();
    await publish(0);
    await witness(0);
    assert.equal(await judge(), null);
    const other = createAuditLog({ store: createMemoryLog(), identity: coordinator, clock: platform.clock });
    for (let index = 0; index < 5; index++)
      await other.record({ type: 'round-opened', subject: String(index), payload: { index } });
    answer((size) => other.prove(federationId, size, []));
    await witness(1);
    assert.deepEqual(problems(), ['log-fork']);
    assert.match((await judge()) ?? '', /log-fork/);
    assert.ok(platform.evidenceFiles.has(`${federationId}-misconduct-1.json`));
    assert.equal(trust.head().size, 2);
    assert.match(trust.fork() ?? '', /log-fork/);
    const restarted = scene({ platform });
    assert.match((await restarted.judge()) ?? '', /log-fork/, 'a restart does not make it forget');
    assert.match(restarted.trust.fork() ?? '', /log-fork/);
  });

  it('[TRU-3] an acknowledged update that the log lacks or gives to another, and another result, are seen', async () => {
    const foreign = scene();
    await foreign.publish(0, 'somebody');
    await foreign.trust.calls.commitUpdate(digest('a1'), never);
    await foreign.witness(0);
    assert.deepEqual(foreign.problems(), ['log-fork']);
    for (const changes of [{ resultHash: digest('ee') }, { newModelHash: digest('ee') }, { roundHash: digest('ee') }]) {
      const other = scene();
      await other.publish(0);
      await other.witness(0, changes);
      assert.deepEqual(other.problems(), ['log-fork']);
    }
  });

  const ports = (index: number, nowMs: number) => ({
    consortium,
    identity: admins[index]!,
    nowMs,
    entropy: seededEntropy(9),
  });
  /** Signed by both administrators. */
  const both = (nowMs: number, first: IdentityDocument): Uint8Array =>
    signDocument(first, { ...ports(1, nowMs), fingerprint: undefined, days: 1 }).bytes;

  it('[TRU-4] with a pinned consortium, offers count only with its members, a fresh list and its own certificate', async () => {
    const { judge, show, platform, trust } = scene({ pinned: consortiumHashOf(consortium) });
    const nowMs = platform.clock.nowMs();
    assert.match((await judge()) ?? '', /another consortium/);
    show({ consortium: encodeConsortium({ ...consortium, threshold: 1 }) });
    assert.match((await judge()) ?? '', /another consortium/);
    show({ consortium: encodeConsortium(consortium) });
    assert.match((await judge()) ?? '', /no list of revocations/);
    const list = revokeSerials([], { ...ports(0, nowMs), last: null, isRotated: false });
    show({ revocations: both(nowMs, list) });
    assert.match((await judge()) ?? '', /no certificate of this client/);
    const certify = ({ publicKey }: Identity) => {
      const request = {
        kind: 'request' as const,
        bytes: encodeCanonical(requestFormat, { publicKey, organisation: 'Clinic' }),
      };
      return both(nowMs, signDocument(request, { ...ports(0, nowMs), fingerprint: fingerprint(publicKey), days: 30 }));
    };
    show({ certificate: certify(identityOf(77)) });
    assert.match((await judge()) ?? '', /no certificate of this client/);
    show({ certificate: certify(site) });
    assert.equal(await judge(), null);
    assert.deepEqual(trust.judgeCertificate(certify(identityOf(77)), identityOf(77).publicKey), {
      ok: true,
      value: 'Clinic',
    });
    assert.equal(trust.judgeCertificate(certify(identityOf(77)), site.publicKey).ok, false);
    await platform.clock.advance(25 * hour);
    assert.match((await judge()) ?? '', /stale-revocations/);
    const late = trust.judgeCertificate(certify(site), site.publicKey);
    assert.equal(late.ok === false && late.error.code, 'stale-revocations', 'a roster may come long after the offer');
  });

  it('[TRU-31] where a consortium is pinned, the word of the coordinator makes nobody a member, whatever was shown so far', () => {
    const facts = { federationId, clientId: site.clientId, organisation: 'Clinic' };
    const voucher = vouchFor(coordinator, facts);
    assert.equal(scene().trust.judgeCertificate(voucher, site.publicKey).ok, true);
    const { trust } = scene({ pinned: consortiumHashOf(consortium) });
    const judged = trust.judgeCertificate(voucher, site.publicKey);
    assert.equal(judged.ok === false && judged.error.code, 'bad-certificate');
  });

  it('[TRU-5] a list of revocations that goes back is refused', async () => {
    const { judge, show, platform } = scene({ pinned: consortiumHashOf(consortium) });
    const nowMs = platform.clock.nowMs();
    const first = revokeSerials([], { ...ports(0, nowMs), last: null, isRotated: false });
    const second = revokeSerials([], { ...ports(0, nowMs), last: first, isRotated: false });
    show({ consortium: encodeConsortium(consortium), revocations: both(nowMs, second) });
    assert.match((await judge()) ?? '', /no certificate/);
    show({ revocations: both(nowMs, first) });
    assert.match((await judge()) ?? '', /list 1 of revocations was shown after list 2/);
  });

  it('[TRU-6] a site may demand plans that the consortium approved, or that it approved itself', async () => {
    const planHash = digest('cc');
    const alone = scene({ policy: { planApproval: 'consortium' } });
    assert.match((await alone.judge(planHash)) ?? '', /enrolled without one/);
    const own = scene({ policy: { planApproval: 'consortium', approvedPlans: [planHash] } });
    assert.equal(await own.judge(planHash), null);
    const { judge, show, platform } = scene({
      pinned: consortiumHashOf(consortium),
      policy: { planApproval: 'consortium' },
    });
    const nowMs = platform.clock.nowMs();
    const { publicKey } = site;
    const request = {
      kind: 'request' as const,
      bytes: encodeCanonical(requestFormat, { publicKey, organisation: 'Clinic' }),
    };
    show({
      consortium: encodeConsortium(consortium),
      revocations: both(nowMs, revokeSerials([], { ...ports(0, nowMs), last: null, isRotated: false })),
      certificate: both(
        nowMs,
        signDocument(request, { ...ports(0, nowMs), fingerprint: fingerprint(publicKey), days: 30 }),
      ),
    });
    assert.match((await judge(planHash)) ?? '', /has not approved/);
    show({ approval: both(nowMs, signPlan(planHash, ports(0, nowMs))) });
    assert.equal(await judge(planHash), null);
    assert.match((await judge(digest('dd'))) ?? '', /approved plan cccc/);
  });

  it('[TRU-30] a file of the evidence that is damaged is named, with what to do, and nothing is believed without it', async () => {
    for (const text of ['{"size":', '{"size":"two","root":"x"}']) {
      const { publish, witness, platform, trust, details } = scene();
      await platform.evidence.write(`${federationId}-checkpoint.json`, new TextEncoder().encode(text));
      await publish(0);
      await witness(0);
      assert.match(
        details().join(),
        /evidence\/f+-checkpoint\.json is no checkpoint that this program wrote; put back a copy/,
      );
      assert.equal(trust.head().size, 0);
    }
  });
});
