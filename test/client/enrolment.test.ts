import { strict as assert } from 'node:assert';
import type { EnrolOptions } from '../../client/enrolment.ts';
import { credentialsOf, enrol } from '../../client/enrolment.ts';
import type { JsonAnswer } from '../../client/platform/ports.ts';
import { approveFingerprint } from '../../coordinator/enrolment/invites.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { TransportError } from '../../shared/core/errors.ts';
import { createIdentity, fingerprint } from '../../shared/crypto/identity.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { closeWorlds, seededEntropy, settled, startWorld } from '../coordinator/harness.ts';
import { memoryPlatform } from './memory-platform.ts';

const url = 'https://coordinator.example';
const identity = createIdentity(seededEntropy(2));

/** A coordinator in memory, an invite, and an enrolment whose requests pass through `between`. */
async function setting(
  approval: 'automatic' | 'manual',
  between: (answer: JsonAnswer, count: number) => JsonAnswer = (answer) => answer,
) {
  const state = memoryState(seededEntropy(1));
  const world = await startWorld({ state });
  const code = parseEnrolmentCode(await world.coordinator.invite({ organisation: 'x', approval, url }));
  const heard: string[] = [];
  let requests = 0;
  const platform = memoryPlatform(
    3,
    async (address, _timeoutMs, body) => {
      assert.equal(address, `${url}/v1/enrol`);
      return between(await world.transport.enrol(body), ++requests);
    },
    world.clock,
  );
  const controller = new AbortController();
  const start = (changes: Partial<EnrolOptions> = {}) =>
    enrol({
      platform,
      identity,
      code,
      name: 'site',
      onRedeemed: async () => void heard.push('redeemed'),
      onPending: () => heard.push('pending'),
      onUnanswered: () => heard.push('unanswered'),
      signal: controller.signal,
      ...changes,
    });
  return {
    state,
    world,
    code,
    heard,
    start,
    abort: () => controller.abort(new Error('stopped')),
    count: () => requests,
  };
}

describe('enrolment of a client', () => {
  afterEach(closeWorlds);

  it('[CLI-75] redeems an invite that needs no approval', async () => {
    const { start, heard, code } = await setting('automatic');
    assert.deepEqual(await start(), { ok: true, value: null });
    assert.deepEqual(heard, ['redeemed']);
    assert.equal(credentialsOf({ ...code, url: 'https://host/' }, identity).url, 'https://host');
  });

  it('[CLI-76] asks again when the answer got lost, and the token still counts', async () => {
    const { start, world, heard, count } = await setting('automatic', (answer, request) => {
      if (request === 1) throw new TransportError('no-answer', 'the connection broke');
      if (request === 2) return { status: 502, body: null };
      return answer;
    });
    const enrolled = start();
    for (let request = 1; request <= 2; request++) {
      await settled();
      assert.equal(count(), request);
      await world.clock.advance(30_000);
    }
    assert.deepEqual(await enrolled, { ok: true, value: null });
    assert.deepEqual(heard, ['unanswered', 'unanswered', 'redeemed']);
  });

  it('[CLI-77] waits for approval with growing delays, and says so once', async () => {
    const { start, state, world, heard, count } = await setting('manual');
    const enrolled = start();
    await settled();
    const delays: number[] = [];
    for (let seen = count(); seen < 6; seen = count()) {
      let waitedMs = 0;
      while (count() === seen) {
        await world.clock.advance(50);
        waitedMs += 50;
      }
      delays.push(waitedMs);
    }
    assert.ok(delays.at(-1)! > 4 * delays[0]!, `delays ${delays.join(', ')}`);
    assert.deepEqual(heard, ['redeemed', 'pending']);
    await approveFingerprint(state.store, fingerprint(identity.publicKey));
    await world.clock.advance(30_000);
    assert.deepEqual(await enrolled, { ok: true, value: null });
    assert.deepEqual(heard, ['redeemed', 'pending']);
  });

  it('[CLI-78] an invite that another key redeemed is refused', async () => {
    const { start } = await setting('automatic');
    await start();
    const refused = await start({ identity: createIdentity(seededEntropy(7)) });
    assert.equal(!refused.ok && refused.error.code, 'invite-invalid');
  });

  it('[CLI-79] an answer about another federation or key is refused', async () => {
    for (const change of [{ federationId: 'e'.repeat(64) }, { coordinatorKey: 'e'.repeat(64) }]) {
      const { start, heard } = await setting('automatic', ({ status, body }) => ({
        status,
        body: { ...(body as object), ...change },
      }));
      const refused = await start();
      assert.equal(!refused.ok && refused.error.code, 'wrong-federation');
      assert.deepEqual(heard, []);
    }
  });

  it('[CLI-80] ends when it is stopped while it waits', async () => {
    const { start, abort } = await setting('manual');
    const enrolled = start();
    await settled();
    abort();
    await assert.rejects(enrolled, /stopped/);
  });
});
