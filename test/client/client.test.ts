import { strict as assert } from 'node:assert';
import { type ClientOptions, createClient } from '../../client/client.ts';
import type { ClientEvent } from '../../client/events.ts';
import { FederationError, StoreError } from '../../shared/core/errors.ts';
import { parseDigest, parseFederationId } from '../../shared/core/ids.ts';
import { createIdentity } from '../../shared/crypto/identity.ts';
import { consortiumFingerprint, consortiumHashOf } from '../../shared/identity/consortium.ts';
import { formatEnrolmentCode, parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { seededEntropy, settled, until } from '../coordinator/harness.ts';
import { coordinatorDouble } from './coordinator-double.ts';
import { fixedCounts, fixedLearner } from './fixed-learner.ts';

import { ones, startClient, stopClients, untilAborted } from './running-client.ts';

describe('client', () => {
  afterEach(stopClients);

  it('[CLI-40] goes through a round in the order of the protocol, and writes the contribution down before it sends it', async () => {
    const double = coordinatorDouble();
    const gate = Promise.withResolvers<void>();
    double.meddle('update', gate.promise);
    const client = await startClient(double);
    const offer = double.offer(0);
    await until(() => double.names().includes('update'));
    const { roundHash, roundParams } = offer;
    const { sessionId, federationId } = roundParams;
    const contribution = { roundIndex: 0, roundHash, sessionId };
    assert.deepEqual(double.platform.entry().contributions, { [federationId]: contribution });
    gate.resolve();
    await until(() => client.of('uploaded').length === 1);
    double.evaluate(roundHash, 1);
    await until(() => client.of('evaluated').length === 1);
    double.result(offer, 1);
    double.finish();
    await client.ended;
    assert.deepEqual(double.names(), ['accept', 'update', 'upload-chunk', 'commit', 'evaluation']);
    assert.deepEqual(client.outcome(), { kind: 'completed', detail: 'the test is over' });
    const { exampleCount, ...metrics } = fixedCounts;
    const sent = double.heard.at(-1)!.body;
    assert.deepEqual([sent.exampleCount, sent.metrics], [exampleCount, metrics]);
    assert.equal(double.heard.find(({ name }) => name === 'update')!.body.trainLoss, 0.5);
    assert.equal(double.isConnected(), false);
  });

  it('[CLI-97] ends with a coordinator that leaves before it answers about its log', async () => {
    const double = coordinatorDouble();
    double.meddle('prove', new Promise(() => undefined));
    const client = await startClient(double);
    const offer = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.result(offer, 1);
    double.finish();
    await settled();
    assert.equal(client.outcome(), null, 'it asks while the coordinator is there');
    double.drop(false);
    await client.ended;
    assert.deepEqual(client.outcome(), { kind: 'completed', detail: 'the test is over' });
  });

  it('[CLI-42] goes on training without a connection, and sends its update when it is back', async () => {
    const double = coordinatorDouble();
    const trained = Promise.withResolvers<Float32Array>();
    const client = await startClient(double, () => trained.promise);
    double.offer(0);
    await until(() => double.names().includes('accept'));
    double.drop(false);
    await settled();
    trained.resolve(ones());
    await settled();
    assert.deepEqual(double.names(), ['accept']);
    // Some attempts in vain, then the coordinator is there again and repeats its offer.
    for (let attempt = 0; attempt < 3; attempt++) await double.clock.advance(30_000);
    assert.ok(double.connects() > 2);
    double.comeBack();
    await double.clock.advance(30_000);
    double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    assert.deepEqual(double.names(), ['accept', 'update', 'upload-chunk', 'commit']);
    assert.ok(client.of('disconnected').length >= 3);
  });

  it('[CLI-43] a coordinator that was restarted offers the next round: the old work is dropped', async () => {
    const double = coordinatorDouble();
    const aborted: unknown[] = [];
    const client = await startClient(double, (roundIndex, _start, signal) => {
      if (roundIndex > 0) return ones();
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(signal.reason);
          reject(signal.reason);
        });
      });
    });
    double.offer(0);
    await until(() => double.names().includes('accept'));
    double.drop();
    await double.clock.advance(30_000);
    double.offer(1);
    await until(() => client.of('uploaded').length === 1);
    assert.equal(aborted.length, 1);
    assert.equal(client.of('uploaded')[0]!.roundIndex, 1);
    assert.deepEqual(client.of('problem'), []);
  });

  it('[CLI-44] a lost answer costs nothing', async () => {
    const double = coordinatorDouble();
    for (const name of ['accept', 'update', 'upload-chunk', 'commit'] as const) double.meddle(name, 'lost');
    const client = await startClient(double);
    double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    assert.deepEqual(double.names(), [
      'accept',
      'accept',
      'update',
      'update',
      'upload-chunk',
      'upload-chunk',
      'commit',
      'commit',
    ]);
  });

  it('[CLI-45] who is too late hears why, and takes part in the next round', async () => {
    const double = coordinatorDouble();
    double.meddle('commit', 'late-update');
    const client = await startClient(double);
    double.offer(0);
    await until(() => client.of('problem').length === 1);
    assert.equal(client.of('problem')[0]!.code, 'late-update');
    double.offer(1);
    await until(() => client.of('uploaded').length === 1);
  });

  it('[CLI-46] a result while it trains ends the round for this client', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double, untilAborted);
    const offer = double.offer(0);
    await until(() => double.names().includes('accept'));
    double.result(offer, 1);
    await settled();
    assert.equal(client.of('result').length, 1);
    assert.deepEqual(client.of('uploaded'), []);
    double.offer(1, { value: 1 });
    await until(() => double.names().filter((name) => name === 'accept').length === 2);
  });

  it('[CLI-47] stops at once when its user says so, in the middle of training', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double, untilAborted);
    double.offer(0);
    await until(() => double.names().includes('accept'));
    client.stop();
    await client.ended;
    assert.deepEqual(client.outcome(), { kind: 'stopped', detail: 'stopped by its user' });
    assert.equal(double.isConnected(), false);
    assert.deepEqual(double.names(), ['accept']);
    assert.equal(client.events.at(-1)!.type, 'finished');
  });

  it('[CLI-48] a disk that keeps nothing ends the client before an update leaves it', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double, () => {
      double.platform.breakDisk('journal');
      return ones();
    });
    double.offer(0);
    await client.ended;
    const outcome = client.outcome();
    assert.ok(outcome instanceof StoreError && outcome.code === 'journal-not-written');
    assert.deepEqual(double.names(), ['accept']);
    assert.equal(double.isConnected(), false);
  });

  it('[CLI-55] what is not signed by the pinned key is reported and not done', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double);
    const by = createIdentity(seededEntropy(9));
    double.result(double.offer(0, { by }), 1, { by });
    await settled();
    assert.deepEqual(
      client.of('problem').map(({ code }) => code),
      ['wrong-signature', 'wrong-signature'],
    );
    assert.deepEqual([double.heard, client.of('result'), client.of('offered')], [[], [], []]);
  });

  it('[CLI-56] a round that starts from another model than the last result is declined', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double);
    const offer = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.result(offer, 1);
    double.offer(1, { value: 2 });
    await until(() => double.names().at(-1) === 'decline');
    assert.equal(double.heard.at(-1)!.body.code, 'model-discontinuity');
  });

  it('[CLI-130] a client that was restarted takes on no earlier round than the last that ended, void or not, and none from another model', async () => {
    const double = coordinatorDouble();
    const restarted = async (tell: (client: Awaited<ReturnType<typeof startClient>>) => Promise<void>) => {
      const client = await startClient(double);
      await tell(client);
      client.stop();
      await client.ended;
    };
    const declined = async (roundIndex: number, value: number): Promise<string | undefined> => {
      const before = double.heard.length;
      double.offer(roundIndex, { value });
      await until(() => double.heard.slice(before).some(({ name }) => name === 'decline' || name === 'update'));
      return double.heard.slice(before).find(({ name }) => name === 'decline')?.body.code;
    };
    const other = { roundHash: parseDigest('a'.repeat(64)), roundParams: { roundIndex: 3 } };
    await restarted(async (client) => {
      double.result(other, 1);
      await until(() => client.of('result').length === 1);
    });
    await restarted(async () => {
      assert.equal(await declined(3, 1), 'stale-round');
      assert.equal(await declined(4, 2), 'model-discontinuity');
    });
    await restarted(async (client) => {
      double.void({ ...other, roundParams: { roundIndex: 5 } }, 1);
      await until(() => client.of('void').length === 1);
    });
    await restarted(async () => {
      assert.equal(await declined(5, 1), 'stale-round');
      assert.equal(await declined(6, 2), 'model-discontinuity');
      assert.equal(await declined(6, 1), undefined);
    });
  });

  it('[CLI-57] a client that was restarted contributes no second time, and does not hold up an evaluation', async () => {
    const double = coordinatorDouble();
    const first = await startClient(double);
    const { roundHash } = double.offer(0);
    await until(() => first.of('uploaded').length === 1);
    first.stop();
    await first.ended;
    // Enrolled already: no invite.
    const options: Partial<ClientOptions> = { invite: undefined } as object;
    const second = await startClient(double, ones, options);
    double.offer(0, { attempt: 1 });
    await until(() => double.names().at(-1) === 'decline');
    assert.equal(double.heard.at(-1)!.body.code, 'stale-round');
    double.evaluate(roundHash, 1);
    await until(() => double.names().at(-1) === 'evaluation');
    assert.equal(double.heard.at(-1)!.body.metrics, null);
    assert.equal(second.of('problem')[0]!.code, 'unknown-round');
  });

  it('[CLI-98] who sees a fork of the log while it trains sends nothing any more, also after a restart', async () => {
    const double = coordinatorDouble();
    const trained = Promise.withResolvers<Float32Array>();
    const client = await startClient(double, () => trained.promise);
    double.offer(1);
    await until(() => double.names().includes('accept'));
    double.result({ roundHash: parseDigest('a'.repeat(64)), roundParams: { roundIndex: 0 } }, 0, { isLogged: false });
    await until(() => client.of('problem').some(({ code }) => code === 'log-fork'));
    trained.resolve(ones());
    await until(() => double.names().includes('decline'));
    client.stop();
    await client.ended;
    const again = await startClient(double);
    double.offer(2);
    await until(() => double.names().filter((name) => name === 'decline').length === 2);
    assert.deepEqual(double.names(), ['accept', 'decline', 'decline']);
    for (const { detail } of [...client.of('declined'), ...again.of('declined')]) assert.match(detail, /log-fork/);
    assert.deepEqual(double.platform.entry().contributions, {}, 'a number that nothing was sent for is not used up');
  });

  it('[CLI-99] who sees a fork after its update evaluates no more', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double);
    const offer = double.offer(1);
    await until(() => client.of('uploaded').length === 1);
    double.result({ roundHash: parseDigest('a'.repeat(64)), roundParams: { roundIndex: 0 } }, 0, { isLogged: false });
    await until(() => client.of('problem').length === 1);
    double.evaluate(offer.roundHash, 1);
    await until(() => client.of('problem').length === 2);
    assert.deepEqual(client.of('evaluated'), []);
    assert.ok(!double.names().includes('evaluation'));
  });

  it('[CLI-58] without credentials an invite is needed, and one for another federation is refused', async () => {
    const double = coordinatorDouble();
    await assert.rejects(startClient(double, ones, { invite: undefined } as object), { code: 'not-enrolled' });
    const client = await startClient(double);
    client.stop();
    await client.ended;
    const other = double.inviteTo(parseFederationId('e'.repeat(64)));
    await assert.rejects(startClient(double, ones, { invite: other }), { code: 'other-federation' });
    // The same federation at another address: the stored credentials move with it.
    const { federationId } = double.offer(0).roundParams;
    await startClient(double, ones, { invite: double.inviteTo(federationId, 'https://elsewhere.example') });
    assert.equal(double.platform.entry().credentials?.url, 'https://elsewhere.example');
  });

  it('[CLI-63] says which consortium its site pinned, as administrators read it in its file, or that none certifies clients', async () => {
    const certifying = { name: 'Hospitals', threshold: 1, keys: [createIdentity(seededEntropy(1)).publicKey] };
    for (const consortium of [null, consortiumHashOf(certifying)]) {
      const double = coordinatorDouble();
      const invite = formatEnrolmentCode({ ...parseEnrolmentCode(double.invite), consortium });
      const learner = fixedLearner({ dim: 1, delta: ones });
      const client = await createClient({ platform: double.platform, learner, invite });
      assert.equal(client.consortium, consortium === null ? null : consortiumFingerprint(certifying));
    }
  });

  it('[CLI-62] what its listener throws ends the client, wherever it was called from', async () => {
    for (const type of ['connected', 'offered', 'training', 'uploaded', 'problem', 'finished'] as const) {
      const double = coordinatorDouble();
      const onEvent = (event: ClientEvent): void => {
        if (event.type === type) throw new Error(`no ${type}`);
      };
      const failing = (): never => {
        throw new FederationError('broken', 'the data are broken');
      };
      const client = await startClient(double, type === 'problem' ? failing : ones, { onEvent });
      double.offer(0);
      if (type === 'finished') double.finish();
      await client.ended;
      const outcome = client.outcome();
      assert.ok(outcome instanceof Error && outcome.message === `no ${type}`, `${type} ends it`);
      assert.equal(double.isConnected(), false);
    }
    const double = coordinatorDouble();
    const onEvent = (event: ClientEvent): void => {
      if (event.type === 'problem') throw new Error(event.code);
    };
    const client = await startClient(double, ones, { onEvent });
    double.offer(0, { by: createIdentity(seededEntropy(9)) });
    await client.ended;
    const outcome = client.outcome();
    assert.ok(outcome instanceof Error && outcome.message === 'wrong-signature');
  });
});
