import { strict as assert } from 'node:assert';
import type { ClientOptions } from '../../client/client.ts';
import { createClient } from '../../client/client.ts';
import type { ClientEvent } from '../../client/events.ts';
import type { FinishReason } from '../../client/session/machine.ts';
import { FederationError, StoreError } from '../../shared/core/errors.ts';
import { parseFederationId } from '../../shared/core/ids.ts';
import { createIdentity } from '../../shared/crypto/identity.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { seededEntropy, settled, until } from '../coordinator/harness.ts';
import type { CoordinatorDouble } from './coordinator-double.ts';
import { coordinatorDouble, dim, doublePlan } from './coordinator-double.ts';
import type { FixedLearning } from './fixed-learner.ts';
import { fixedCounts, fixedLearner } from './fixed-learner.ts';

const policy = parsePolicy({ cohortMin: 2, quorumMin: 2, discloseMetrics: true }, 'the test');
const ones = () => new Float32Array(dim).fill(1);

/** Training that never ends by itself. */
const untilAborted: FixedLearning['delta'] = (_roundIndex, _start, signal) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });

/** Clients of the test that runs. */
const running: (() => Promise<unknown>)[] = [];

/** Starts a client of the double and waits until it is connected. */
async function start(
  double: CoordinatorDouble,
  delta: FixedLearning['delta'] = ones,
  options: Partial<ClientOptions> = {},
) {
  const events: ClientEvent[] = [];
  const controller = new AbortController();
  const client = await createClient({
    platform: double.platform,
    learner: fixedLearner({ dim, delta }),
    policy,
    invite: double.invite,
    onEvent: (event) => events.push(event),
    transportOf: double.transportOf,
    ...options,
  });
  let outcome: FinishReason | Error | null = null;
  const ended = client.run(controller.signal).then(
    (reason) => {
      outcome = reason;
    },
    (thrown: Error) => {
      outcome = thrown;
    },
  );
  running.push(() => {
    controller.abort();
    return ended;
  });
  await settled();
  const of = <Type extends ClientEvent['type']>(type: Type) =>
    events.filter((event): event is Extract<ClientEvent, { type: Type }> => event.type === type);
  return { events, of, ended, outcome: () => outcome, stop: () => controller.abort() };
}

