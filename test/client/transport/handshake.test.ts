import { strict as assert } from 'node:assert';
import type { Credentials } from '../../../client/platform/ports.ts';
import { createHandshake } from '../../../client/transport/handshake.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import { parseFederationId } from '../../../shared/core/ids.ts';
import { challengeLifetimeMs } from '../../../shared/core/limits.ts';
import type { Identity } from '../../../shared/crypto/identity.ts';
import { createIdentity } from '../../../shared/crypto/identity.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { openAuth, sealChallenge, sealEnrolment, sealWelcome } from '../../../shared/protocol/handshake.ts';
import { closeWorlds, manualClock, seededEntropy, startWorld } from '../../coordinator/harness.ts';
import { memoryPlatform } from '../memory-platform.ts';

const coordinator = createIdentity(seededEntropy(1));
const identity = createIdentity(seededEntropy(2));
const federationId = parseFederationId('f'.repeat(64));
const url = 'https://coordinator.example';
const credentials: Credentials = {
  url,
  federationId,
  coordinatorKey: toHex(coordinator.publicKey),
  clientId: identity.clientId,
  consortium: null,
};

/** A handshake whose challenges come from `answer`. */
function handshakeWith(answer: () => unknown, clock = manualClock(), status = 200) {
  const platform = memoryPlatform(
    3,
    async (address) => {
      assert.equal(address, `${url}/v1/challenge`);
      return { status, body: answer() };
    },
    clock,
  );
  return createHandshake({ platform, identity, credentials });
}
const challengeOf = (by: Identity, changes: { federationId?: typeof federationId; serverTimeMs?: number } = {}) =>
  sealChallenge(by, { serverNonce: seededEntropy(4).bytes(32), serverTimeMs: 1_000, federationId, ...changes });

describe('handshake of a client', () => {
  afterEach(closeWorlds);

  it('[CLI-70] ends for good at a challenge of another key or federation', async () => {
    const other = createIdentity(seededEntropy(9));
    const wrongFederation = challengeOf(coordinator, { federationId: parseFederationId('e'.repeat(64)) });
    for (const challenge of [challengeOf(other), wrongFederation, { ...challengeOf(coordinator), serverTimeMs: 7 }]) {
      await assert.rejects(handshakeWith(() => challenge).begin(), { code: 'admission-refused' });
    }
  });

  it('[CLI-71] tries again after an answer that is no challenge', async () => {
    await assert.rejects(handshakeWith(() => ({ hello: 'world' })).begin(), { code: 'connection-failed' });
    const gone = handshakeWith(() => challengeOf(coordinator), manualClock(), 502);
    await assert.rejects(gone.begin(), { code: 'connection-failed' });
  });

  it('[CLI-72] answers in the time of the coordinator', async () => {
    const clock = manualClock();
    const serverTimeMs = clock.nowMs() + 3_600_000;
    const slow = memoryPlatform(
      3,
      async () => {
        await clock.advance(200);
        return { status: 200, body: challengeOf(coordinator, { serverTimeMs }) };
      },
      clock,
    );
    const opening = await createHandshake({ platform: slow, identity, credentials }).begin();
    // The challenge took 200 ms; half of them are taken off.
    assert.equal(opening.clockOffsetMs, 3_600_000 - 100);
    const auth = openAuth(opening.auth);
    assert.equal(auth.ok && auth.value.timestampMs, clock.nowMs() + opening.clockOffsetMs);
  });

  it('[CLI-73] believes only the welcome of the pinned key to this very connection', async () => {
    const handshake = handshakeWith(() => challengeOf(coordinator));
    const [first, second] = [await handshake.begin(), await handshake.begin()];
    const auth = openAuth(first.auth);
    assert.ok(auth.ok);
    const { serverNonce, clientNonce, clientId } = auth.value;
    const welcome = { serverNonce, clientNonce, clientId, federationId, status: 'running' } as const;
    assert.equal(first.checkWelcome(sealWelcome(coordinator, welcome)), null);
    assert.equal(second.checkWelcome(sealWelcome(coordinator, welcome))?.code, 'wrong-signature');
    assert.equal(first.checkWelcome(sealWelcome(identity, welcome))?.code, 'wrong-signature');
    assert.equal(first.checkWelcome(new Uint8Array([1, 2, 3]))?.code, 'bad-frame');
  });

  it('[CLI-74] nonce-reuse, handshake-relay: an answer that comes after the nonce expired, or twice, is not let in; a fresh one is', async () => {
    const world = await startWorld();
    const code = parseEnrolmentCode(await world.coordinator.invite({ organisation: 'x', url }));
    await world.transport.enrol(sealEnrolment(identity, { ...code, name: 'x' }));
    const platform = memoryPlatform(3, () => world.transport.challenge(), world.clock);
    const coordinatorKey = toHex(code.coordinatorKey);
    const pinned = {
      ...{ url, federationId: code.federationId, coordinatorKey, clientId: identity.clientId },
      consortium: null,
    };
    const handshake = createHandshake({ platform, identity, credentials: pinned });
    const codeOf = async (auth: unknown) => {
      const admitted = await world.transport.connect(auth, () => undefined);
      return admitted.ok ? 'admitted' : admitted.error.code;
    };
    const late = await handshake.begin();
    await world.clock.advance(challengeLifetimeMs + 1);
    assert.equal(await codeOf(late.auth), 'stale-challenge');
    const fresh = await handshake.begin();
    assert.equal(await codeOf(fresh.auth), 'admitted');
    assert.equal(await codeOf(fresh.auth), 'stale-challenge');
  });
});
