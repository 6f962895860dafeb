import { strict as assert } from 'node:assert';
import { createAuditLog } from '../../../coordinator/audit/audit-log.ts';
import { entryOf, keyOf } from '../../../coordinator/audit/log-store.ts';
import { openAudit } from '../../../coordinator/audit/open-audit.ts';
import { createRegistry, type Registry } from '../../../coordinator/enrolment/registry.ts';
import { keysOfSite } from '../../../coordinator/enrolment/rotated-keys.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { fingerprint, type Identity, identityFromSeed } from '../../../shared/crypto/identity.ts';
import {
  encodeCertificate,
  encodeMember,
  readCertificate,
  signRotation,
} from '../../../shared/identity/certificate.ts';
import { type Consortium, consortiumHashOf, encodeConsortium } from '../../../shared/identity/consortium.ts';
import { requestFormat } from '../../../shared/identity/documents.ts';
import { type IdentityDocument, revokeSerials, signDocument, signPlan } from '../../../shared/identity/office.ts';
import { sealWithdrawal } from '../../../shared/identity/withdrawal.ts';
import { encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { enrolClient, type FakeClient } from '../fake-client.ts';
import type { World } from '../harness.ts';
import { closeWorlds, seededEntropy, startWorld } from '../harness.ts';

const identityOf = (seed: number): Identity => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto);
const admins = [91, 92, 93].map(identityOf);
const consortium: Consortium = {
  name: 'Hospitals',
  threshold: 2,
  keys: admins.map(({ publicKey }) => publicKey).sort((left, right) => (toHex(left) < toHex(right) ? -1 : 1)),
};
const hour = 3_600_000;