describe('client', () => {
  afterEach(async () => {
    for (const stop of running.splice(0)) await stop();
  });

  it('[CLI-40] goes through a round in the order of the protocol, and writes the contribution down before it sends it', async () => {
    const double = coordinatorDouble();
    const gate = Promise.withResolvers<void>();
    double.meddle('update', gate.promise);
    const client = await start(double);
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

  it('[CLI-41] keeps base and plan over rounds, and fetches a candidate once', async () => {
    const double = coordinatorDouble();
    const learner = fixedLearner({ dim, delta: ones });
    let loaded = 0;
    const prepare: typeof learner.prepare = (plan, files) => {
      loaded++;
      return learner.prepare(plan, files);
    };
    const client = await start(double, ones, { learner: { ...learner, prepare } });
    for (const round of [0, 1]) {
      const offer = double.offer(round, { value: round });
      await until(() => client.of('uploaded').length === round + 1);
      double.evaluate(offer.roundHash, round + 1);
      await until(() => client.of('evaluated').length === round + 1);
      double.result(offer, round + 1);
    }
    const fetched = client.of('downloaded').map(({ what }) => what);
    assert.deepEqual(fetched, ['plan', 'base/weights.bin', 'adapter', 'adapter', 'adapter']);
    assert.equal(loaded, 1);
  });

  it('[CLI-42] goes on training without a connection, and sends its update when it is back', async () => {
    const double = coordinatorDouble();
    const trained = Promise.withResolvers<Float32Array>();
    const client = await start(double, () => trained.promise);
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
    const client = await start(double, (roundIndex, _start, signal) => {
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
    const client = await start(double);
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
    const client = await start(double);
    double.offer(0);
    await until(() => client.of('problem').length === 1);
    assert.equal(client.of('problem')[0]!.code, 'late-update');
    double.offer(1);
    await until(() => client.of('uploaded').length === 1);
  });

  it('[CLI-46] a result while it trains ends the round for this client', async () => {
    const double = coordinatorDouble();
    const client = await start(double, untilAborted);
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
    const client = await start(double, untilAborted);
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
    const client = await start(double, () => {
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

  it('[CLI-49] a cache that keeps nothing is told, and the client goes on', async () => {
    const double = coordinatorDouble();
    double.platform.breakDisk('cache');
    const client = await start(double);
    double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    assert.deepEqual(
      client.of('problem').map(({ code }) => code),
      ['cache', 'cache'],
    );
  });

  it('[CLI-50] a policy that refuses says why, and nothing else leaves the site', async () => {
    const double = coordinatorDouble();
    const strict = parsePolicy({ cohortMin: 2, quorumMin: 2, exampleCountMin: 100, roundsMax: 1 }, 'the test');
    await start(double, ones, { policy: strict });
    double.offer(0);
    await until(() => double.names().includes('decline'));
    const { code, reason } = double.heard.at(-1)!.body;
    assert.equal(code, 'policy-refused');
    assert.match(reason!, /too-few-examples: .*10 training rows.*roundsMax/);
    assert.deepEqual(double.names(), ['decline']);
    assert.equal(double.platform.content.size, 1);
    double.offer(1, { plan: doublePlan({ count: 1 }) });
    await until(() => double.names().length === 2);
    assert.doesNotMatch(double.heard.at(-1)!.body.reason!, /roundsMax/);
  });

  it('[CLI-51] a failure of the site is told with its code only, and the whole of it to its owner', async () => {
    const double = coordinatorDouble();
    const client = await start(double, () => {
      throw new FederationError('unknown-label', 'the row in line 7 has the label "diagnosis of Mr Smith"');
    });
    double.offer(0);
    await until(() => double.names().includes('decline'));
    const { code, reason } = double.heard.at(-1)!.body;
    assert.deepEqual([code, reason], ['training-failed', 'the site could not do its part (unknown-label)']);
    assert.match(client.of('problem')[0]!.detail, /Mr Smith/);
  });

  it('[CLI-52] a delta that is no number costs no contribution', async () => {
    const double = coordinatorDouble();
    await start(double, () => ones().fill(Number.NaN, 2, 3));
    double.offer(0);
    await until(() => double.names().includes('decline'));
    assert.match(double.heard.at(-1)!.body.reason!, /training-diverged/);
    assert.deepEqual(double.platform.entry().contributions, {});
  });

  it('[CLI-53] discloses neither loss nor counts unless the policy says so, and still answers at once', async () => {
    const double = coordinatorDouble();
    const silent = parsePolicy({ cohortMin: 2, quorumMin: 2 }, 'the test');
    const client = await start(double, ones, { policy: silent });
    const { roundHash } = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.evaluate(roundHash, 1);
    await until(() => client.of('evaluated').length === 1);
    assert.equal(double.heard.find(({ name }) => name === 'update')!.body.trainLoss, null);
    const { exampleCount, metrics } = double.heard.at(-1)!.body;
    assert.deepEqual([exampleCount, metrics], [0, null]);
    assert.equal(client.of('evaluated')[0]!.disclosed, false);
  });

  it('[CLI-54] a candidate that is not what was signed is not evaluated, and the round does not wait', async () => {
    const double = coordinatorDouble();
    const client = await start(double);
    const { roundHash } = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.evaluate(roundHash, 1, roundHash);
    await until(() => double.names().at(-1) === 'evaluation');
    assert.equal(client.of('problem')[0]!.code, 'model-mismatch');
    assert.equal(double.heard.at(-1)!.body.metrics, null);
  });

  it('[CLI-55] what is not signed by the pinned key is reported and not done', async () => {
    const double = coordinatorDouble();
    const client = await start(double);
    const by = createIdentity(seededEntropy(9));
    double.result(double.offer(0, { by }), 1, by);
    await settled();
    assert.deepEqual(
      client.of('problem').map(({ code }) => code),
      ['wrong-signature', 'wrong-signature'],
    );
    assert.deepEqual([double.heard, client.of('result'), client.of('offered')], [[], [], []]);
  });

  it('[CLI-56] a round that starts from another model than the last result is declined', async () => {
    const double = coordinatorDouble();
    const client = await start(double);
    const offer = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.result(offer, 1);
    double.offer(1, { value: 2 });
    await until(() => double.names().at(-1) === 'decline');
    assert.equal(double.heard.at(-1)!.body.code, 'model-discontinuity');
  });

  it('[CLI-57] a client that was restarted contributes no second time, and does not hold up an evaluation', async () => {
    const double = coordinatorDouble();
    const first = await start(double);
    const { roundHash } = double.offer(0);
    await until(() => first.of('uploaded').length === 1);
    first.stop();
    await first.ended;
    // Enrolled already: no invite.
    const options: Partial<ClientOptions> = { invite: undefined } as object;
    const second = await start(double, ones, options);
    double.offer(0, { attempt: 1 });
    await until(() => double.names().at(-1) === 'decline');
    assert.equal(double.heard.at(-1)!.body.code, 'stale-round');
    double.evaluate(roundHash, 1);
    await until(() => double.names().at(-1) === 'evaluation');
    assert.equal(double.heard.at(-1)!.body.metrics, null);
    assert.equal(second.of('problem')[0]!.code, 'unknown-round');
  });

  it('[CLI-58] without credentials an invite is needed, and one for another federation is refused', async () => {
    const double = coordinatorDouble();
    await assert.rejects(start(double, ones, { invite: undefined } as object), { code: 'not-enrolled' });
    const client = await start(double);
    client.stop();
    await client.ended;
    const other = double.inviteTo(parseFederationId('e'.repeat(64)));
    await assert.rejects(start(double, ones, { invite: other }), { code: 'other-federation' });
    // The same federation at another address: the stored credentials move with it.
    const { federationId } = double.offer(0).roundParams;
    await start(double, ones, { invite: double.inviteTo(federationId, 'https://elsewhere.example') });
    assert.equal(double.platform.entry().credentials?.url, 'https://elsewhere.example');
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
      const client = await start(double, type === 'problem' ? failing : ones, { onEvent });
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
    const client = await start(double, ones, { onEvent });
    double.offer(0, { by: createIdentity(seededEntropy(9)) });
    await client.ended;
    const outcome = client.outcome();
    assert.ok(outcome instanceof Error && outcome.message === 'wrong-signature');
  });

  it('[CLI-59] reports progress to the coordinator seldom', async () => {
    const double = coordinatorDouble();
    const learner = fixedLearner({ dim, delta: ones });
    const steps = Promise.withResolvers<void>();
    await start(double, ones, {
      learner: {
        ...learner,
        prepare: async (plan, files) => ({
          ...(await learner.prepare(plan, files)),
          train: async ({ onProgress }) => {
            for (let step = 1; step <= 100; step++) {
              onProgress({ stepsDone: step, stepCount: 100, loss: 1 });
              await double.clock.advance(100);
            }
            steps.resolve();
            return { delta: ones(), exampleCount: 1, meanLoss: 1, seconds: 10 };
          },
        }),
      },
    });
    double.offer(0);
    await steps.promise;
    const reported = double.names().filter((name) => name === 'progress').length;
    // Ten seconds of training, a report every two.
    assert.equal(reported, 4);
  });
});
