import { strict as assert } from 'node:assert';
import { createGate } from '../../../coordinator/enrolment/gate.ts';
import { approveFingerprint, revokeFingerprint } from '../../../coordinator/enrolment/invites.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { fromHex } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { systemEntropy } from '../../../shared/crypto/entropy.ts';
import type { Identity } from '../../../shared/crypto/identity.ts';
import { fingerprint, identityFromSeed } from '../../../shared/crypto/identity.ts';
import type { EnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { enrolmentAnswerSchema, openChallenge, sealAuth, sealEnrolment } from '../../../shared/protocol/handshake.ts';
import type { Violation } from '../../../shared/protocol/violations.ts';
import { enrolClient, joinClient } from '../fake-client.ts';
import type { World } from '../harness.ts';
import { closeWorlds, seededEntropy, startWorld } from '../harness.ts';

const identityOf = (seed: number): Identity => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto);
const hour = 3_600_000;

describe('gate', () => {
  afterEach(closeWorlds);
  let world: World;
  let state: ReturnType<typeof memoryState>;
  beforeEach(async () => {
    state = memoryState(seededEntropy(1));
    world = await startWorld({ state });
  });
  const invite = async (approval: 'automatic' | 'manual' = 'automatic'): Promise<EnrolmentCode> =>
    parseEnrolmentCode(await world.coordinator.invite({ organisation: 'Clinic', url: 'http://localhost:1', approval }));
  const enrol = async (code: EnrolmentCode, seed: number): Promise<[number, Violation | string]> => {
    const { token, federationId } = code;
    const { status, body } = await world.transport.enrol(
      sealEnrolment(identityOf(seed), { token, name: 'ward', federationId }),
    );
    const { violation, status: member } = body as { violation?: Violation; status?: string };
    return [status, violation ?? member!];
  };
  const rejections = () => world.events.filter((event) => event.type === 'rejected').map(({ code }) => code);

  it('[EGT-1] an invite lets one key in, once; the answer has the published form', async () => {
    const code = await invite();
    const { token, federationId } = code;
    const { body } = await world.transport.enrol(sealEnrolment(identityOf(5), { token, name: 'ward', federationId }));
    const answer = enrolmentAnswerSchema.parse(JSON.parse(JSON.stringify(body)));
    assert.equal(answer.clientId, identityOf(5).clientId);
    assert.deepEqual(answer.coordinatorKey, code.coordinatorKey);
    assert.deepEqual(
      world.events.filter(({ type }) => type === 'enrolled'),
      [{ type: 'enrolled', clientId: identityOf(5).clientId, name: 'ward', status: 'approved' }],
    );
  });

  it('[EGT-2] invite reuse/expired/other org: used, expired and unknown tokens get the same answer', async () => {
    const [used, expired] = [await invite(), await invite()];
    assert.equal((await enrol(used, 5))[0], 200);
    // A code of another federation does not get as far as its token.
    const foreign = await enrol({ ...expired, federationId: 'e'.repeat(64) as EnrolmentCode['federationId'] }, 6);
    assert.deepEqual([foreign[0], (foreign[1] as Violation).code], [400, 'wrong-signature']);
    const reused = await enrol(used, 6);
    const unknown = await enrol({ ...used, token: new Uint8Array(32).fill(9) }, 6);
    await world.clock.advance(72 * hour);
    const late = await enrol(expired, 6);
    assert.equal(reused[0], 403);
    assert.equal((reused[1] as Violation).code, 'invite-invalid');
    assert.deepEqual(unknown, reused);
    assert.deepEqual(late, reused);
    assert.deepEqual(await state.store.clients().then((clients) => clients.length), 1);
    assert.deepEqual(rejections(), ['wrong-signature', 'invite-invalid', 'invite-invalid', 'invite-invalid']);
  });

  it('[EGT-3] one millisecond before its end an invite is good', async () => {
    const code = await invite();
    await world.clock.advance(72 * hour - 1);
    assert.deepEqual(await enrol(code, 5), [200, 'approved']);
  });

  it('[EGT-4] a client that heard no answer asks again with the same key and is enrolled once', async () => {
    const code = await invite('manual');
    assert.deepEqual(await enrol(code, 5), [200, 'pending']);
    assert.deepEqual(await enrol(code, 5), [200, 'pending']);
    assert.equal((await state.store.clients()).length, 1);
    assert.equal(world.events.filter(({ type }) => type === 'enrolled').length, 1);
  });

  it('[EGT-5] a key that is enrolled does not use a second invite up', async () => {
    const [first, second] = [await invite(), await invite()];
    await enrol(first, 5);
    assert.equal((await enrol(second, 5))[0], 403);
    assert.deepEqual(await enrol(second, 6), [200, 'approved']);
  });

  it('[EGT-6] only hashes of tokens are stored', async () => {
    const { token } = await invite();
    const stored = JSON.stringify(await state.store.invites());
    assert.ok(!stored.includes(Buffer.from(token).toString('hex')));
  });

  it('[EGT-7] a pending client is let in as soon as its fingerprint is approved, in whatever case and grouping', async () => {
    const client = await enrolClient(world, 5, 'manual');
    await assert.rejects(client.connect(), /pending-client/);
    await assert.rejects(approveFingerprint(state.store, 'ABCD'), { code: 'no-such-fingerprint' });
    const print = fingerprint(client.identity.publicKey);
    await approveFingerprint(state.store, print.toLowerCase().replaceAll('-', ' '));
    await client.connect();
    assert.deepEqual(client.heard, ['welcome']);
    await assert.rejects(approveFingerprint(state.store, print), { code: 'no-such-fingerprint' });
  });

  it('[EGT-8] a revoked client is not let in, cannot enrol again, and nothing that it says counts', async () => {
    const clients = [await joinClient(world, 5), await joinClient(world, 6)] as const;
    const print = fingerprint(clients[0].identity.publicKey);
    assert.equal((await revokeFingerprint(state.store, print)).status, 'revoked');
    const refused = await clients[0].accept();
    assert.equal(!refused.ok && refused.error.code, 'revoked-client');
    const { roundHash } = clients[0].offer();
    await assert.rejects(clients[0].plain('commit', { roundHash }), { code: 'not-connected' });
    assert.ok((await clients[1].accept()).ok);
    await assert.rejects(clients[0].connect(), /revoked-client/);
    await revokeFingerprint(state.store, fingerprint(clients[1].identity.publicKey));
    const committed = await clients[1].plain('commit', { roundHash });
    assert.equal(!committed.ok && committed.error.code, 'revoked-client');
    await assert.rejects(revokeFingerprint(state.store, print), { code: 'no-such-fingerprint' });
  });

  it('[EGT-9] a challenge is answered once, within 30 seconds, by an enrolled key', async () => {
    const code = await invite();
    const identity = identityOf(5);
    const { coordinatorKey, federationId } = code;
    const answer = async (waitMs = 0, signer = identity) => {
      const opened = openChallenge((await world.transport.challenge()).body, { coordinatorKey, federationId });
      assert.ok(opened.ok);
      await world.clock.advance(waitMs);
      const clientNonce = new Uint8Array(32);
      const { serverNonce } = opened.value;
      return sealAuth(signer, { serverNonce, clientNonce, coordinatorKey, timestampMs: world.clock.nowMs() });
    };
    const admitted = async (auth: unknown): Promise<string> => {
      const connected = await world.transport.connect(auth, () => undefined);
      return connected.ok ? 'in' : connected.error.code;
    };
    assert.equal(await admitted(await answer()), 'unknown-client');
    await enrol(code, 5);
    const auth = await answer();
    assert.equal(await admitted(auth), 'in');
    assert.equal(await admitted(auth), 'stale-challenge');
    assert.equal(await admitted(await answer(30_000)), 'in');
    assert.equal(await admitted(await answer(30_001)), 'stale-challenge');
    assert.equal(await admitted({ ...(await answer()), serverNonce: '00'.repeat(32) }), 'stale-challenge');
    assert.equal(
      await admitted({ ...(await answer(0, identityOf(6))), clientId: identity.clientId }),
      'wrong-signature',
    );
    assert.equal(await admitted('nothing'), 'bad-frame');
    const late = await answer();
    assert.equal(await admitted({ ...late, timestampMs: world.clock.nowMs() + 5 }), 'wrong-signature');
  });

  it('[EGT-10] a flood of challenges pushes the oldest out and takes no more memory', async () => {
    const { coordinatorKey } = await invite();
    const record = await state.store.federation();
    const gate = createGate({
      judgeMember: async () => null,
      onWithdrawn: async () => undefined,
      // Nobody looks at these signatures: ten thousand real ones would take a second.
      identity: { ...state.identity, sign: () => new Uint8Array(64) },
      record: record!,
      store: state.store,
      clock: world.clock,
      entropy: systemEntropy,
      status: () => 'running',
      onEnrolled: () => undefined,
      onRejected: () => undefined,
    });
    const nonces: string[] = [];
    for (let count = 0; count <= 10_000; count++)
      nonces.push(((await gate.challenge()).body as { serverNonce: string }).serverNonce);
    const codeFor = async (nonce: string): Promise<string> => {
      const serverNonce = fromHex(nonce);
      const timestampMs = world.clock.nowMs();
      const answer = { serverNonce, clientNonce: new Uint8Array(32), coordinatorKey, timestampMs };
      const admitted = await gate.admit(sealAuth(identityOf(5), answer));
      return admitted.ok ? 'in' : admitted.error.code;
    };
    assert.equal(await codeFor(nonces[0]!), 'stale-challenge');
    // Known, so that it goes on to the next question.
    assert.equal(await codeFor(nonces[1]!), 'unknown-client');
    assert.equal(await codeFor(nonces.at(-1)!), 'unknown-client');
  });

  it('[EGT-11] timing-token-compare: unknown, used and expired tokens cost the same steps on the store, whatever their bytes', async () => {
    const record = (await state.store.federation())!;
    const steps: string[] = [];
    const store = Object.fromEntries(
      Object.entries(state.store).map(([name, step]) => [
        name,
        typeof step === 'function'
          ? (...parameters: never[]) => {
              steps.push(name);
              return (step as (...given: never[]) => unknown)(...parameters);
            }
          : step,
      ]),
    ) as unknown as typeof state.store;
    const gate = createGate({
      ...{ identity: state.identity, record, store, clock: world.clock, entropy: systemEntropy },
      status: () => 'running',
      judgeMember: async () => null,
      onWithdrawn: async () => undefined,
      onEnrolled: () => undefined,
      onRejected: () => undefined,
    });
    const [used, expired] = [await invite(), await invite()];
    await enrol(used, 5);
    const near = Uint8Array.from(used.token);
    near[31]! ^= 1;
    const costOf = async (token: Uint8Array): Promise<string> => {
      steps.length = 0;
      const { federationId } = record;
      const answer = await gate.enrol(sealEnrolment(identityOf(6), { token, name: 'x', federationId }));
      assert.equal(answer.status, 403);
      return steps.join();
    };
    const expected = await costOf(new Uint8Array(32));
    assert.equal(await costOf(near), expected);
    assert.equal(await costOf(used.token), expected);
    await world.clock.advance(72 * hour);
    assert.equal(await costOf(expired.token), expected);
  });
});