describe('registry of a consortium', () => {
  afterEach(closeWorlds);
  let world: World;
  let state: ReturnType<typeof memoryState>;
  let registry: Registry;
  const entropy = seededEntropy(94);
  beforeEach(async () => {
    state = memoryState(seededEntropy(95));
    world = await startWorld({ state });
    const log = createAuditLog({ store: state.store.log, identity: state.identity, clock: world.clock });
    registry = createRegistry({ store: state.store, log, clock: world.clock, entropy });
    await registry.take({ kind: 'consortium', bytes: encodeConsortium(consortium) });
  });
  const ports = (index: number) => ({ consortium, identity: admins[index]!, nowMs: world.clock.nowMs(), entropy });
  /** Signs a document with the first two administrators. */
  const twice = (make: (index: number) => IdentityDocument): IdentityDocument =>
    signDocument(make(0), { ...ports(1), fingerprint: undefined, days: 1 });
  const certify = (identity: Identity, organisation = 'Clinic'): IdentityDocument => {
    const { publicKey } = identity;
    const request = { kind: 'request' as const, bytes: encodeCanonical(requestFormat, { publicKey, organisation }) };
    return twice((index) => signDocument(request, { ...ports(index), fingerprint: fingerprint(publicKey), days: 30 }));
  };

  it('[REG-1] one-code enrolment: a site redeems its code, the consortium signs its key away from the coordinator, and it is let in', async () => {
    const code = parseEnrolmentCode(
      await world.coordinator.invite({ organisation: 'Clinic', url: 'http://localhost:1' }),
    );
    assert.equal(code.consortium, consortiumHashOf(consortium));
    const client = await enrolClient(world, 5, 'automatic', 'Clinic');
    await assert.rejects(client.connect(), /pending-client/);
    await assert.rejects(registry.take(certify(client.identity, 'Hospital')), { code: 'wrong-organisation' });
    await assert.rejects(client.connect(), /pending-client/);
    await registry.take(certify(client.identity));
    await client.connect();
    assert.deepEqual(client.heard, ['welcome']);
    const shown = await client.plain('membership', {});
    assert.ok(shown.ok && shown.value.certificate !== null && shown.value.consortium !== null);
    assert.deepEqual(
      await world.coordinator.invite({ organisation: 'x' }).then(() => 'another site touches nobody'),
      'another site touches nobody',
    );
  });

  it('[REG-2] uncertified-sybil: a coordinator cannot approve a client by itself, and a certificate with one signature is not taken', async () => {
    const client = await enrolClient(world, 5, 'automatic', 'Clinic');
    await state.store.approveClient(client.identity.clientId);
    await assert.rejects(client.connect(), /pending-client/);
    const { publicKey } = client.identity;
    const request = {
      kind: 'request' as const,
      bytes: encodeCanonical(requestFormat, { publicKey, organisation: 'Clinic' }),
    };
    const once = signDocument(request, { ...ports(0), fingerprint: fingerprint(publicKey), days: 30 });
    await assert.rejects(registry.take(once), { code: 'bad-document' });
    assert.throws(
      () => signDocument(request, { ...ports(0), fingerprint: fingerprint(admins[0]!.publicKey), days: 1 }),
      {
        code: 'wrong-fingerprint',
      },
    );
    assert.throws(() => signDocument(once, { ...ports(0), identity: identityOf(7), fingerprint: undefined, days: 1 }), {
      code: 'foreign-key',
    });
    await assert.rejects(registry.take(certify(identityOf(44))), { code: 'unknown-client' });
  });

  it('[REG-3] revoked-member and expired-cert: neither gets in any more; lists never go back', async () => {
    const clients = [
      await enrolClient(world, 5, 'automatic', 'Clinic'),
      await enrolClient(world, 6, 'automatic', 'Clinic'),
    ] as const;
    const certificates = clients.map(({ identity }) => certify(identity));
    for (const certificate of certificates) await registry.take(certificate);
    const first = twice((index) => revokeSerials([], { ...ports(index), last: null, isRotated: false }));
    const second = twice((index) =>
      revokeSerials([certificates[0]!], { ...ports(index), last: first, isRotated: false }),
    );
    await registry.take(second);
    await assert.rejects(registry.take(first), { code: 'bad-document' });
    await assert.rejects(clients[0].connect(), /bad-certificate.*revoked/);
    await clients[1].connect();
    clients[1].leave();
    await world.clock.advance(31 * 24 * hour);
    await assert.rejects(clients[1].connect(), /bad-certificate.*expired/);
  });

  it('[REG-7] revoked-member, while it is connected: its next message is refused and its connection ended, the others stay', async () => {
    const clients = [
      await enrolClient(world, 5, 'automatic', 'Clinic'),
      await enrolClient(world, 6, 'automatic', 'Clinic'),
    ] as const;
    const certificates = clients.map(({ identity }) => certify(identity));
    for (const certificate of certificates) await registry.take(certificate);
    for (const client of clients) await client.connect();
    assert.ok(clients.every(({ heard }) => heard.includes('offer')));
    await registry.take(
      twice((index) => revokeSerials([certificates[0]!], { ...ports(index), last: null, isRotated: false })),
    );
    const refused = await clients[0].accept();
    assert.match(JSON.stringify(refused), /bad-certificate.*revoked/);
    await assert.rejects(clients[0].accept(), { code: 'not-connected' });
    assert.ok((await clients[1].accept()).ok);
    await state.store.revokeClient(clients[1].identity.clientId);
    assert.match(JSON.stringify(await clients[1].upload(Float32Array.of(1, 2, 3))), /revoked-client.*withdrew/);
    await assert.rejects(clients[1].accept(), { code: 'not-connected' });
  });

  it('[REG-9] whose certificate expires or is revoked while it is connected fetches nothing any more either, and is hung up on', async () => {
    const clients: FakeClient[] = [];
    const certificates: IdentityDocument[] = [];
    for (const seed of [5, 6]) {
      const client = await enrolClient(world, seed, 'automatic', 'Clinic');
      const certificate = certify(client.identity);
      await registry.take(certificate);
      await client.connect();
      clients.push(client);
      certificates.push(certificate);
    }
    const [revoked, expired] = clients as [FakeClient, FakeClient];
    const { digest } = revoked.offer().adapter;
    for (const client of clients) assert.ok((await client.plain('fetch-chunk', { digest, index: 0 })).ok);
    await registry.take(
      twice((index) => revokeSerials([certificates[0]!], { ...ports(index), last: null, isRotated: false })),
    );
    await world.clock.advance(1_000);
    assert.match(JSON.stringify(await revoked.plain('fetch-chunk', { digest, index: 0 })), /was revoked/);
    await world.clock.advance(31 * 24 * hour);
    assert.match(JSON.stringify(await expired.plain('fetch-manifest', { digest })), /has expired/);
    for (const client of clients) await assert.rejects(client.plain('membership', {}), { code: 'not-connected' });
  });

  it('[REG-4] a rotated key is a client of its own; the old one is good for a day', async () => {
    const client = await enrolClient(world, 5, 'automatic', 'Clinic');
    const certificate = certify(client.identity);
    await registry.take(certificate);
    const next = identityOf(55);
    const read = readCertificate(certificate.bytes);
    assert.ok(read.ok);
    const { clientId, publicKey } = next;
    const nowMs = world.clock.nowMs();
    const serial = '0b'.repeat(16) as never;
    const member = encodeMember({ ...read.value.member, clientId, publicKey, epoch: 1, serial, notBeforeMs: nowMs });
    const rotation = { previous: certificate.bytes, signature: signRotation(client.identity, member) };
    const request = { kind: 'certificate' as const, bytes: encodeCertificate({ member, signatures: [], rotation }) };
    await registry.take(signDocument(request, { ...ports(2), fingerprint: undefined, days: 1 }));
    await registry.take(
      twice((index) => revokeSerials([certificate], { ...ports(index), last: null, isRotated: true })),
    );
    assert.equal(await registry.judge(next.clientId), null);
    assert.equal(await registry.judge(client.identity.clientId), null);
    await world.clock.advance(24 * hour);
    assert.equal(await registry.judge(next.clientId), null);
    assert.equal((await registry.judge(client.identity.clientId))?.code, 'bad-certificate');
    assert.equal((await state.store.client(next.clientId))?.status, 'approved');

    // A site leaves with all of its keys: what it contributed with the old one is its own, too, also when a later certificate does not name it.
    await registry.take(certify(next));
    assert.deepEqual(await keysOfSite(state.store, next.clientId), [next.clientId, client.identity.clientId]);
    assert.deepEqual(await keysOfSite(state.store, client.identity.clientId), [client.identity.clientId]);
    const { federationId } = world.coordinator;
    assert.equal((await world.transport.withdraw(sealWithdrawal(next, federationId, 1))).status, 200);
    for (const { clientId: key } of [next, client.identity])
      assert.equal((await state.store.client(key))?.status, 'revoked');
  });

  it('[REG-5] takes an approval of its own plan only, no second consortium, none once clients are there, and logs what it takes', async () => {
    const { planHash } = (await state.store.federation())!;
    await registry.take(twice((index) => signPlan(planHash, ports(index))));
    const other = twice((index) => signPlan('ab'.repeat(32) as never, ports(index)));
    await assert.rejects(registry.take(other), { code: 'bad-document' });
    const second = encodeConsortium({ ...consortium, name: 'Others' });
    await assert.rejects(registry.take({ kind: 'consortium', bytes: second }), { code: 'other-consortium' });
    const types = (await state.store.log.rows(0)).map((row) => entryOf(row).type);
    assert.equal(types.filter((type) => type === 'configuration-changed').length, 2);
    const late = await startWorld();
    await enrolClient(late, 5);
    const lateState = memoryState(seededEntropy(96));
    const log = createAuditLog({ store: lateState.store.log, identity: lateState.identity, clock: late.clock });
    const plain = createRegistry({ store: lateState.store, log, clock: late.clock, entropy });
    await assert.rejects(plain.take(certify(identityOf(5))), { code: 'no-consortium' });
  });

  it('[REG-6] killed between taking a document in and its entry: the next start logs it', async () => {
    const site = await enrolClient(world, 6, 'manual', 'Clinic');
    const { planHash } = (await state.store.federation())!;
    const silent = { record: async () => undefined } as unknown as ReturnType<typeof createAuditLog>;
    const killed = createRegistry({ store: state.store, log: silent, clock: world.clock, entropy });
    await killed.take(twice((index) => signPlan(planHash, ports(index))));
    await killed.take(certify(site.identity));
    await killed.take(twice((index) => revokeSerials([], { ...ports(index), last: null, isRotated: false })));
    const keys = async () => (await state.store.log.rows(0)).map((row) => keyOf(entryOf(row)));
    const wanted = [`configuration-changed/plan-approval/${planHash}`, 'certificate-taken/', 'revocations-taken/1'];
    const missing = async () => {
      const logged = await keys();
      return wanted.filter((key) => !logged.some((one) => one.startsWith(key)));
    };
    assert.deepEqual(await missing(), wanted);
    const audit = await openAudit(state, null, world.clock);
    await audit.start(planHash);
    assert.deepEqual(await missing(), []);
    const size = (await keys()).length;
    await audit.start(planHash);
    assert.equal((await keys()).length, size + 1, 'only the second start is new');
  });
});
